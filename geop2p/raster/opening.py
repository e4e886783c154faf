"""The one way in: what may be opened as a scene, and how GDAL is told to open it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from geop2p.errors import Geop2pError, SceneError
from geop2p.raster.limits import MAX_PIXELS, check_header
from geop2p.raster.recognising import (
    foreign_kind,
    is_envi,
    is_scene_head,
    is_vrt,
    opening_failure,
    read_head,
)
from geop2p.raster.silence import georeference_not_missed
from geop2p.raster.virtual import (
    check_leave,
    check_overview_name,
    check_sidecars,
    is_network_name,
    vrt_sources,
)
from geop2p.redaction import escaped, redacted

DRIVERS = ("GTiff", "VRT", "JP2OpenJPEG", "PNG", "JPEG", "WEBP", "BMP", "HFA", "ENVI")
"""GDAL drivers that a scene may be read with; GDAL tries no other, so a file is never a service."""
CACHE_BYTES = 64 * 2**20
"""GDAL's block cache for a process; enough for 11,000 columns of any layout (measured)."""
READ_FAILURES = (RasterioError, CPLE_BaseError)
"""What reading raises; GDAL's own errors escape from rasterio now and then."""
MASK_RULES = ("any", "all")
READ_ERRORS = ("fail", "nodata")
NETWORK_SETTINGS = {
    "GDAL_HTTP_CONNECTTIMEOUT": 10,
    "GDAL_HTTP_TIMEOUT": 30,
    "GDAL_HTTP_LOW_SPEED_TIME": 20,
    "GDAL_HTTP_LOW_SPEED_LIMIT": 100,
    "GDAL_HTTP_MAX_RETRY": 2,
    "GDAL_HTTP_RETRY_DELAY": 1,
    "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE",
}
"""Seconds, bytes a second, times; and sidecars are asked for by name, as servers list no folder."""
SCHEMES = {
    "http": "/vsicurl/http://",
    "https": "/vsicurl/https://",
    "ftp": "/vsicurl/ftp://",
    "s3": "/vsis3/",
    "gs": "/vsigs/",
    "az": "/vsiaz/",
}
UNSEEKABLE = ("/vsistdin", "/vsicrypt", "/vsihdfs")
MOST_CHECKED_SOURCES = 256
"""Sources of a VRT whose headers are read beforehand; of the others only the first bytes are."""


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
    size : tuple of int or None, pixels
        (height, width) that it is brought to while it is read; None: its own.
    """

    path: str
    bands: tuple[int, ...] | None = None
    is_expanded: bool = False
    src_nodata: float | str | None = None
    mask_rule: str = "any"
    max_pixels: int = MAX_PIXELS
    allow_network: bool = False
    on_read_error: str = "fail"
    size: tuple[int, int] | None = None


@contextmanager
def open_dataset(source: SceneSource) -> Iterator[Any]:
    """Open what ``source`` describes by one of `DRIVERS`, and no other.

    Nothing of its pixels is read; its header is within the limits when it is handed out.

    Raises
    ------
    SceneError
        When it is missing, no raster that can be opened, larger than what is allowed, or made of
        what is missing or not allowed.
    """
    shown = _shown(source.path)
    with gdal_settings(allow_network=source.allow_network):
        if is_network_name(source.path):
            _check_network(source, shown)
            name, size, head = _virtual_name(source.path), None, b""
        else:
            name = str(Path(source.path).absolute()) if source.path else ""
            head = read_head(name, shown=shown)
            size = _check_parts(name, source=source, head=head)
        with _opened(name, shown=shown, head=head) as dataset:
            _check_opened(dataset, source=source, shown=shown, size=size)
            yield dataset


@contextmanager
def gdal_settings(*, allow_network: bool = False) -> Iterator[None]:
    """Set what GDAL does in this process: a bounded cache, no Python, no network without leave."""
    network = NETWORK_SETTINGS if allow_network else {"CPL_VSIL_CURL_ALLOWED_FILENAME": "none"}
    with rasterio.Env(
        GDAL_CACHEMAX=CACHE_BYTES,
        GDAL_NUM_THREADS="1",  # with more it does not tell of damaged blocks (GDAL 3.10)
        GDAL_PAM_ENABLED=True,
        GDAL_MAX_DATASET_POOL_SIZE=100,
        GDAL_VRT_ENABLE_PYTHON="NO",
        GDAL_PNG_WHOLE_IMAGE_OPTIM="NO",  # rows up to a fault can be read, and memory is bounded
        GDAL_ERROR_ON_LIBJPEG_WARNING=True,  # a truncated JPEG is grey otherwise
        CPL_VSIL_GZIP_WRITE_PROPERTIES="NO",
        **network,
    ):
        yield


@contextmanager
def header_errors(shown: str) -> Iterator[None]:
    """Turn what rasterio raises on a damaged header into a line that names the file.

    Raises
    ------
    SceneError
        In place of errors of GDAL, and of values that rasterio has no name for.
    """
    try:
        yield
    except Geop2pError:
        raise
    except (*READ_FAILURES, ValueError, KeyError, OverflowError) as exc:
        raise SceneError(
            f"{_shown(shown)}: a header that cannot be read: {redacted(str(exc))} "
            "(is the file damaged? copy it again)"
        ) from exc


def _shown(path: str) -> str:
    return redacted(escaped(path))


def _check_network(source: SceneSource, shown: str) -> None:
    if not source.allow_network:
        raise SceneError(f"{shown}: not a local file (--allow-network opens it)")
    scheme = source.path.partition("://")[0].lower()
    if source.path.startswith(UNSEEKABLE):
        raise SceneError(f"{shown}: cannot be read by windows (give a file or a URL)")
    if not source.path.lower().startswith("/vsi") and scheme not in SCHEMES:
        raise SceneError(f"{shown}: a URL of an unknown kind (expected {', '.join(SCHEMES)})")


def _virtual_name(path: str) -> str:
    """Return GDAL's name of a URL."""
    scheme, mark, rest = path.partition("://")
    if path.lower().startswith("/vsi") or not mark:
        return path
    return SCHEMES[scheme.lower()] + rest


