"""Finished strips on disk: what a run has done, safe from whatever ends it.

A folder ``.NAME.KEY.parts`` beside the target holds them. KEY is made from a fingerprint of
everything that changes pixels, so parts of another scene, model or option are never met; the
fingerprint itself is in ``state.json``. A part file holds one strip: inner rows in the map's type,
head and foot as float32 sums that a neighbour completes, and the mask. Its first line is the
SHA-256 of KEY and of the rest, and is checked whenever the part is read. The second line is JSON:
strip, counts, type and shape of each array; the bytes of the arrays follow, in that order.
"""

import hashlib
import json
import logging
import math
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from geop2p.faults import around
from geop2p.grid import Strip
from geop2p.writing import remains, replacing, told_as_output_error, write_atomically

Pixels = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

STATE = "state.json"
OVERHEAD_BYTES = 2**13
"""Of a part file, beside its arrays."""
SHARES = ("head", "inner", "foot")
DAMAGE = (OSError, ValueError, KeyError, TypeError, EOFError)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """What else is known of a strip's rows, all float32; see `geop2p.pipelines.confidence_sheet`.

    Parameters
    ----------
    head, foot : (P, 0 or overlap, W) float32
        What makes, together with a neighbour's, the rows that both paint.
    inner : (B, h, W) float32
        Finished rows between them.
    """

    head: Floats
    inner: Floats
    foot: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class StripResult:
    """What one strip came to.

    Parameters
    ----------
    strip : Strip
        Which one.
    head, foot : (K, 0 or overlap, W) float32
        Shares of the rows that the strip above, or below, paints too.
    inner : (K, h, W) in the map's type
        Finished rows between them.
    valid : (head + h + foot, W) bool
        Where the scene is valid.
    counts : dict
        Numbers that add up over strips: tiles, skipped tiles, clipped values, seconds by stage.
    confidence : Shares or None
        Of the raster that says how sure the map is, where one is asked for.
    """

    strip: Strip
    head: Floats
    inner: Pixels
    foot: Floats
    valid: Mask
    counts: Mapping[str, float]
    confidence: Shares | None = None


class Parts(Protocol):
    """Where finished strips are had from."""

    folder: Path

    def load(self, strip: Strip) -> StripResult | None:
        """Return a strip that was kept; None when it is missing or damaged."""
        ...


class PartStore:
    """The folder of part files of one run.

    Parameters
    ----------
    target : Path
        The map.
    fingerprint : dict
        Everything that changes its pixels; equal fingerprints share the folder.
    """

    def __init__(self, target: Path, fingerprint: Mapping[str, Any]) -> None:
        self._target = target
        self._fingerprint = json.dumps(fingerprint, sort_keys=True, default=str)
        self._key = hashlib.sha256(self._fingerprint.encode()).hexdigest()[:16]
        self.folder = target.with_name(f".{target.name}.{self._key}.parts")

    def open(self) -> None:
        """Make the folder; or empty it when its state is not that of this run.

        Raises
        ------
        OutputError
            When it cannot be made.
        """
        with told_as_output_error(self._target):
            if self.folder.exists() and not self._is_ours():
                logger.warning(
                    "%s: its state is damaged or of another run, every strip is made again",
                    self.folder,
                )
                self.remove()
            with around("make folder"):
                self.folder.mkdir(exist_ok=True)
            if not (self.folder / STATE).exists():
                with around("write state"):
                    write_atomically(self.folder / STATE, self._fingerprint.encode())

    def save(self, result: StripResult) -> None:
        """Keep a strip; it is on the disk, complete, when this returns.

        Raises
        ------
        OutputError
            When it cannot be written.
        """
        pieces = _packed(result)
        with (
            replacing(self._path(result.strip), needed=sum(map(len, pieces))) as temporary,
            around("write part"),
            temporary.open("wb", buffering=0) as file,
        ):
            file.write(self._digest(*pieces) + b"\n")
            for piece in pieces:
                _write_whole(file, piece)

    def load(self, strip: Strip) -> StripResult | None:
        """Return a strip that was kept; None when it is missing or, with a warning, damaged."""
        path = self._path(strip)
        try:
            with path.open("rb") as file:
                digest, content = file.readline(100).rstrip(b"\n"), memoryview(file.read())
            if digest != self._digest(content):
                raise ValueError("its checksum does not match")
            return _unpacked(strip, content)
        except FileNotFoundError:
            return None
        except DAMAGE as exc:
            logger.warning("%s: damaged (%s), the strip is made again", path, exc)
            return None

    def is_empty(self) -> bool:
        """Return whether no strip is here."""
        return not any(self.folder.glob("strip-*.part"))

    def used_bytes(self) -> int:
        """Return how much room the parts that are here take."""
        if not self.folder.is_dir():
            return 0
        return sum(path.stat().st_size for path in self.folder.iterdir())

    def remove(self) -> None:
        """Remove the folder and what is in it."""
        with around("remove folder"):
            shutil.rmtree(self.folder, ignore_errors=True)
            if not self.folder.is_dir():  # a file that took its name
                with told_as_output_error(self.folder):
                    self.folder.unlink(missing_ok=True)

    def _is_ours(self) -> bool:
        state = self.folder / STATE
        if not self.folder.is_dir():
            return False
        if not state.exists():
            return not any(self.folder.iterdir())
        return state.read_bytes() == self._fingerprint.encode()

    def _digest(self, *pieces: bytes | memoryview) -> bytes:
        digest = hashlib.sha256(self._key.encode())
        for piece in pieces:
            digest.update(piece)
        return digest.hexdigest().encode()

    def _path(self, strip: Strip) -> Path:
        return self.folder / f"strip-{strip.first:05d}-{strip.last:05d}.part"


