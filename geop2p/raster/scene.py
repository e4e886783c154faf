"""A scene: the raster that goes in, opened once and read by windows.

Pixels are (C, H, W) in the scene's own type; beside them goes (H, W) bool, True where the scene is
valid. Rows and columns are the scene's own, counted from its upper left corner.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window

from geop2p.errors import OptionError, SceneError
from geop2p.raster.opening import (
    CACHE_BYTES,
    DRIVERS,
    MASK_RULES,
    MAX_PIXELS,
    READ_ERRORS,
    SceneSource,
    gdal_settings,
    open_dataset,
)

__all__ = [
    "CACHE_BYTES",
    "DRIVERS",
    "MASK_RULES",
    "MAX_PIXELS",
    "READ_ERRORS",
    "OrderedRows",
    "Scene",
    "SceneSource",
    "SceneSpec",
    "describe",
    "gdal_settings",
    "open_scene",
    "open_source",
]

logger = logging.getLogger(__name__)

Pixels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Span = tuple[int, int]
"""Rows or columns from the first to the one after the last."""

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
SEQUENTIAL_DRIVERS = ("PNG", "JPEG", "WEBP", "BMP")
TALL_BLOCK = 1024
"""Pixels; a block taller than this makes every strip decode rows that it does not need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneSpec:
    """What the header of a scene says.

    Parameters
    ----------
    path : str
        The file.
    driver : str
        GDAL's name of the format.
    height, width : int, pixels
        Size.
    bands : tuple of int
        The bands that are read, counted from 1, in the order of the channels.
    colours : tuple of str
        What each of them shows by the file's colour interpretation, e.g. ``red``, ``undefined``.
    dtype : str
        numpy name of the type of the bands that are read.
    crs : rasterio.crs.CRS or None
        Coordinate reference system.
    transform : affine.Affine
        (column, row) to (x, y) in CRS units; the identity when there is none.
    gcps : tuple
        Ground control points and their CRS: ``(list, CRS or None)``; an empty list without.
    rpcs : rasterio.rpc.RPC or None
        Rational polynomial coefficients.
    is_point : bool
        Coordinates mean pixel centres (``AREA_OR_POINT=Point``).
    is_sequential : bool
        Windows cannot be decoded by themselves; rows are best read in order, once.
    has_mask : bool
        Some pixels may be invalid.
    """

    path: str
    driver: str
    height: int
    width: int
    bands: tuple[int, ...]
    colours: tuple[str, ...]
    dtype: str
    crs: Any
    transform: Affine
    gcps: tuple[list[Any], Any]
    rpcs: Any
    is_point: bool
    is_sequential: bool
    has_mask: bool

    @property
    def is_georeferenced(self) -> bool:
        """Whether anything says where on the ground the scene lies."""
        return bool(self.crs or self.gcps[0] or self.rpcs or self.transform != Affine.identity())


