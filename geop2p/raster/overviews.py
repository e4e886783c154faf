"""The smaller copies in a map, compared with the pixels that they were made of."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.windows import Window

from geop2p.errors import VerificationError

Pixels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

STRIPE = 512
"""Pixels; side of the squares of an overview that are compared at a time."""
BOUNDED = ("AVERAGE", "NEAREST", "BILINEAR", "MODE", "RMS", "GAUSS")
"""Resamplings that stay between the least and the largest value that they see."""
SLACK_PIXELS = 8
"""Rows or columns, cut at its edges, by which the mean of an averaged square may differ."""


def check_overviews(path: Path) -> None:
    """Decode every overview, and compare each square of it with the level below.

    Raises
    ------
    VerificationError
        When a square lies outside the range of what it shows, has another mean, or another mask.
    RasterioError
        When a block does not decode.
    """
    with rasterio.open(path) as dataset:
        levels = len(dataset.overviews(1))
        resampling = dataset.tags(ns="IMAGE_STRUCTURE").get("OVERVIEW_RESAMPLING", "")
    for level in range(levels):
        below = {} if level == 0 else {"overview_level": level - 1}
        above = {"overview_level": level}
        with rasterio.open(path, **below) as fine, rasterio.open(path, **above) as small:
            for square in _squares(small):
                _compare(fine, small, square, resampling=resampling)


def _squares(dataset: Any) -> Iterator[Window]:
    for row in range(0, dataset.height, STRIPE):
        for col in range(0, dataset.width, STRIPE):
            height = min(STRIPE, dataset.height - row)
            yield Window(col, row, min(STRIPE, dataset.width - col), height)


def _compare(fine: Any, small: Any, square: Window, *, resampling: str) -> None:
    pixels, valid = _read(small, square)
    if resampling not in BOUNDED:
        return
    shown, known = _read(fine, _below(square, small, fine))
    where = f"{small.name}: overview of {small.width}x{small.height}, at {square.row_off} rows"
    if known.any() and not valid.any():
        raise VerificationError(f"{where}, is empty (write the map again)")
    if not (known.all() and valid.all()):
        return
    low, high = shown.min(axis=(1, 2)).astype(float), shown.max(axis=(1, 2)).astype(float)
    is_within = (pixels.min(axis=(1, 2)) >= low - 1) & (pixels.max(axis=(1, 2)) <= high + 1)
    slack = 1 + (high - low) * min(1.0, SLACK_PIXELS / min(valid.shape))
    is_alike = np.abs(pixels.mean(axis=(1, 2)) - shown.mean(axis=(1, 2))) <= slack
    if not (is_within.all() and (is_alike.all() or resampling != "AVERAGE")):
        raise VerificationError(f"{where}, is not what the map shows there (write the map again)")


def _below(square: Window, small: Any, fine: Any) -> Window:
    """Return the window of the finer level that a square of an overview was made of."""
    down, across = fine.height / small.height, fine.width / small.width
    top, left = int(square.row_off * down), int(square.col_off * across)
    bottom = min(fine.height, -int(-(square.row_off + square.height) * down // 1))
    right = min(fine.width, -int(-(square.col_off + square.width) * across // 1))
    return Window(left, top, right - left, bottom - top)


def _read(dataset: Any, window: Window) -> tuple[Pixels, Mask]:
    return dataset.read(window=window), dataset.dataset_mask(window=window) != 0
