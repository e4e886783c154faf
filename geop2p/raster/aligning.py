"""A raster of the same ground, read on a scene's pixel grid."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform as transform_points
from rasterio.warp import transform_bounds

from geop2p.errors import SceneError
from geop2p.patches import Box
from geop2p.raster.opening import SceneSource, open_dataset
from geop2p.raster.scene import Scene, SceneSpec, open_scene

ALIGNED_TOLERANCE = 0.01
"""Pixels of the scene by which corners may differ on what still counts as the same grid."""


@contextmanager
def open_aligned(
    path: str | os.PathLike[str], *, onto: SceneSpec, is_labels: bool
) -> Iterator[Scene]:
    """Open a raster so that its windows are those of the scene ``onto``.

    On the same grid it is read as it is; otherwise it is warped while it is read, class indexes by
    the nearest pixel, pictures by averaging where their pixels are the smaller, else bilinearly.
    Where it does not reach, it is invalid.

    Raises
    ------
    SceneError
        When it cannot be opened, or nothing tells how it lies on the scene.
    """
    with open_scene(path) as raster:
        if _is_same_grid(raster.spec, onto):
            yield raster
            return
        _check_both_located(raster.spec, onto)
        resampling = Resampling.nearest if is_labels else _picture_resampling(raster.spec, onto)
        with _warped(raster.spec, onto=onto, resampling=resampling) as warped:
            yield warped


def ground_box(spec: SceneSpec, *, rows: tuple[int, int], cols: tuple[int, int]) -> Box:
    """Return the box round a window: (left, bottom, right, top) in the scene's CRS.

    Without a georeference it is in pixels, with rows counted downwards as negative y.
    """
    if not spec.crs:
        return float(cols[0]), -float(rows[1]), float(cols[1]), -float(rows[0])
    corners = [spec.transform @ (col, row) for col in cols for row in rows]
    xs, ys = zip(*corners, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def box_in(box: Box, *, crs: CRS, other: CRS) -> Box:
    """Return the box round ``box``, which is given in ``crs``, in ``other``."""
    if crs == other:
        return box
    left, bottom, right, top = transform_bounds(crs, other, *box)
    return left, bottom, right, top


def _is_same_grid(raster: SceneSpec, scene: SceneSpec) -> bool:
    """Whether pixels coincide: equal sizes and corners, or equal sizes and no georeference."""
    if (raster.height, raster.width) != (scene.height, scene.width):
        return False
    if not raster.is_georeferenced:
        return True
    if raster.crs != scene.crs:
        return False
    corners = [(0, 0), (scene.width, 0), (0, scene.height)]
    to_scene = ~scene.transform
    return all(
        math.dist(to_scene @ (raster.transform @ corner), corner) <= ALIGNED_TOLERANCE
        for corner in corners
    )


def _check_both_located(raster: SceneSpec, scene: SceneSpec) -> None:
    if raster.crs and scene.crs:
        return
    lacking = scene if not scene.crs else raster
    raise SceneError(
        f"{raster.path}: {raster.width}x{raster.height} pixels for a scene of "
        f"{scene.width}x{scene.height} ({scene.path}), and {lacking.path} has no coordinate "
        "reference system (give rasters of one size, or georeference both)"
    )


def _picture_resampling(raster: SceneSpec, scene: SceneSpec) -> Resampling:
    col, row = raster.width / 2, raster.height / 2
    points = [raster.transform @ (col, row), raster.transform @ (col + 1, row)]
    xs, ys = zip(*points, strict=True)
    xs, ys = transform_points(raster.crs, scene.crs, xs, ys)
    here, beside = (~scene.transform @ point for point in zip(xs, ys, strict=True))
    return Resampling.average if math.dist(here, beside) < 0.999 else Resampling.bilinear


@contextmanager
def _warped(raster: SceneSpec, *, onto: SceneSpec, resampling: Resampling) -> Iterator[Scene]:
    grid: dict[str, Any] = {
        "crs": onto.crs,
        "transform": onto.transform,
        "height": onto.height,
        "width": onto.width,
    }
    try:
        with (
            open_dataset(SceneSource(path=raster.path)) as dataset,
            WarpedVRT(
                dataset, resampling=resampling, add_alpha=_wants_alpha(dataset), **grid
            ) as vrt,
        ):
            yield Scene(vrt, SceneSource(path=raster.path))
    except RasterioError as exc:
        raise SceneError(
            f"{raster.path}: cannot be warped on to {onto.path}: {exc} (check both CRS)"
        ) from exc


def _wants_alpha(dataset: Any) -> bool:
    """Whether the warped raster needs a band that says where the source does not reach."""
    return dataset.nodata is None and "alpha" not in [c.name for c in dataset.colorinterp]