class Scene:
    """An open scene. Not for use by two threads at once: open it once in each."""

    def __init__(self, dataset: Any, source: SceneSource) -> None:
        self._dataset = dataset
        self._source = source
        self.spec = _spec(dataset, source)

    def read(self, *, rows: Span, cols: Span | None = None) -> tuple[Pixels, Mask]:
        """Read a window: (C, h, w) in the scene's type, and (h, w) bool, True where it is valid.

        Raises
        ------
        SceneError
            When the window cannot be decoded.
        """
        lo, hi = cols or (0, self.spec.width)
        window = Window(lo, rows[0], hi - lo, rows[1] - rows[0])
        try:
            pixels = self._dataset.read(list(self.spec.bands), window=window)
            return pixels, self._valid(pixels, window)
        except RasterioError as exc:
            cause = exc.__cause__ or exc
            raise SceneError(
                f"{self.spec.path}: rows {rows[0]} to {rows[1] - 1} cannot be read: {cause} "
                "(is the file complete? copy it again)"
            ) from exc

    def thumbnail(self, longest_side: int) -> tuple[Pixels, Mask]:
        """Read the whole scene at a smaller size: (C, h, w) and (h, w), like `read`.

        Overviews are used where the file has them; pixels are averages, valid where all they are
        made of is.
        """
        height, width = self.spec.height, self.spec.width
        scale = min(1.0, longest_side / max(height, width))
        shape = (max(1, round(height * scale)), max(1, round(width * scale)))
        bands = list(self.spec.bands)
        pixels = self._dataset.read(
            bands, out_shape=(len(bands), *shape), resampling=Resampling.average
        )
        mask = self._dataset.dataset_mask(out_shape=shape, resampling=Resampling.average)
        return pixels, np.asarray(mask == 255)

    def _valid(self, pixels: Pixels, window: Window) -> Mask:
        """Return where the window is valid, by the file's mask and the source's rules."""
        valid = self._file_mask(pixels, window)
        if isinstance(self._source.src_nodata, float):
            is_value = pixels != np.asarray(self._source.src_nodata).astype(pixels.dtype)
            valid &= (
                is_value.all(axis=0) if self._source.mask_rule == "all" else is_value.any(axis=0)
            )
        if np.issubdtype(pixels.dtype, np.floating):
            valid &= np.isfinite(pixels).all(axis=0)
        return valid

    def _file_mask(self, pixels: Pixels, window: Window) -> Mask:
        """Return the file's own mask, less its nodata value where the source replaces that."""
        flags = self._dataset.mask_flag_enums
        is_nodata = any(MaskFlags.nodata in band for band in flags)
        if not self.spec.has_mask or (is_nodata and self._source.src_nodata is not None):
            return np.ones(pixels.shape[1:], bool)
        if self._source.mask_rule == "all":
            masks = self._dataset.read_masks(list(self.spec.bands), window=window)
            return np.asarray(masks.all(axis=0))
        return np.asarray(self._dataset.dataset_mask(window=window) != 0)


