"""Finished strips on disk: what a run has done, safe from whatever ends it.

A part file holds one strip: inner rows in the map's type, head and foot as float32 sums that a
neighbour completes, and the mask. It is a plain ``.npz`` whose archive carries a CRC-32 of every
array, which is checked on reading. The folder's name carries a fingerprint of everything that
changes pixels, so parts of another scene, model or option are never met.
"""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geop2p.errors import OutputError
from geop2p.grid import Strip
from geop2p.writing import replacing

Pixels = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


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
    """

    strip: Strip
    head: Floats
    inner: Pixels
    foot: Floats
    valid: Mask
    counts: Mapping[str, float]


class PartStore:
    """The folder of part files of one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def beside(cls, target: Path, fingerprint: Mapping[str, Any]) -> "PartStore":
        """Return the store for a target; equal fingerprints share it. The folder is made.

        Raises
        ------
        OutputError
            When it cannot be made.
        """
        text = json.dumps(fingerprint, sort_keys=True, default=str)
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        folder = target.with_name(f".{target.name}.{key}.parts")
        try:
            folder.mkdir(exist_ok=True)
        except OSError as exc:
            raise OutputError(
                f"{target}: no folder for finished strips can be made beside it: {exc.strerror} "
                "(choose another --out)"
            ) from exc
        return cls(folder)

    def save(self, result: StripResult) -> None:
        """Keep a strip; it is on the disk, complete, when this returns.

        Raises
        ------
        OutputError
            When it cannot be written.
        """
        with replacing(self._path(result.strip)) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                head=result.head,
                inner=result.inner,
                foot=result.foot,
                valid=np.packbits(result.valid),
                counts=np.frombuffer(json.dumps(dict(result.counts)).encode(), np.uint8),
            )

    def load(self, strip: Strip) -> StripResult | None:
        """Return a strip that was kept, or None when it is missing or damaged."""
        try:
            with np.load(self._path(strip), allow_pickle=False) as arrays:
                return _result(strip, {name: arrays[name] for name in arrays.files})
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def missing(self, strips: list[Strip]) -> Iterator[Strip]:
        """Yield the strips that are not here, or not whole."""
        for strip in strips:
            if not self._path(strip).exists() or self.load(strip) is None:
                yield strip

    def remove(self) -> None:
        """Remove the folder and what is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, strip: Strip) -> Path:
        return self.folder / f"strip-{strip.first:05d}-{strip.last:05d}.npz"


def _result(strip: Strip, arrays: Mapping[str, Pixels]) -> StripResult:
    head, inner, foot = arrays["head"], arrays["inner"], arrays["foot"]
    height, width = head.shape[1] + inner.shape[1] + foot.shape[1], inner.shape[2]
    valid = np.unpackbits(arrays["valid"], count=height * width)
    return StripResult(
        strip=strip,
        head=head,
        inner=inner,
        foot=foot,
        valid=valid.reshape(height, width).astype(bool),
        counts=json.loads(arrays["counts"].tobytes()),
    )
