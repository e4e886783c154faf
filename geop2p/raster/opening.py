"""The one way in: what may be opened as a scene, and how GDAL is told to open it."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from geop2p.errors import SceneError

DRIVERS = ("GTiff", "VRT", "JP2OpenJPEG", "PNG", "JPEG", "WEBP", "BMP", "HFA", "ENVI")
"""GDAL drivers that a scene may be read with; GDAL tries no other, so a file is never a service."""
CACHE_BYTES = 64 * 2**20
"""GDAL's block cache for a process; enough for 11,000 columns of any layout (measured)."""
MASK_RULES = ("any", "all")
READ_ERRORS = ("fail", "nodata")
MAX_PIXELS = 2**35
"""Largest scene, height x width, that is opened unless told otherwise: 34 gigapixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneSource:
    """Where a scene is and how it is to be read; small, and safe to send to a worker.

    Parameters
    ----------
    path : str
        A raster file.
    bands : tuple of int or None
        Bands to read, counted from 1; None is every band but alpha, red, green, blue first.
    src_nodata : float, "none" or None
        The nodata value in place of the file's own; "none": the file's own is a value like others.
    is_expanded : bool
        A palette, cyan-magenta-yellow-black and luma-chroma become red, green, blue.
    mask_rule : str
        ``any``: a pixel is valid when any band is. ``all``: when all bands that are read are.
    max_pixels : int, pixels
        Largest height x width that is opened.
    allow_network : bool
        The path may be a URL or one of GDAL's /vsi... names.
    on_read_error : str
        ``fail``, or ``nodata``: blocks that cannot be decoded are masked and counted.
    """

    path: str
    bands: tuple[int, ...] | None = None
    is_expanded: bool = False
    src_nodata: float | str | None = None
    mask_rule: str = "any"
    max_pixels: int = MAX_PIXELS
    allow_network: bool = False
    on_read_error: str = "fail"


@contextmanager
def open_dataset(source: SceneSource) -> Iterator[Any]:
    """Open what ``source`` describes by one of `DRIVERS`, and no other.

    Raises
    ------
    SceneError
        When it is no raster that can be opened.
    """
    check_file(source.path)
    with gdal_settings(), _opened(source.path) as dataset:
        yield dataset


@contextmanager
def gdal_settings() -> Iterator[None]:
    """Set what GDAL does in this process: a bounded cache, and no files beside the inputs."""
    with rasterio.Env(
        GDAL_CACHEMAX=CACHE_BYTES,
        GDAL_PAM_ENABLED=True,
        GDAL_MAX_DATASET_POOL_SIZE=100,
        CPL_VSIL_GZIP_WRITE_PROPERTIES="NO",
    ):
        yield


def check_file(path: str) -> None:
    """Refuse what is not a file with something in it.

    Raises
    ------
    SceneError
        For a missing file, a folder or other special file, and an empty file.
    """
    file = Path(path)
    if not file.exists():
        raise SceneError(f"{path}: no such file (check the path)")
    if not file.is_file():
        kind = "a folder" if file.is_dir() else "not a regular file"
        raise SceneError(f"{path}: {kind} (give a raster file, e.g. a GeoTIFF)")
    if file.stat().st_size == 0:
        raise SceneError(f"{path}: an empty file (copy it again)")


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    with warnings.catch_warnings():
        # a scene without a georeference is welcome: its map has none either
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            dataset = DatasetReader(path, driver=list(DRIVERS))  # rasterio.open takes one driver
        except RasterioError as exc:
            raise SceneError(
                f"{path}: not a raster that can be opened: {exc} "
                f"(expected one of {', '.join(DRIVERS)})"
            ) from exc
        with dataset:
            yield dataset