def part_folders(target: Path) -> list[Path]:
    """Return the folders of parts beside a target, of whatever run."""
    named = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{16}}\.parts")
    return sorted(path for path in target.parent.iterdir() if named.fullmatch(path.name))


def remove_temporary(target: Path) -> None:
    """Remove the half-written files of killed runs; this process holds the target's lock.

    Raises
    ------
    OutputError
        When the folder does not let them go.
    """
    with told_as_output_error(target):
        for path in remains(target):
            with around("remove file"):
                path.unlink(missing_ok=True)


def remove_parts(target: Path) -> None:
    """Remove the parts of every run for a target; this process holds its lock.

    Raises
    ------
    OutputError
        When the folder does not let them go.
    """
    with told_as_output_error(target):
        for folder in part_folders(target):
            with around("remove folder"):
                shutil.rmtree(folder)


def part_bytes(
    *,
    bands: int,
    rows: int,
    shared_rows: int,
    width: int,
    itemsize: int,
    beside: tuple[int, int] = (0, 0),
) -> int:
    """Return about how large the part file of a strip is.

    Parameters
    ----------
    bands, rows, width : int
        Of the map, and of the strip's inner rows.
    shared_rows : int
        Rows of head and foot together.
    itemsize : int, bytes
        Of the map's type.
    beside : (int, int)
        Planes of float32 that are kept beside the map: of inner rows, of head and foot.
    """
    mask = (rows + shared_rows) * width // 8
    inner, shared = bands * itemsize + 4 * beside[0], 4 * (bands + beside[1])
    return width * (rows * inner + shared_rows * shared) + mask + OVERHEAD_BYTES


def _packed(result: StripResult) -> list[bytes | memoryview]:
    """Return what a part file holds after its first line; arrays are not copied."""
    is_whole = bool(result.valid.all())
    arrays = {
        "head": result.head,
        "inner": result.inner,
        "foot": result.foot,
        "valid": np.packbits(np.ones(0, bool) if is_whole else result.valid),
    }
    if result.confidence is not None:
        arrays |= {f"confidence_{name}": getattr(result.confidence, name) for name in SHARES}
    header = {
        "strip": [result.strip.first, result.strip.last],
        "counts": dict(result.counts),
        "is_whole": is_whole,
        "arrays": {name: [array.dtype.str, array.shape] for name, array in arrays.items()},
    }
    contents = [
        np.ascontiguousarray(array).reshape(-1).view(np.uint8).data for array in arrays.values()
    ]
    return [json.dumps(header).encode() + b"\n", *contents]


def _write_whole(file: FileIO, piece: bytes | memoryview) -> None:
    """Write all of a piece: the system may take less at a time."""
    rest = memoryview(piece)
    while rest:
        rest = rest[file.write(rest) :]


def _unpacked(strip: Strip, content: memoryview) -> StripResult:
    end = bytes(content[: 2**20]).index(b"\n") + 1
    header = json.loads(bytes(content[:end]))
    if tuple(header["strip"]) != (strip.first, strip.last):
        raise ValueError("it holds another strip")
    arrays = {}
    for name in header["arrays"]:
        dtype, shape = header["arrays"][name]
        size = math.prod(shape) * np.dtype(dtype).itemsize
        arrays[name] = np.frombuffer(content[end : end + size], dtype).reshape(shape)
        end += size
    head, inner, foot = (arrays[name] for name in SHARES)
    confidence = None
    if "confidence_inner" in arrays:
        confidence = Shares(**{name: arrays[f"confidence_{name}"] for name in SHARES})
    shape = head.shape[1] + inner.shape[1] + foot.shape[1], inner.shape[2]
    if header["is_whole"]:
        valid = np.ones(shape, bool)
    else:
        valid = np.unpackbits(arrays["valid"], count=math.prod(shape)).reshape(shape).view(bool)
    return StripResult(
        strip=strip,
        head=head,
        inner=inner,
        foot=foot,
        valid=valid,
        counts=header["counts"],
        confidence=confidence,
    )
