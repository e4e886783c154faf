"""Vectors: features read from a file, brought into a plane and given their drawn shapes.

What lies here knows coordinates but no pixels.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyogrio
import shapely
from pyogrio.errors import CRSError, DataLayerError, DataSourceError, FieldError, GeometryError
from pyogrio.raw import read as read_raw

from geop2p.errors import OptionError, SceneError
from geop2p.style import Rule, Style

SUFFIXES = (".geojson", ".json", ".gpkg", ".fgb", ".shp")
"""A target with such a name holds vectors."""
VECTOR_ERRORS = (CRSError, DataLayerError, DataSourceError, FieldError, GeometryError)

Points = npt.NDArray[np.float64]
Box = tuple[float, float, float, float]
"""Left, bottom, right, top."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """The coordinates that shapes are drawn in.

    Parameters
    ----------
    reproject : callable
        Given the CRS of vectors, returns what brings (N, 2) coordinates from there into the plane.
    find_box : callable
        Given the CRS of vectors and a margin in metres, returns the box, in that CRS, of all that
        is wanted.
    metres_per_unit : (float, float)
        Length on the ground of one unit along x and along y.
    """

    reproject: Callable[[str], Callable[[Points], Points]]
    find_box: Callable[[str, float], Box]
    metres_per_unit: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """A geometry with its layer and attributes."""

    geometry: Any
    layer: str
    attributes: Mapping[str, Any]


class Drawing:
    """Shapes with the index of their colour, in the order in which they are drawn."""

    def __init__(self, shapes: list[tuple[Any, int]]) -> None:
        self._shapes = shapes
        self._tree = shapely.STRtree([shape for shape, _ in shapes])

    def __len__(self) -> int:
        """Return the number of shapes."""
        return len(self._shapes)

    def within(self, box: Box) -> list[tuple[Any, int]]:
        """Return the shapes that reach into (left, bottom, right, top), in drawing order."""
        found = sorted(self._tree.query(shapely.box(*box)).tolist())
        return [self._shapes[position] for position in found]


def is_vector(path: str | os.PathLike[str]) -> bool:
    """Whether a file's name says that it holds vectors."""
    return Path(path).suffix.lower() in SUFFIXES


def read_drawing(path: str | os.PathLike[str], *, style: Style, plane: Plane) -> Drawing:
    """Read a vector file and give every feature that the style draws its shapes in ``plane``.

    Raises
    ------
    SceneError
        When the file cannot be read or has no CRS.
    OptionError
        When a line or point matches a rule that has no width.
    """
    drawn: list[tuple[int, int, Any, int]] = []
    for feature in _read_features(os.fspath(path), style, plane):
        number = style.find_rule(feature.layer, feature.attributes)
        if number is None:
            continue
        rule = style.rules[number]
        for is_fill, shape in _shapes(feature, rule, plane, path=os.fspath(path)):
            drawn.append((rule.order, is_fill, shape, 2 + 2 * number - is_fill))
    drawn.sort(key=lambda entry: entry[:2])  # stable: features keep the file's order
    return Drawing([(shape, colour) for _, _, shape, colour in drawn])


def _read_features(path: str, style: Style, plane: Plane) -> Iterator[Feature]:
    if not Path(path).is_file():
        raise SceneError(f"{path}: no such file (check the path)")
    try:
        layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
        for layer in layers:
            yield from _read_layer(path, layer, plane, margin_m=style.reach_m)
    except VECTOR_ERRORS as exc:
        raise SceneError(
            f"{path}: cannot be read as vectors: {exc} (expected GeoJSON or GeoPackage)"
        ) from exc


def _read_layer(path: str, layer: str, plane: Plane, *, margin_m: float) -> Iterator[Feature]:
    crs = pyogrio.read_info(path, layer=layer)["crs"]
    if not crs:
        raise SceneError(f"{path}: layer {layer} has no coordinate reference system (assign one)")
    box = plane.find_box(crs, margin_m)
    meta, _, geometries, columns = read_raw(path, layer=layer, force_2d=True, bbox=box)
    shapes = shapely.transform(shapely.from_wkb(geometries), plane.reproject(crs))
    names = [str(name) for name in meta["fields"]]
    for row, shape in enumerate(shapes):
        if shape is not None and not shape.is_empty and np.isfinite(shape.bounds).all():
            values = {name: column[row] for name, column in zip(names, columns, strict=True)}
            yield Feature(geometry=shape, layer=layer, attributes=values)


def _shapes(feature: Feature, rule: Rule, plane: Plane, *, path: str) -> Iterator[tuple[bool, Any]]:
    """Yield (is it the fill, polygon in plane coordinates): the fill, and the casing if any."""
    in_metres = shapely.transform(feature.geometry, lambda points: points * plane.metres_per_unit)
    fill = shapely.make_valid(in_metres)
    if fill.area == 0:
        if rule.width_m is None:
            raise OptionError(
                f"{path}: a {fill.geom_type} of layer {feature.layer} matches a rule without "
                "width_m (give lines and points a width in metres)"
            )
        fill = shapely.buffer(fill, rule.width_m / 2)
    yield True, _to_plane(fill, plane)
    if rule.casing:
        yield False, _to_plane(shapely.buffer(fill, rule.casing.width_m), plane)


def _to_plane(shape: Any, plane: Plane) -> Any:  # noqa: ANN401  shapely has no types
    return shapely.transform(shape, lambda points: points / plane.metres_per_unit)
