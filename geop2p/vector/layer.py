"""Polygons of classes written as a layer of a GeoPackage, with the style in which QGIS opens it."""

import sqlite3
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyogrio
import shapely
from pyogrio.errors import CRSError, DataLayerError, DataSourceError, FieldError, GeometryError
from pyogrio.raw import write as write_raw

from geop2p.errors import OptionError
from geop2p.faults import around
from geop2p.legend import layer_style
from geop2p.palette import Palette, format_colour
from geop2p.vector.joining import Outlined
from geop2p.writing import disk_full

LAYER, GEOMETRY = "classes", "geom"
NO_TIME = "1970-01-01T00:00:00.000Z"
"""Stands for all times in the file, so that the same polygons are the same bytes."""
WRITE_ERRORS = (DataLayerError, DataSourceError, FieldError, GeometryError, sqlite3.Error)
STYLES = """
CREATE TABLE layer_styles (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256),
    f_table_schema TEXT(256), f_table_name TEXT(256), f_geometry_column TEXT(256),
    styleName TEXT(30), styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN, description TEXT,
    owner TEXT(30), ui TEXT(30), update_time DATETIME DEFAULT CURRENT_TIMESTAMP
)
"""
"""The table in which QGIS looks for styles of a GeoPackage's layers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSpec:
    """Everything about the layer but its polygons.

    Parameters
    ----------
    placement : (a, b, c, d, e, f)
        Corner (column, row) to x = a column + b row + c, y = d column + e row + f.
    crs : str or None
        WKT of what x and y are in; None: nobody knows.
    pixel_area : float
        Of one pixel, in the unit of ``area_field``.
    area_field : str
        Name of the attribute that holds a polygon's area.
    palette : Palette
        Names and colours.
    tags : dict
        Provenance, the layer's metadata.
    """

    placement: tuple[float, float, float, float, float, float]
    crs: str | None
    pixel_area: float
    area_field: str
    palette: Palette
    tags: Mapping[str, str]


def write_layer(path: Path, found: Iterable[Outlined], spec: LayerSpec, *, target: Path) -> int:
    """Write polygons to a new GeoPackage as they come; return how many.

    Parameters
    ----------
    path, target : Path
        The file, and what it will be called, for messages.

    Raises
    ------
    DiskFullError
        When the file cannot be written, or does not read back whole.
    OptionError
        When GDAL does not take the CRS.
    """
    count = 0
    with _told(target), _without_times():
        _append(path, Outlined(np.empty(0, object), np.empty(0, np.int64)), spec)
        for outlined in found:
            with around("write file"):
                _append(path, outlined, spec)
            count += len(outlined.polygons)
        with around("write file"):
            _add_style(path, spec.palette)
        _check(path, count)
    return count


def read_layer_tags(path: Path) -> dict[str, str]:
    """Return the provenance of a layer that `write_layer` wrote; none for anything else."""
    try:
        return dict(pyogrio.read_info(path, layer=LAYER)["layer_metadata"] or {})
    except (DataLayerError, DataSourceError):
        return {}


def _append(path: Path, outlined: Outlined, spec: LayerSpec) -> None:
    """Add polygons to the layer, which is made by the first call."""
    names = {entry.index: entry.name for entry in spec.palette.classes}
    colours = {entry.index: format_colour(entry.colour) for entry in spec.palette.classes}
    labels = outlined.classes.tolist()
    columns = {
        "class": outlined.classes.astype(np.int32),
        "name": np.array([names[label] for label in labels], object),
        "colour": np.array([colours[label] for label in labels], object),
        spec.area_field: shapely.area(outlined.polygons) * spec.pixel_area,
    }
    is_first = not path.exists()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")  # then there is none
        write_raw(
            path,
            geometry=shapely.to_wkb(_placed(outlined.polygons, spec)),
            field_data=list(columns.values()),
            fields=np.array(list(columns), object),
            layer=LAYER,
            driver="GPKG",
            geometry_type="Polygon",
            crs=spec.crs,
            append=not is_first,
            layer_metadata=dict(spec.tags) if is_first else None,
        )


def _placed(polygons: npt.NDArray[Any], spec: LayerSpec) -> npt.NDArray[Any]:
    a, b, c, d, e, f = spec.placement

    def place(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        cols, rows = points.T
        return np.stack([a * cols + b * rows + c, d * cols + e * rows + f], axis=1)

    return np.asarray(shapely.transform(polygons, place))


def _add_style(path: Path, palette: Palette) -> None:
    row = ("", "", LAYER, GEOMETRY, "classes", layer_style(palette, field="class"), 1, NO_TIME)
    with closing(sqlite3.connect(path)) as base, base:
        base.execute(STYLES)
        base.execute(
            "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, "
            "f_geometry_column, styleName, styleQML, useAsDefault, update_time) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )
        base.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, last_change) "
            "VALUES ('layer_styles', 'attributes', 'layer_styles', ?)",
            (NO_TIME,),
        )


def _check(path: Path, count: int) -> None:
    """Read back what SQLite can tell of the file; raise `sqlite3.Error` where it is not whole."""
    with closing(sqlite3.connect(path)) as base:
        state = base.execute("PRAGMA integrity_check").fetchone()[0]
        kept = base.execute(f"SELECT COUNT(*) FROM {LAYER}").fetchone()[0]  # noqa: S608  a constant
    if state != "ok" or kept != count:
        raise sqlite3.DatabaseError(f"{kept} of {count} polygons read back ({state})")


@contextmanager
def _without_times() -> Iterator[None]:
    before = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": NO_TIME})
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": before})


@contextmanager
def _told(target: Path) -> Iterator[None]:
    try:
        yield
    except CRSError as exc:
        raise OptionError(
            f"{target}: a GeoPackage cannot keep the scene's CRS: {exc} (leave --vectors away)"
        ) from exc
    except WRITE_ERRORS as exc:
        raise disk_full(target, f"cannot be written: {exc}", needed=None) from exc
