"""Where a raster lies on the ground: read, written into a GeoTIFF, and compared.

A GeoTIFF holds an affine transform or ground control points, never both; it renumbers the points,
leaves their descriptions out, and names axes and units in its own words. Everything else is kept.
"""

import logging
import math
import re
from dataclasses import dataclass, field, replace
from typing import Any

import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.io import MemoryFile

from geop2p.errors import SceneError
from geop2p.raster.silence import georeference_not_missed

logger = logging.getLogger(__name__)

DIGITS = 1e-13
"""Relative difference of rational polynomial coefficients, which GDAL passes on as text."""
UNKNOWN_ERROR = -1.0
"""What a GeoTIFF has for an error of rational polynomials that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Georeference:
    """What says where on the ground a raster lies; see `geop2p.raster.header.SceneSpec`."""

    crs: Any = None
    transform: Affine = field(default_factory=Affine.identity)
    gcps: tuple[list[Any], Any] = ((), None)  # type: ignore[assignment]
    rpcs: Any = None
    is_point: bool = False

    @classmethod
    def of(cls, dataset: Any) -> "Georeference":
        """Return that of an open dataset, or of anything with the same attributes."""
        is_point = getattr(dataset, "is_point", None)
        if is_point is None:
            is_point = dataset.tags().get("AREA_OR_POINT") == "Point"
        return cls(
            crs=dataset.crs,
            transform=dataset.transform,
            gcps=dataset.gcps,
            rpcs=dataset.rpcs,
            is_point=is_point,
        )

    @property
    def is_known(self) -> bool:
        """Whether anything says where the raster lies."""
        return bool(self.crs or self.gcps[0] or self.rpcs or self.transform != Affine.identity())

    def storable(self) -> "Georeference":
        """Return what one GeoTIFF can hold: of transform and control points, what has a CRS.

        Pixel-is-point goes with a CRS: without one, GDAL would read an unnamed local CRS from it.
        """
        kept = self
        if self.gcps[0] and self.crs and self.transform != Affine.identity():
            kept = replace(self, gcps=([], None))
        elif self.gcps[0]:
            kept = replace(self, crs=None, transform=Affine.identity())
        return replace(kept, is_point=self.is_point and bool(kept.crs or kept.gcps[1]))

    def loss(self) -> str | None:
        """Return in words what a GeoTIFF does not hold of it, if anything."""
        kept = self.storable()
        if self.gcps[0] and not kept.gcps[0]:
            return f"{len(self.gcps[0])} ground control points, since it has a transform too"
        if kept.transform != self.transform:
            return "the transform, since it has ground control points too"
        return None

    def profile(self) -> dict[str, Any]:
        """Return the part of a rasterio profile that a GeoTIFF is created with."""
        kept = self.storable()
        if kept.gcps[0]:
            return {}
        return {"crs": kept.crs or None, "transform": kept.transform}

    def describe(self, dataset: Any) -> None:
        """Put what is not in the profile into a new GeoTIFF."""
        kept = self.storable()
        if kept.is_point:
            dataset.update_tags(AREA_OR_POINT="Point")
        if kept.gcps[0]:
            shift = _point_shift() if kept.is_point else 0.0
            points = [_moved(point, -shift) for point in kept.gcps[0]]
            dataset.gcps = (points, kept.gcps[1] or CRS())
        if self.rpcs:
            dataset.rpcs = self.rpcs

    def difference(self, other: "Georeference") -> str | None:
        """Return what of a finished map is not as here, in words; None when all of it is."""
        mine = self.storable()
        pairs = {
            "crs": (mine.gcps[1], other.gcps[1]) if mine.gcps[0] else (mine.crs, other.crs),
            "transform": (mine.transform, other.transform),
            "gcps": (_values(mine.gcps[0]), _values(other.gcps[0])),
            "rpcs": (mine.rpcs, other.rpcs),
            "pixel-is-point": (mine.is_point, other.is_point),
        }
        for name, (expected, found) in pairs.items():
            is_same = _COMPARED.get(name, _is_equal)(expected, found)
            if not is_same:
                return f"{name} {found} instead of {expected}"
        return None


def check_storable(path: str, georeference: Georeference) -> None:
    """Try whether a GeoTIFF keeps a georeference, and say what of it is left out.

    Raises
    ------
    SceneError
        When it does not keep what it should, e.g. a CRS that GeoTIFF has no keys for.
    """
    # without side-car files, as the map is written
    with rasterio.Env(GDAL_PAM_ENABLED=False), MemoryFile() as file, georeference_not_missed():
        with file.open(**_ONE_PIXEL, **georeference.profile()) as dataset:
            georeference.describe(dataset)
        with file.open() as dataset:
            change = georeference.difference(Georeference.of(dataset))
    if change is not None:
        raise SceneError(
            f"{path}: a GeoTIFF would come back with {change} (warp the scene to a CRS that "
            "GeoTIFF knows, or write a .png, which keeps none)"
        )
    loss = georeference.loss()
    if loss is not None:
        logger.warning("%s: the map does not keep %s (a GeoTIFF holds one of them)", path, loss)


def is_same_crs(one: Any, other: Any) -> bool:
    """Whether two CRS put equal coordinates at the same place on the ground.

    Names, authorities and the order of axes, which GDAL hides, may differ; heights may not.
    """
    if _is_nothing(one) or _is_nothing(other):
        return _is_nothing(one) and _is_nothing(other)
    if one == other:
        return True
    first, second = one.to_wkt(), other.to_wkt()
    if first.count("VERT") != second.count("VERT"):
        return False
    if first.startswith("LOCAL_CS") and second.startswith("LOCAL_CS"):
        return _name_and_units(first) == _name_and_units(second)
    proj, other_proj = one.to_proj4(), other.to_proj4()
    return bool(proj) and proj == other_proj


def _is_nothing(crs: Any) -> bool:
    """Whether there is no CRS, or what GDAL makes of a GeoTIFF that has keys but no CRS."""
    return not crs or crs.to_wkt().startswith('LOCAL_CS["unnamed",UNIT[')


def _name_and_units(wkt: str) -> tuple[list[str], list[float]]:
    names = re.findall(r'^\w+\["([^"]*)"', wkt)
    return names, [float(factor) for factor in re.findall(r'UNIT\["[^"]*",([^,\]]+)', wkt)]


def _is_same_rpcs(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is other
    mine, others = one.to_dict(), other.to_dict()
    return all(_is_close(mine[name], others[name]) for name in mine)


def _is_close(one: Any, other: Any) -> bool:
    if isinstance(one, list):
        return all(_is_close(*pair) for pair in zip(one, other, strict=True))
    one, other = (UNKNOWN_ERROR if value is None else value for value in (one, other))
    return math.isclose(one, other, rel_tol=DIGITS)


def _is_equal(one: Any, other: Any) -> bool:
    return bool(one == other)


_COMPARED = {"crs": is_same_crs, "rpcs": _is_same_rpcs}


def _values(gcps: Any) -> list[tuple[float, ...]]:
    """Return ground control points as values that can be compared."""
    return [(point.row, point.col, point.x, point.y, point.z or 0.0) for point in gcps]


def _moved(point: Any, shift: float) -> GroundControlPoint:
    return GroundControlPoint(
        row=point.row + shift, col=point.col + shift, x=point.x, y=point.y, z=point.z
    )


def _point_shift() -> float:
    """Return by how much GDAL moves control points of a pixel-is-point GeoTIFF when it writes them.

    GDAL 3.10 adds half a pixel on writing and again on reading, instead of taking one back.
    """
    with MemoryFile() as file, georeference_not_missed():
        with file.open(**_ONE_PIXEL) as dataset:
            dataset.update_tags(AREA_OR_POINT="Point")
            points = [GroundControlPoint(row=r, col=c, x=c, y=r, z=0) for r, c in _CORNERS]
            dataset.gcps = (points, CRS.from_epsg(4326))
        with file.open() as dataset:
            return float(dataset.gcps[0][0].row)


_ONE_PIXEL: dict[str, Any] = {
    "driver": "GTiff",
    "height": 1,
    "width": 1,
    "count": 1,
    "dtype": "uint8",
}
_CORNERS = ((0, 0), (0, 9), (9, 0), (9, 9))
