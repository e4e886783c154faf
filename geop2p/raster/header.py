"""What the header of a scene says."""

import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from affine import Affine

from geop2p.raster.bands import Expansion, common_dtype, true_bits
from geop2p.raster.georeference import Georeference
from geop2p.raster.gsd import gsd_of
from geop2p.raster.masks import SceneMask
from geop2p.raster.opening import CACHE_BYTES, SceneSource, header_errors, open_dataset

SEQUENTIAL_DRIVERS = ("PNG", "JPEG", "WEBP", "BMP")
STREAMS = ("PNG", "JPEG", "WEBP")
"""Drivers of files that are one compressed stream, of which nothing is left after a fault."""
LEAST_CACHE_BYTES = 8 * 2**20
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
        What each channel shows by the file's colour interpretation, e.g. ``red``, ``undefined``;
        as many as bands, or three where those are expanded.
    dtype : str
        numpy name of the type of the channels.
    file_dtype : str
        numpy name of the type of the bands that are read: not ``dtype`` where they are expanded.
    bits : int or None
        How many bits the values really have, e.g. 12; None: as many as their type.
    is_expanded : bool
        The channels are red, green, blue made of a palette or of other colours.
    block : tuple of int, pixels
        (height, width) of what is decoded at a time.
    crs : rasterio.crs.CRS or None
        Coordinate reference system.
    transform : affine.Affine
        (column, row) to (x, y) in CRS units; the identity when there is none.
    gcps : tuple
        Ground control points and their CRS: ``(list, CRS or None)``; an empty list without.
    rpcs : rasterio.rpc.RPC or None
        Rational polynomial coefficients.
    has_geolocation : bool
        Arrays of coordinates beside the raster say where its pixels lie.
    is_point : bool
        Coordinates mean pixel centres (``AREA_OR_POINT=Point``).
    is_sequential : bool
        Windows cannot be decoded by themselves; rows are best read in order, once.
    is_stream : bool
        Nothing can be decoded after a fault.
    has_mask : bool
        Some pixels may be invalid.
    ordered_cache : int, bytes
        Of decoded blocks that GDAL needs to keep while rows are read in order, by whole blocks.
    """

    path: str
    driver: str
    height: int
    width: int
    bands: tuple[int, ...]
    colours: tuple[str, ...]
    dtype: str
    file_dtype: str
    bits: int | None
    is_expanded: bool
    block: tuple[int, int]
    crs: Any
    transform: Affine
    gcps: tuple[list[Any], Any]
    rpcs: Any
    has_geolocation: bool
    is_point: bool
    is_sequential: bool
    is_stream: bool
    has_mask: bool
    ordered_cache: int

    @property
    def count(self) -> int:
        """How many channels there are."""
        return len(self.colours)

    @property
    def is_georeferenced(self) -> bool:
        """Whether anything says where on the ground the scene lies."""
        return Georeference.of(self).is_known

    def resized(self, size: tuple[int, int]) -> "SceneSpec":
        """Return the header of the same ground at another size: corners stay where they are.

        Ground control points and rational polynomials, which count pixels, are left out.
        """
        height, width = size
        is_placed = bool(self.crs) or self.transform != Affine.identity()
        scale = Affine.scale(self.width / width, self.height / height)
        block_height, block_width = self.block
        return replace(
            self,
            height=height,
            width=width,
            transform=self.transform @ scale if is_placed else self.transform,
            block=(
                max(1, block_height * height // self.height),
                max(1, min(width, block_width * width // self.width)),
            ),
            gcps=([], None),
            rpcs=None,
        )


def read_spec(
    dataset: Any,
    path: str,
    bands: tuple[int, ...],
    *,
    expansion: Expansion | None,
    mask: SceneMask,
) -> SceneSpec:
    """Return the header of an open dataset, for the bands that are read.

    Raises
    ------
    SceneError
        When bands are of several types, or of none that is known.
    """
    file_dtype = common_dtype(dataset, path, bands)
    colours = tuple(dataset.colorinterp[band - 1].name for band in bands)
    return SceneSpec(
        path=path,
        driver=dataset.driver,
        height=dataset.height,
        width=dataset.width,
        bands=bands,
        colours=colours if expansion is None else ("red", "green", "blue"),
        dtype=file_dtype if expansion is None else expansion.dtype,
        file_dtype=file_dtype,
        bits=true_bits(dataset, bands) if expansion is None else None,
        is_expanded=expansion is not None,
        block=dataset.block_shapes[bands[0] - 1],
        crs=dataset.crs,
        transform=dataset.transform,
        gcps=dataset.gcps,
        rpcs=dataset.rpcs,
        has_geolocation=bool(dataset.tags(ns="GEOLOCATION")),
        is_point=dataset.tags().get("AREA_OR_POINT") == "Point",
        is_sequential=_is_sequential(dataset),
        is_stream=_is_stream(dataset),
        has_mask=mask.is_masked,
        ordered_cache=_ordered_cache(dataset),
    )


def _ordered_cache(dataset: Any) -> int:
    """Return how many bytes of blocks GDAL needs to keep where none is asked for twice.

    Little of a GeoTIFF, but a block of every band, as they are decoded together. The blocks of a
    VRT are not those of its sources, and other drivers decode more than they are asked for.
    """
    if dataset.driver != "GTiff" or _is_sequential(dataset):
        return CACHE_BYTES
    height, width = dataset.block_shapes[0]
    together: int = height * width * sum(np.dtype(name).itemsize for name in dataset.dtypes)
    return min(CACHE_BYTES, max(LEAST_CACHE_BYTES, 4 * together))


def _is_sequential(dataset: Any) -> bool:
    tallest = max(height for height, _ in dataset.block_shapes)
    is_tall = dataset.driver in SEQUENTIAL_DRIVERS or tallest > TALL_BLOCK
    return is_tall or _is_stream(dataset)


def _is_stream(dataset: Any) -> bool:
    """Whether rows can only be decoded one after the other, and none after a fault.

    So it is of a compressed GeoTIFF with a strip so large that GDAL gives it out row by row: then
    the file has no second row of its own.
    """
    if dataset.driver != "GTiff" or dataset.compression is None or dataset.height == 1:
        return dataset.driver in STREAMS
    if dataset.block_shapes[0] != (1, dataset.width):
        return False
    first, second = (
        dataset.get_tag_item(f"BLOCK_OFFSET_0_{row}", "TIFF", bidx=1) for row in (0, 1)
    )
    return first is not None and second is None


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a raster's header says, as plain values for people and programs.

    Raises
    ------
    SceneError
        When it cannot be opened.
    """
    name = os.fspath(path)
    with open_dataset(SceneSource(path=name)) as dataset, header_errors(name):
        mask = sorted({flag.name for band in dataset.mask_flag_enums for flag in band})
        crs = dataset.crs or dataset.gcps[1]
        gsd = gsd_of(dataset)
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
            "gsd_m": None if gsd is None else float(f"{gsd.mean_m:.6g}"),
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
