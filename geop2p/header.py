"""The header of a ``.safetensors`` file, read with bounds and checked before any weight is.

The format: 8 bytes with the header's length, the header as JSON, then the tensors' bytes. The JSON
maps each tensor's name to its type, shape and place; ``__metadata__`` maps texts to texts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from geop2p.documents import parse_json
from geop2p.errors import ModelError

MOST_HEADER_BYTES = 16 * 2**20
MOST_DIMENSIONS = 8
DTYPE_BYTES = {"F16": 2, "BF16": 2, "F32": 4}
"""Types of weights that are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorPlace:
    """What a header says of a tensor: type, shape, and its first byte and one after the last."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The tensors of a file by name, and its metadata."""

    tensors: Mapping[str, TensorPlace]
    metadata: Mapping[str, str]


def read_header(path: Path) -> Header:
    """Read the header; its tensors fill the rest of the file, without gaps or overlap.

    Raises
    ------
    ModelError
        When the file cannot be read, is cut short, or its header contradicts itself.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            length = _header_length(file.read(8), size=size)
            content = parse_json(file.read(length).decode("utf-8"))
        return _checked(content, data_bytes=size - 8 - length)
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else exc
        raise ModelError(
            f"{path}: not a readable .safetensors file: {reason} "
            "(give a model that geop2p train wrote; is the download complete?)"
        ) from exc


def _header_length(first: bytes, *, size: int) -> int:
    length = int.from_bytes(first, "little")
    if not 2 <= length <= min(MOST_HEADER_BYTES, size - 8):
        raise ValueError(f"its header should have {length} bytes, the file has {size}")
    return length


def _checked(content: Any, *, data_bytes: int) -> Header:  # noqa: ANN401
    """Return the header that a JSON value describes; raises `ValueError`."""
    if not isinstance(content, dict):
        raise ValueError("its header is no JSON object")  # noqa: TRY004  a value from a file
    metadata = content.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("its metadata are no texts")
    tensors = {name: _place(name, entry) for name, entry in content.items()}
    free_from = 0
    for name, place in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if place.begin != free_from:
            raise ValueError(f"{name[:80]} begins at byte {place.begin} instead of {free_from}")
        free_from = place.end
    if free_from != data_bytes:
        raise ValueError(f"its tensors take {free_from} bytes, the file has {data_bytes} for them")
    return Header(tensors=tensors, metadata=metadata)


def _place(name: str, entry: Any) -> TensorPlace:  # noqa: ANN401
    shown = name[:80]
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{shown} is described by other entries than dtype, shape, data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
        raise ValueError(
            f"{shown} is of type {str(dtype)[:20]} (expected {', '.join(DTYPE_BYTES)})"
        )
    if not (_are_counts(shape, most=MOST_DIMENSIONS) and _are_counts(offsets, most=2)):
        raise ValueError(f"{shown} has no shape and place in whole numbers")
    if len(offsets) != 2 or offsets[1] - offsets[0] != prod(shape) * DTYPE_BYTES[dtype]:
        raise ValueError(f"{shown} of shape {tuple(shape)} does not fit its place {offsets}")
    return TensorPlace(dtype=dtype, shape=tuple(shape), begin=offsets[0], end=offsets[1])


def _are_counts(numbers: Any, *, most: int) -> bool:  # noqa: ANN401
    return (
        isinstance(numbers, list)
        and len(numbers) <= most
        and all(type(number) is int and 0 <= number < 2**48 for number in numbers)
    )
