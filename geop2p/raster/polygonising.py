"""Regions of equal class, found in a raster that is handed over row by row.

The raster lies in flat files meanwhile, which the system keeps in memory as far as there is room:
GDAL sieves it as a whole, and regions are traced in bands of rows. So memory does not depend on the
raster's height, but for a few bytes that GDAL's sieve takes for each region.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.features import shapes, sieve
from rasterio.windows import Window

from geop2p.faults import around
from geop2p.raster.opening import CACHE_BYTES
from geop2p.raster.silence import georeference_not_missed

NO_CLASS = 255
"""Value of what belongs to no class."""
MOST_PIXELS = 2**31 - 1
"""Largest region that GDAL's sieve can be asked to remove."""
BAND_PIXELS, LEAST_BAND_ROWS = 2**22, 64
"""About how many pixels are traced at a time, and rows at least."""

Classes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionBand:
    """The regions of a band of rows; neighbours are those along edges, not across corners.

    Parameters
    ----------
    rows : (int, int)
        The first row and the one after the last.
    width : int, pixels
    polygons : list of list of (N, 2) int64
        Rings of (column, row) corners, closed, the outer one first, holes after it.
    classes : list of int
        Class of each polygon.
    nodes : (int64, int64)
        Columns at which classes change beyond the band's upper and lower edge.
    """

    rows: tuple[int, int]
    width: int
    polygons: list[list[npt.NDArray[np.int64]]]
    classes: list[int]
    nodes: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


def region_bands(
    rows: Iterable[Classes], *, size: tuple[int, int], least_pixels: int, scratch: Path
) -> Iterator[RegionBand]:
    """Yield the regions of a class raster, from the upper band to the lowest.

    Parameters
    ----------
    rows : iterable of (h, W) uint8
        The raster from the first row to the last; `NO_CLASS` belongs to none.
    size : (int, int), pixels
        Height and width.
    least_pixels : int, pixels
        Smaller regions, holes too, go to their largest neighbour; what has no neighbour stays.
    scratch : Path
        Files are made under this name with suffixes; the caller removes them.
    """
    classes = _kept(rows, size=size, scratch=scratch)
    if least_pixels > 1:
        classes = _sieved(classes, least_pixels=least_pixels, scratch=scratch)
    step = max(LEAST_BAND_ROWS, BAND_PIXELS // size[1])
    for start in range(0, size[0], step):
        yield _band(classes, (start, min(start + step, size[0])))


def scratch_bytes(size: tuple[int, int]) -> int:
    """Return what `region_bands` puts on the disk."""
    return 3 * size[0] * size[1]


def _kept(rows: Iterable[Classes], *, size: tuple[int, int], scratch: Path) -> Classes:
    path, start = scratch.with_suffix(".classes"), 0
    with around("write blocks"), path.open("wb") as file:
        for part in rows:
            file.write(np.ascontiguousarray(part).data)
            start += len(part)
    if start != size[0]:
        raise ValueError(f"{start} rows for a raster of {size[0]}")
    return np.memmap(path, np.uint8, "r+", shape=size)


def _sieved(classes: Classes, *, least_pixels: int, scratch: Path) -> Classes:
    sieved = np.memmap(scratch.with_suffix(".sieved"), np.uint8, "w+", shape=classes.shape)
    known = scratch.with_suffix(".known.tif")
    threshold = min(least_pixels, classes.size, MOST_PIXELS)  # more says the same, and is refused
    with (
        around("write blocks"),
        rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES, GDAL_PAM_ENABLED=False),
        georeference_not_missed(),
    ):
        _write_known(known, classes)
        with rasterio.open(known) as mask:  # of an array, a mask would be copied as a whole
            sieve(classes, threshold, out=sieved, mask=rasterio.band(mask, 1), connectivity=4)
    return sieved


def _write_known(path: Path, classes: Classes) -> None:
    """Write 1 where there is a class, else 0, as a raster."""
    height, width = classes.shape
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "BIGTIFF": "IF_SAFER"}
    with rasterio.open(path, "w", height=height, width=width, **profile) as mask:
        for start in range(0, height, LEAST_BAND_ROWS):
            part = classes[start : start + LEAST_BAND_ROWS] != NO_CLASS
            mask.write(part.astype(np.uint8), 1, window=Window(0, start, width, len(part)))


def _band(classes: Classes, rows: tuple[int, int]) -> RegionBand:
    start, stop = rows
    part = np.array(classes[start:stop])
    polygons, values = [], []
    for shape, value in shapes(part, mask=part != NO_CLASS, connectivity=4):
        polygons.append([_ring(ring, start) for ring in shape["coordinates"]])
        values.append(int(value))
    above = classes[start - 1] if start else part[:0]
    below = classes[stop] if stop < len(classes) else part[:0]
    return RegionBand(
        rows=rows,
        width=part.shape[1],
        polygons=polygons,
        classes=values,
        nodes=(_changes(above), _changes(below)),
    )


def _ring(points: Any, start: int) -> npt.NDArray[np.int64]:
    corners: npt.NDArray[np.int64] = np.rint(np.array(points)).astype(np.int64)
    return corners + np.array([0, start], np.int64)


def _changes(row: Classes) -> npt.NDArray[np.int64]:
    """Return the columns at which a row's class is another than just before."""
    line = row.reshape(-1)
    return np.asarray(np.flatnonzero(line[1:] != line[:-1]) + 1)
