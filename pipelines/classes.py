"""The map as data: its classes as a raster with a colour table, and as polygons.

A pixel belongs to the class with the nearest colour. Both files are staged: they are written and
checked beside their names, and take them when the map is there too.
"""

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine

from geop2p.errors import OptionError
from geop2p.legend import category_names, side_car
from geop2p.palette import Palette
from geop2p.pipelines.colours import check_bands, palette_tag
from geop2p.pipelines.planning import Plan, map_spec
from geop2p.raster.burning import pixel_area_m2
from geop2p.raster.georeference import Georeference
from geop2p.raster.mapfile import read_tags, staged_map, writing_bytes
from geop2p.raster.mapformat import FORMATS, MapFormat, MapSpec
from geop2p.raster.polygonising import NO_CLASS, Classes, region_bands, scratch_bytes
from geop2p.raster.verifying import Mask, Pixels, Rows
from geop2p.vector.joining import Joiner, Outlined
from geop2p.vector.layer import LayerSpec, read_layer_tags, write_layer
from geop2p.writing import remove_company, replacing

logger = logging.getLogger(__name__)

LEAST_PIXELS = 16
"""Smallest polygon where no ``min_area`` is given."""
IN_PIXELS = Affine(1, 0, 0, 0, -1, 0)
"""Columns to the right and rows downwards: where QGIS draws a picture without a georeference."""
CLASS_FORMAT = MapFormat(driver="COG", options={**FORMATS["COG"], "OVERVIEW_RESAMPLING": "MODE"})


def class_spec(plan: Plan, *, is_masked: bool) -> MapSpec:
    """Return everything about the class raster but its pixels."""
    palette = _palette(plan)
    return replace(
        map_spec(plan, bands=1, is_masked=is_masked),
        dtype="uint8",
        nodata=float(NO_CLASS),
        tags={**plan.tags, **palette_tag(palette)},
        colours={entry.index: entry.colour for entry in palette.classes},
    )


def vector_spec(plan: Plan) -> LayerSpec:
    """Return everything about the layer of polygons but the polygons."""
    spec = map_spec(plan, bands=1, is_masked=False)
    area, palette = _pixel_area(spec), _palette(plan)
    transform, has_place = _placement(spec)
    return LayerSpec(
        placement=tuple(transform)[:6],
        crs=spec.crs.to_wkt() if has_place and spec.crs else None,
        pixel_area=area or 1.0,
        area_field="area_px" if area is None else "area_m2",
        palette=palette,
        tags={
            **plan.tags,
            **palette_tag(palette),
            "GEOP2P_MIN_AREA_PIXELS": str(_least_pixels(plan, area)),
            "GEOP2P_SIMPLIFY_PIXELS": repr(float(plan.request.simplify)),
        },
    )


def expected_and_found(plan: Plan, option: str) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return the tags that ``classes`` or ``vectors`` would have, and those that its file has."""
    path = plan.request.side_outputs()[option]
    if option == "classes":
        return class_spec(plan, is_masked=False).tags, read_tags(path)
    return vector_spec(plan).tags, read_layer_tags(path)


def staging_bytes(plan: Plan) -> int:
    """Return about how much room classes and polygons take while they are made."""
    if plan.palette is None:
        return 0
    spec = class_spec(plan, is_masked=True)
    raster = writing_bytes(spec) if plan.request.classes is not None else 0
    size = (spec.height, spec.width)
    return raster + (scratch_bytes(size) * 4 // 3 if plan.request.vectors is not None else 0)


@contextmanager
def staged_classes(plan: Plan, rows: Rows, *, is_masked: bool) -> Iterator[None]:
    """Make the class raster; it takes its name, and GDAL's side-car file, when the context ends.

    Raises
    ------
    DiskFullError, OutputError, VerificationError
        See `geop2p.raster.mapfile.staged_map`.
    """
    target, palette = Path(str(plan.request.classes)), _palette(plan)

    def class_rows() -> Iterator[tuple[Pixels, Mask]]:
        for part, valid in _classified(rows(), palette):
            yield part[np.newaxis], valid

    spec = class_spec(plan, is_masked=is_masked)
    with (
        replacing(side_car(target)) as names,
        staged_map(target, spec, class_rows, map_format=CLASS_FORMAT),
    ):
        names.write_text(category_names(palette), encoding="utf-8")
        yield


@contextmanager
def staged_vectors(plan: Plan, rows: Rows) -> Iterator[int]:
    """Make the polygons of the classes; yield how many. The file has its name afterwards.

    Raises
    ------
    DiskFullError, OutputError
        When it cannot be written.
    """
    target, spec = Path(str(plan.request.vectors)), vector_spec(plan)
    grid = map_spec(plan, bands=1, is_masked=False)
    size = (grid.height, grid.width)
    if not _placement(grid)[1]:
        logger.warning(
            "%s: the map has no transform, polygons are in pixels: x is the column, y minus the "
            "row (warp the scene to have them in a CRS)",
            target,
        )
    with replacing(target, needed=scratch_bytes(size)) as temporary:
        try:
            bands = region_bands(
                (classes for classes, _ in _classified(rows(), spec.palette)),
                size=size,
                least_pixels=_least_pixels(plan, _pixel_area(grid)),
                scratch=temporary,
            )
            joiner = Joiner(
                height=size[0],
                tolerance=plan.request.simplify,
                path=temporary.with_suffix(".pieces"),
            )
            count = write_layer(temporary, _outlines(bands, joiner), spec, target=target)
        finally:
            remove_company(temporary)
        yield count


def _outlines(bands: Iterator[Any], joiner: Joiner) -> Iterator[Outlined]:
    for band in bands:
        yield joiner.add(band)
    yield from joiner.joined()


def _classified(
    rows: Iterator[tuple[Pixels, Mask]], palette: Palette
) -> Iterator[tuple[Classes, Mask]]:
    """Yield (h, W) classes, `NO_CLASS` where nothing is valid, and (h, W) valid."""
    for pixels, valid in rows:
        check_bands(pixels, valid)
        classes = np.full(valid.shape, NO_CLASS, np.uint8)
        if valid.any():
            classes[valid] = palette.nearest(pixels)[valid]
        yield classes, valid


def _palette(plan: Plan) -> Palette:
    if plan.palette is None:
        raise OptionError("no palette (give --palette)")
    return plan.palette


def _placement(spec: MapSpec) -> tuple[Affine, bool]:
    """Return the transform of polygons, and whether it is that of the map."""
    kept = Georeference.of(spec).storable()
    has_transform = bool(kept.crs) or kept.transform != Affine.identity()
    if kept.gcps[0] or not has_transform:
        return IN_PIXELS, False
    return kept.transform, True


def _pixel_area(spec: MapSpec) -> float | None:
    """Return the square metres of a pixel; None where nobody knows."""
    return pixel_area_m2(spec) if spec.crs and _placement(spec)[1] else None


def _least_pixels(plan: Plan, area: float | None) -> int:
    least = plan.request.min_area
    return LEAST_PIXELS if least is None else math.ceil(least / (area or 1.0) - 1e-9)