class OrderedRows:
    """Rows of a scene whose windows cannot be decoded by themselves, read once and in order.

    Rows that the last span held are kept, so that spans which overlap cost no second decoding. A
    span that starts before what is kept is read again: slower, never wrong.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._lo = 0
        self._pixels: Pixels | None = None
        self._valid: Mask | None = None

    def read(self, *, rows: Span) -> tuple[Pixels, Mask]:
        """Read whole rows; raises what `Scene.read` raises."""
        if self._pixels is None or self._valid is None or not self._holds(rows[0]):
            self._pixels, self._valid = self._scene.read(rows=rows)
        else:
            held = self._lo + self._pixels.shape[1]
            keep = slice(rows[0] - self._lo, min(rows[1], held) - self._lo)
            self._pixels, self._valid = self._pixels[:, keep], self._valid[keep]
            if rows[1] > held:
                pixels, valid = self._scene.read(rows=(held, rows[1]))
                self._pixels = np.concatenate([self._pixels, pixels], axis=1)
                self._valid = np.concatenate([self._valid, valid])
        self._lo = rows[0]
        return self._pixels, self._valid

    def _holds(self, row: int) -> bool:
        return self._pixels is not None and self._lo <= row < self._lo + self._pixels.shape[1]


@contextmanager
def open_scene(
    path: str | os.PathLike[str],
    *,
    bands: tuple[int, ...] | None = None,
    src_nodata: float | str | None = None,
    mask_rule: str = "any",
) -> Iterator[Scene]:
    """Open a raster for reading; see `SceneSource` for the parameters.

    Raises
    ------
    SceneError
        When the file is missing, is no raster of a known format, or holds what no generator can
        read: no pixels, complex numbers, bands of different types.
    OptionError
        When a band is asked for that the file does not have.
    """
    source = SceneSource(
        path=os.fspath(path), bands=bands, src_nodata=src_nodata, mask_rule=mask_rule
    )
    with open_source(source) as scene:
        yield scene


@contextmanager
def open_source(source: SceneSource) -> Iterator[Scene]:
    """Open what ``source`` describes; raises what `open_scene` raises."""
    with open_dataset(source) as dataset:
        yield Scene(dataset, source)


def _spec(dataset: Any, source: SceneSource) -> SceneSpec:
    bands = _selected_bands(dataset, source)
    return SceneSpec(
        path=source.path,
        driver=dataset.driver,
        height=dataset.height,
        width=dataset.width,
        bands=bands,
        colours=tuple(dataset.colorinterp[band - 1].name for band in bands),
        dtype=_common_dtype(dataset, source.path, bands),
        crs=dataset.crs,
        transform=dataset.transform,
        gcps=dataset.gcps,
        rpcs=dataset.rpcs,
        is_point=dataset.tags().get("AREA_OR_POINT") == "Point",
        is_sequential=_is_sequential(dataset),
        has_mask=any(MaskFlags.all_valid not in band for band in dataset.mask_flag_enums),
    )


def _selected_bands(dataset: Any, source: SceneSource) -> tuple[int, ...]:
    """Return the bands asked for, or all but alpha with red, green, blue in that order."""
    if source.bands is None:
        colours = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
        found = list(dataset.colorinterp)
        first = [found.index(c) + 1 for c in colours] if all(c in found for c in colours) else []
        rest = [i + 1 for i, c in enumerate(found) if c != ColorInterp.alpha and i + 1 not in first]
        if not first + rest:
            raise SceneError(f"{source.path}: no band but alpha (give a raster with values)")
        return tuple(first + rest)
    for band in source.bands:
        if not 1 <= band <= dataset.count:
            raise OptionError(
                f"{source.path}: band {band} was asked for, the file has {dataset.count} "
                "(bands count from 1)"
            )
    return source.bands


def _common_dtype(dataset: Any, path: str, bands: tuple[int, ...]) -> str:
    found = {dataset.dtypes[band - 1] for band in bands}
    if len(found) > 1:
        raise SceneError(
            f"{path}: bands of different types ({', '.join(sorted(found))}) "
            "(choose bands of one type with --bidx)"
        )
    dtype = str(found.pop())
    if dtype not in DTYPES:
        raise SceneError(f"{path}: values of type {dtype} (expected one of {', '.join(DTYPES)})")
    return dtype


def _is_sequential(dataset: Any) -> bool:
    tallest = max(height for height, _ in dataset.block_shapes)
    return dataset.driver in SEQUENTIAL_DRIVERS or tallest > TALL_BLOCK


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a raster's header says, as plain values for people and programs.

    Raises
    ------
    SceneError
        When it cannot be opened.
    """
    name = os.fspath(path)
    with open_dataset(SceneSource(path=name)) as dataset:
        mask = sorted({flag.name for band in dataset.mask_flag_enums for flag in band})
        crs = dataset.crs or dataset.gcps[1]
        return {
            "driver": dataset.driver,
            "height": dataset.height,
            "width": dataset.width,
            "bands": dataset.count,
            "dtypes": sorted(set(map(str, dataset.dtypes))),
            "colours": [colour.name for colour in dataset.colorinterp],
            "crs": crs.to_string() if crs else None,
            "bounds": list(dataset.bounds) if dataset.crs else None,
            "pixel_size": list(dataset.res) if dataset.crs else None,
            "gcps": len(dataset.gcps[0]),
            "has_rpcs": dataset.rpcs is not None,
            "nodata": None if dataset.nodata is None else str(dataset.nodata),
            "mask": mask,
            "blocks": [list(shape) for shape in sorted(set(dataset.block_shapes))],
            "compression": str(dataset.profile.get("compress", "none")),
            "overviews": dataset.overviews(1),
            "is_read_in_order": _is_sequential(dataset),
            "tags": dataset.tags(),
        }
