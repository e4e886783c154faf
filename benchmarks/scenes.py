"""Scenes to measure on: cut from a larger one, or the bundled sample mirrored to any size.

Both hold real imagery. A mirrored scene repeats itself, which makes it compress no better: blocks
are far smaller than what is repeated.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.windows import Window

Pixels = npt.NDArray[np.uint8]
Rows = Callable[[int, int], Pixels]
"""First row and the one after the last to (3, rows, width)."""

SAMPLE = Path(__file__).parents[1] / "sample_tiles/dubai/scene3_part.jpg"
BAND_ROWS = 512


def make_scene(target: Path, *, height: int, width: int, source: Path | None = None) -> str:
    """Write a tiled GeoTIFF of ``height`` x ``width`` and return in words what it shows.

    Its georeference is made up: the sources have none. A source that is too small is mirrored.
    """
    found = read_picture(source or SAMPLE)
    name = (source or SAMPLE).name
    if min(found.shape[1] - height, found.shape[2] - width) >= 0:
        _write(target, lambda a, b: found[:, a:b, :width], height=height, width=width)
        return f"{height} x {width} pixels cut from the upper left of {name}"
    _write(target, mirrored(found, width), height=height, width=width)
    size = f"{found.shape[1]} x {found.shape[2]}"
    return f"{name} ({size} pixels) mirrored to {height} x {width}"


def read_picture(path: Path) -> Pixels:
    """Return the first three bands of a picture, (3, H, W)."""
    with rasterio.open(path) as dataset:
        pixels: Pixels = dataset.read((1, 2, 3))
    return pixels


def mirrored(picture: Pixels, width: int) -> Rows:
    """Return rows of a picture that is continued by reflection without end."""
    cols = _reflected(np.arange(width), picture.shape[2])

    def rows(first: int, last: int) -> Pixels:
        wanted = _reflected(np.arange(first, last), picture.shape[1])
        return picture.take(wanted, axis=1).take(cols, axis=2)

    return rows


def _reflected(position: npt.NDArray[np.int64], length: int) -> npt.NDArray[np.int64]:
    phase = position % (2 * length)
    return np.minimum(phase, 2 * length - 1 - phase)


def _write(target: Path, rows: Rows, *, height: int, width: int) -> None:
    profile = {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "count": 3,
        "dtype": "uint8",
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "compress": "deflate",
        "crs": "EPSG:32640",
        "transform": Affine(1, 0, 3e5, 0, -1, 2.8e6),
    }
    with rasterio.open(target, "w", num_threads="all_cpus", **profile) as dataset:
        for first in range(0, height, BAND_ROWS):
            last = min(first + BAND_ROWS, height)
            dataset.write(rows(first, last), window=Window(0, first, width, last - first))
