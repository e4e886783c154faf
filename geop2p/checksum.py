"""A checksum of what a map shows, whatever its file looks like."""

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt


class PixelChecksum:
    """SHA-256 of pixels and mask, which does not depend on blocks, codec or how rows are handed in.

    It is the SHA-256 of two others, each of rows from the first to the last: pixels (W of the first
    band, W of the second ..., little-endian), and valid (W bits, the first one highest, padded to
    bytes).
    """

    def __init__(self) -> None:
        self._pixels, self._valid = hashlib.sha256(), hashlib.sha256()

    def add(self, pixels: npt.NDArray[Any], valid: npt.NDArray[np.bool_]) -> None:
        """Add (K, h, W) pixels and (h, W) valid: the next rows."""
        rows = np.moveaxis(pixels, 1, 0)  # (K, h, W) -> (h, K, W)
        little = rows.astype(rows.dtype.newbyteorder("<"), copy=False)
        self._pixels.update(np.ascontiguousarray(little).data)
        self._valid.update(np.packbits(valid, axis=1).data)

    def hexdigest(self) -> str:
        """Return the checksum of the rows so far, as hexadecimal digits."""
        return hashlib.sha256(self._pixels.digest() + self._valid.digest()).hexdigest()
