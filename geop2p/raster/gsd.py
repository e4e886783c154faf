"""Ground sample distance: how many metres of ground a pixel shows.

It is measured along rows and columns in the middle of the raster, on the ellipsoid: a CRS's own
units say little where its scale is not 1, as Web Mercator's far from the equator.
"""

import math
from dataclasses import dataclass
from typing import Any

from affine import Affine
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.warp import transform as transform_points

SEMI_MAJOR_M = 6_378_137.0
ECCENTRICITY_SQUARED = 0.006_694_379_990_14
"""Of WGS 84. Other ellipsoids of the earth differ from it by less than 1 in 3000."""
CRS_FAILURES = (RasterioError, CRSError, CPLE_BaseError)
LONGEST_ARC = 100
"""Pixels over which a distance is measured, so that rounding in a projection weighs little."""


@dataclass(frozen=True, slots=True)
class Gsd:
    """Metres of ground from one pixel to the next.

    Parameters
    ----------
    row_m : float, metres
        From one row to the next.
    col_m : float, metres
        From one column to the next.
    """

    row_m: float
    col_m: float

    @property
    def mean_m(self) -> float:
        """Return the side of a square of the same area."""
        return math.sqrt(self.row_m * self.col_m)


def gsd_of(raster: Any) -> Gsd | None:
    """Return the ground sample distance of a header or an open dataset; None where it is unknown.

    It is known where there are a CRS and a transform. A CRS that cannot be brought to longitude and
    latitude, as of a building site or another planet, is taken by its unit alone.
    """
    if not raster.crs or raster.transform == Affine.identity():
        return None
    steps = min(LONGEST_ARC, raster.height), min(LONGEST_ARC, raster.width)
    ends = _ends(raster, steps)
    found = _on_ellipsoid(raster.crs, ends) or _by_unit(raster.crs, ends)
    if found is None or not all(0 < length < math.inf for length in found):
        return None
    return Gsd(row_m=found[0] / steps[0], col_m=found[1] / steps[1])


def _ends(raster: Any, steps: tuple[int, int]) -> list[tuple[float, float]]:
    """Return the ends of two lines through the middle: along a column, then along a row."""
    row, col, (down, right) = raster.height / 2, raster.width / 2, steps
    pixels = [
        (col, row - down / 2),
        (col, row + down / 2),
        (col - right / 2, row),
        (col + right / 2, row),
    ]
    return [raster.transform @ pixel for pixel in pixels]


def _on_ellipsoid(crs: Any, ends: list[tuple[float, float]]) -> tuple[float, float] | None:
    """Return the lengths of both lines in metres, or None."""
    try:
        xs, ys = zip(*ends, strict=True)
        lon, lat = transform_points(crs, CRS.from_epsg(4326), xs, ys)
    except CRS_FAILURES:
        return None
    if not all(math.isfinite(value) and abs(value) <= 90 for value in lat):
        return None
    points = [tuple(map(math.radians, point)) for point in zip(lon, lat, strict=True)]
    return _distance(points[0], points[1]), _distance(points[2], points[3])


def _distance(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Return metres between two near points, (longitude, latitude) in radians.

    References
    ----------
    J. P. Snyder, Map Projections: A Working Manual, USGS Professional Paper 1395, 1987, pages 24
    and 25: radii of curvature of the ellipsoid along the meridian and across it.
    """
    middle = (one[1] + other[1]) / 2
    bend = 1 - ECCENTRICITY_SQUARED * math.sin(middle) ** 2
    meridian = SEMI_MAJOR_M * (1 - ECCENTRICITY_SQUARED) / bend**1.5
    across = SEMI_MAJOR_M / math.sqrt(bend) * math.cos(middle)
    turn = math.remainder(other[0] - one[0], math.tau)  # a line may cross the 180th meridian
    return math.hypot(meridian * (other[1] - one[1]), across * turn)


def _by_unit(crs: Any, ends: list[tuple[float, float]]) -> tuple[float, float] | None:
    """Return the lengths of both lines by the CRS's unit of length, or None."""
    if crs.is_geographic:
        return None
    try:
        metres = float(crs.units_factor[1])
    except CRS_FAILURES:
        return None
    return metres * math.dist(*ends[:2]), metres * math.dist(*ends[2:])
