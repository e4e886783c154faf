"""The smaller copies in a map: made from its pixels, compared with them, and told by checksums."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.enums import Resampling
from rasterio.windows import Window

from geop2p.ahead import ahead
from geop2p.checksum import PixelChecksum
from geop2p.errors import VerificationError

Pixels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

STRIPE = 512
"""Pixels; rows of an overview that are read at a time, side of the squares that are compared."""
BOUNDED = ("AVERAGE", "NEAREST", "BILINEAR", "MODE", "RMS", "GAUSS")
"""Resamplings that stay between the least and the largest value that they see."""
SLACK_PIXELS = 8
"""Rows or columns, cut at its edges, by which the mean of an averaged square may differ."""


def overview_factors(height: int, width: int, *, block: int) -> list[int]:
    """Return by how much each overview is smaller: halved until it fits into one block."""
    factors: list[int] = []
    while max(height, width) > block:
        height, width = height // 2, width // 2
        factors.append(2 ** (len(factors) + 1))
    return factors


def build_overviews(path: Path, factors: list[int], *, block: int) -> None:
    """Put overviews into a raster, each the average of valid pixels of the one below.

    Raises
    ------
    RasterioError
        When the disk does not take them.
    """
    with (
        rasterio.Env(GDAL_TIFF_OVR_BLOCKSIZE=block),
        rasterio.open(path, "r+") as dataset,
    ):
        dataset.build_overviews(factors, Resampling.average)


def overview_checksums(path: Path) -> list[str]:
    """Decode every overview; return a checksum of each, of pixels and mask, the largest first.

    Raises
    ------
    RasterioError
        When a block does not decode.
    """
    checksums = []
    for level in range(_levels(path)):
        checksum = PixelChecksum()
        with rasterio.open(path, overview_level=level) as small:
            for made in ahead(_read(small, stripe) for stripe in _stripes(small)):
                checksum.add(*made)
        checksums.append(checksum.hexdigest())
    return checksums


def check_overviews(path: Path, *, resampling: str | None) -> list[str]:
    """Decode every overview, and compare each square of it with the level below.

    Parameters
    ----------
    path : Path
        The map.
    resampling : str or None
        GDAL's name of the way in which they were made, in capitals; None where nobody knows, or
        where a codec changes values: then they are decoded and no more.

    Returns
    -------
    list of str
        What `overview_checksums` returns.

    Raises
    ------
    VerificationError
        When a square lies outside the range of what it shows, has another mean, or another mask.
    RasterioError
        When a block does not decode.
    """
    if resampling not in BOUNDED:
        return overview_checksums(path)
    checksums = []
    for level in range(_levels(path)):
        checksum = PixelChecksum()
        below = {} if level == 0 else {"overview_level": level - 1}
        with (
            rasterio.open(path, **below) as fine,
            rasterio.open(path, overview_level=level) as small,
        ):
            for both in ahead(_both(fine, small)):
                checksum.add(*both.made)
                _compare(fine, small, both, resampling=resampling)
        checksums.append(checksum.hexdigest())
    return checksums


def _levels(path: Path) -> int:
    with rasterio.open(path) as dataset:
        return len(dataset.overviews(1))


def _stripes(dataset: Any) -> Iterator[Window]:
    for row in range(0, dataset.height, STRIPE):
        yield Window(0, row, dataset.width, min(STRIPE, dataset.height - row))


class _Both(NamedTuple):
    """A stripe of an overview, and what it was made of: pixels and valid."""

    stripe: Window
    made: tuple[Pixels, Mask]
    shown: tuple[Pixels, Mask]


def _both(fine: Any, small: Any) -> Iterator[_Both]:
    for stripe in _stripes(small):
        below = _below(stripe, small, fine)
        yield _Both(stripe, _read(small, stripe), _read(fine, below))


def _compare(fine: Any, small: Any, both: _Both, *, resampling: str) -> None:
    stripe, (pixels, valid), (shown, known) = both
    where = f"{small.name}: overview of {small.width}x{small.height}, at {stripe.row_off} rows"
    for col in range(0, small.width, STRIPE):
        square = Window(col, stripe.row_off, min(STRIPE, small.width - col), stripe.height)
        part = _below(square, small, fine)
        cols = slice(part.col_off, part.col_off + part.width)
        here = slice(col, col + square.width)
        fault = _fault(
            (pixels[:, :, here], valid[:, here]),
            (shown[:, :, cols], known[:, cols]),
            is_mean_kept=resampling == "AVERAGE",
        )
        if fault is not None:
            raise VerificationError(f"{where}, {fault} (write the map again)")


def _fault(
    made: tuple[Pixels, Mask], shown: tuple[Pixels, Mask], *, is_mean_kept: bool
) -> str | None:
    """Return what is wrong with a square of an overview, given what it was made of."""
    (pixels, valid), (below, known) = made, shown
    if known.any() and not valid.any():
        return "is empty"
    if not (known.all() and valid.all()) or _has_gaps(below):
        return None
    low, high = below.min(axis=(1, 2)).astype(float), below.max(axis=(1, 2)).astype(float)
    is_within = (pixels.min(axis=(1, 2)) >= low - 1) & (pixels.max(axis=(1, 2)) <= high + 1)
    slack = 1 + (high - low) * min(1.0, SLACK_PIXELS / min(valid.shape))
    is_alike = np.abs(_means(pixels) - _means(below)) <= slack
    if is_within.all() and (is_alike.all() or not is_mean_kept):
        return None
    return "is not what the map shows there"


def _has_gaps(pixels: Pixels) -> bool:
    """Return whether a pixel has no value in one band, though it has in another."""
    return pixels.dtype.kind == "f" and bool(np.isnan(pixels).any())


def _means(pixels: Pixels) -> npt.NDArray[np.float64]:
    """Return the mean of each band; whole numbers are added up as such, which is quicker."""
    if pixels.dtype.kind == "f":
        return np.asarray(pixels.mean(axis=(1, 2), dtype=np.float64))
    lines = pixels.sum(axis=2, dtype=np.int64 if pixels.dtype.itemsize > 2 else np.uint32)
    return np.asarray(lines.sum(axis=1, dtype=np.float64) / pixels[0].size)


def _below(window: Window, small: Any, fine: Any) -> Window:
    """Return the window of the finer level that a window of an overview was made of."""
    down, across = fine.height / small.height, fine.width / small.width
    top, left = int(window.row_off * down), int(window.col_off * across)
    bottom = min(fine.height, -int(-(window.row_off + window.height) * down // 1))
    right = min(fine.width, -int(-(window.col_off + window.width) * across // 1))
    return Window(left, top, right - left, bottom - top)


def _read(dataset: Any, window: Window) -> tuple[Pixels, Mask]:
    return dataset.read(window=window), dataset.dataset_mask(window=window) != 0
