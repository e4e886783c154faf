"""Shapes burnt on to a scene's pixel grid, and the plane of a scene's coordinates."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.features import rasterize
from rasterio.warp import transform as transform_points

from geop2p.errors import SceneError
from geop2p.patches import Box
from geop2p.raster.aligning import box_in, ground_box
from geop2p.raster.mapformat import MapSpec
from geop2p.raster.scene import SceneSpec

Points = npt.NDArray[np.float64]

EQUATOR_M = 6_378_137.0
"""Radius of the WGS 84 ellipsoid at the equator."""
ECCENTRICITY_SQUARED = 0.00669437999014
"""Of the WGS 84 ellipsoid."""
TRANSFORM_ERRORS = (RasterioError, CRSError, CPLE_BaseError)


def burn(
    shapes: Sequence[tuple[Any, int]], *, onto: SceneSpec, rows: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    """Burn shapes in scene coordinates, with their values, on to whole rows: (h, W) uint8.

    A pixel takes the value of the last shape that holds its centre, else 0.
    """
    size = (rows[1] - rows[0], onto.width)
    if not shapes:
        return np.zeros(size, np.uint8)
    transform = onto.transform @ Affine.translation(0, rows[0])
    burnt: npt.NDArray[np.uint8] = rasterize(
        shapes, out_shape=size, transform=transform, fill=0, dtype="uint8"
    )
    return burnt


def into_scene(crs: str, *, scene: SceneSpec) -> Callable[[Points], Points]:
    """Return what brings (N, 2) coordinates from ``crs`` into the scene's.

    Raises
    ------
    SceneError
        From what is returned, when there is no way between the two.
    """

    def reproject(points: Points) -> Points:
        if not len(points):
            return points
        try:
            xs, ys = transform_points(crs, scene.crs, points[:, 0], points[:, 1])
        except TRANSFORM_ERRORS as exc:
            raise _unreachable(scene, exc) from exc
        return np.stack([np.asarray(xs), np.asarray(ys)], axis=1)

    return reproject


def reach(scene: SceneSpec, *, crs: str, margin_m: float) -> Box:
    """Return the box, in ``crs``, of the scene and ``margin_m`` metres around it.

    Raises
    ------
    SceneError
        When there is no way between the two.
    """
    left, bottom, right, top = ground_box(scene, rows=(0, scene.height), cols=(0, scene.width))
    along_x, along_y = (margin_m / metres for metres in metres_per_unit(scene))
    grown = (left - along_x, bottom - along_y, right + along_x, top + along_y)
    try:
        return box_in(grown, crs=scene.crs, other=CRS.from_user_input(crs))
    except TRANSFORM_ERRORS as exc:
        raise _unreachable(scene, exc) from exc


def metres_per_unit(scene: SceneSpec | MapSpec) -> tuple[float, float]:
    """Return the ground length of one CRS unit along x and y, at the middle of the scene.

    References
    ----------
    Snyder, Map Projections: A Working Manual (1987), equations 4-18 and 4-20: the radii of
    curvature of the ellipsoid.
    """
    x, y = scene.transform @ (scene.width / 2, scene.height / 2)
    step = abs(scene.transform.a) + abs(scene.transform.b)
    lons, lats = transform_points(scene.crs, "EPSG:4326", [x, x + step, x], [y, y, y + step])
    shrink = 1 - ECCENTRICITY_SQUARED * math.sin(math.radians(lats[0])) ** 2
    north_m = math.radians(EQUATOR_M * (1 - ECCENTRICITY_SQUARED) / shrink**1.5)
    east_m = math.radians(EQUATOR_M / math.sqrt(shrink) * math.cos(math.radians(lats[0])))
    along_x, along_y = (
        math.hypot((lons[i] - lons[0]) * east_m, (lats[i] - lats[0]) * north_m) / step
        for i in (1, 2)
    )
    return along_x, along_y


def pixel_area_m2(spec: MapSpec) -> float | None:
    """Return the square metres of ground of one pixel, in the middle of a map that has a CRS.

    None where nobody knows how its CRS lies on the ground.
    """
    try:
        along_x, along_y = metres_per_unit(spec)
    except TRANSFORM_ERRORS:
        return None
    area = abs(spec.transform.determinant) * along_x * along_y
    return area if math.isfinite(area) and area > 0 else None


def _unreachable(scene: SceneSpec, cause: Exception) -> SceneError:
    return SceneError(
        f"{scene.path}: vectors cannot be brought into its CRS: {cause} (check both CRS)"
    )