def _check_parts(name: str, *, source: SceneSource, head: bytes) -> int | None:
    """Check all that a local scene is made of; return its bytes, None where some are elsewhere."""
    shown = _shown(source.path)
    check_sidecars(name, shown=shown, allow_network=source.allow_network)
    if not is_vrt(head):
        size = Path(name).stat().st_size
        kind = None if is_envi(name) else foreign_kind(head, size=size)
        if kind is not None:
            raise SceneError(f"{shown}: {kind}")
        return size
    parts = vrt_sources(name, shown=shown, allow_network=source.allow_network)
    sizes: dict[str, int | None] = {name: Path(name).stat().st_size}
    for part in parts:
        if part in sizes:
            continue
        is_local = not is_network_name(part)
        sizes[part] = Path(part).stat().st_size if is_local else None
        if len(sizes) <= MOST_CHECKED_SOURCES or not is_local:
            _check_source(part, source=source, shown=f"{shown}: its source {_shown(part)}")
    known = [size for size in sizes.values() if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _check_source(part: str, *, source: SceneSource, shown: str) -> None:
    """Refuse a VRT's source that the network lacks, or whose header is beyond the limits."""
    is_local = not is_network_name(part)
    head = read_head(part, shown=shown) if is_local else b""
    if is_vrt(head) or (is_local and not is_scene_head(head)):
        return
    name = part if is_local else _virtual_name(part)
    with _opened(name, shown=shown, head=head) as dataset, header_errors(shown):
        size = Path(part).stat().st_size if is_local else None
        check_header(dataset, shown=shown, max_pixels=source.max_pixels, size=size)


def _check_opened(dataset: Any, *, source: SceneSource, shown: str, size: int | None) -> None:
    with header_errors(shown):
        check_header(dataset, shown=shown, max_pixels=source.max_pixels, size=size)
        overview = dataset.tags(ns="OVERVIEWS").get("OVERVIEW_FILE")
    if overview is None:
        return
    check_leave(overview, shown=shown, allow_network=source.allow_network)
    if not is_network_name(source.path):
        check_overview_name(overview, path=str(Path(source.path).absolute()), shown=shown)


@contextmanager
def _opened(name: str, *, shown: str, head: bytes) -> Iterator[Any]:
    with georeference_not_missed():
        try:
            dataset = DatasetReader(name, driver=list(DRIVERS))  # rasterio.open takes one driver
        except (*READ_FAILURES, ValueError, OverflowError) as exc:
            raise SceneError(f"{shown}: {_failure(name, exc, head)}") from exc
        with dataset:
            yield dataset


def _failure(name: str, exc: Exception, head: bytes) -> str:
    """Return why GDAL does not open a file, without its name, which stands before."""
    cause = str(exc.__cause__ or exc).replace(name, os.path.basename(name))  # noqa: PTH119
    known = opening_failure(head, size=Path(name).stat().st_size) if head else None
    if known is not None:
        return known
    if "not recognized as being in a supported file format" in cause and is_scene_head(head):
        cause = "it begins as one, and is damaged or of a rare variant"
    elif "not recognized as being in a supported file format" in cause:
        start = "".join(chr(b) if 32 <= b < 127 else "." for b in head[:12])
        cause = f"it begins with {start!r}"
    return (
        f"not a raster that can be opened: {redacted(cause)} "
        f"(expected one of {', '.join(DRIVERS)}; is the file complete?)"
    )
