"""The map: the raster that comes out, written beside its target, read back, then renamed.

GDAL does not always raise when a disk is full, and a killed writer leaves a file that opens and
reads as zeros. So one writer puts whole blocks in order into a plain raster, GDAL turns that into
the wanted format, and the result counts only once every block of it was read back and compared.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile
from rasterio.windows import Window

from geop2p.ahead import ahead
from geop2p.checksum import PixelChecksum
from geop2p.errors import OptionError, VerificationError
from geop2p.faults import around
from geop2p.raster.georeference import Georeference
from geop2p.raster.mapformat import BLOCK, PICTURE_DRIVERS, MapFormat, MapSpec
from geop2p.raster.opening import CACHE_BYTES
from geop2p.raster.overviews import build_overviews, check_overviews, overview_factors
from geop2p.raster.silence import georeference_not_missed
from geop2p.raster.verifying import DamagedMapError, Made, Mask, Pixels, Rows, verify_map
from geop2p.seal import BLANK as SEAL_BLANK
from geop2p.seal import TAG as SEAL_TAG
from geop2p.seal import seal
from geop2p.writing import disk_full, remove_company, replacing

logger = logging.getLogger(__name__)

CHECKSUM_TAG = "GEOP2P_PIXELS_SHA256"
"""Tag of a map whose codec is lossless: see `geop2p.checksum`."""
LOSSY_TAG = "GEOP2P_LOSSY"
"""Tag of the others."""
FORMAT_TAG = "GEOP2P_FORMAT"
"""Tag: GDAL driver that wrote the file."""


PROOF_TAGS = (CHECKSUM_TAG, LOSSY_TAG, FORMAT_TAG, SEAL_TAG)
"""Tags that say something of the file, not of how it was made."""


def check_creation_options(target: Path, map_format: MapFormat) -> None:
    """Try the format's creation options on a map of one pixel, before any work is done.

    Raises
    ------
    OptionError
        When GDAL does not know one of them, or a value.
    """
    spec = MapSpec(height=1, width=1, count=1, dtype="uint8")
    with _settings(), MemoryFile() as plain, MemoryFile() as copied:
        with plain.open(**_profile(spec, has_alpha=False)) as dataset:
            dataset.write(np.zeros((1, 1, 1), np.uint8))
        with _option_errors(target), _creation_options_checked(target):
            rasterio.shutil.copy(
                plain.name, copied.name, driver=map_format.driver, **map_format.options
            )


def write_map(target: Path, spec: MapSpec, rows: Rows, *, map_format: MapFormat) -> None:
    """Write a map; ``target`` has its old content, or the whole of the new, checked one.

    Raises what `staged_map` raises.
    """
    with staged_map(target, spec, rows, map_format=map_format):
        pass


@contextmanager
def staged_map(target: Path, spec: MapSpec, rows: Rows, *, map_format: MapFormat) -> Iterator[None]:
    """Write a map beside ``target`` and check it; it takes its name when the context ends well.

    Raises
    ------
    DiskFullError
        When the disk does not take it, or what was written does not read back.
    VerificationError
        When the format keeps something of it otherwise than it was meant.
    OptionError
        When GDAL does not know a creation option.
    """
    if map_format.driver in PICTURE_DRIVERS:
        _check_picture(target, spec, map_format)
    needed = writing_bytes(spec)
    with replacing(target, needed=needed) as temporary:
        _write_checked(target, spec, rows, temporary=temporary, map_format=map_format)
        yield


def _write_checked(
    target: Path, spec: MapSpec, rows: Rows, *, temporary: Path, map_format: MapFormat
) -> None:
    with _settings(), _output_errors(target, needed=writing_bytes(spec)):
        try:
            plain = temporary.with_suffix(".plain.tif")
            made = _made_plain(plain, spec, rows, map_format=map_format)
            with around("write map"), _creation_options_checked(target):
                rasterio.shutil.copy(
                    str(plain), str(temporary), driver=map_format.driver, **map_format.options
                )
            if map_format.driver not in PICTURE_DRIVERS:
                with around("seal"):
                    seal(temporary)
            verify_map(temporary, spec, rows, made=made, map_format=map_format)
        finally:
            remove_company(temporary)


def read_tags(path: Path) -> dict[str, str]:
    """Return the tags of a map; none for what is no raster."""
    try:
        with _settings(), rasterio.open(path) as dataset:
            return dict(dataset.tags())
    except RasterioError:
        return {}


def writing_bytes(spec: MapSpec) -> int:
    """Return the room on the disk that writing takes: an uncompressed raster, and the map.

    Both have overviews, a third of the pixels. The map is taken to be no larger than its pixels
    without compression.
    """
    rows, cols = (-(-length // BLOCK) * BLOCK for length in (spec.height, spec.width))
    plain = rows * cols * (spec.count * np.dtype(spec.dtype).itemsize + spec.is_masked)
    return plain + plain * 4 // 3 + 2**16


def _made_plain(path: Path, spec: MapSpec, rows: Rows, *, map_format: MapFormat) -> Made:
    """Make an uncompressed GeoTIFF of the map and its overviews; return by what to judge the map.

    Raises
    ------
    DamagedMapError
        When an overview is not what the pixels below it show.
    """
    made = _write_plain(path, spec, rows, map_format=map_format)
    block = map_format.overview_block()
    if block is None:
        return Made(rows=made)
    factors = overview_factors(spec.height, spec.width, block=block)
    if factors:
        with around("write overviews"):
            build_overviews(path, factors, block=block)
    try:
        return Made(rows=made, overviews=check_overviews(path, resampling="AVERAGE"))
    except VerificationError as exc:
        raise DamagedMapError(str(exc)) from exc


def _write_plain(
    path: Path, spec: MapSpec, rows: Rows, *, map_format: MapFormat
) -> list[tuple[int, str]]:
    """Write the map as an uncompressed GeoTIFF, with the checksum of its pixels among the tags.

    Returns
    -------
    list of (int, str)
        See `Made`.
    """
    mask_kind = map_format.mask_kind(spec)
    profile = _profile(spec, has_alpha=mask_kind == "alpha")
    made, start = [], 0
    with rasterio.open(path, "w", **profile) as dataset:
        _describe(dataset, spec, has_alpha=mask_kind == "alpha")
        for pixels, valid, digest in ahead(_summed(rows)):
            window = Window(0, start, spec.width, valid.shape[0])
            with around("write blocks"):
                _write_rows(dataset, pixels, valid, window=window, mask_kind=mask_kind)
            start += valid.shape[0]
            made.append((start, digest))
        proof = {LOSSY_TAG: "YES"} if map_format.is_lossy else {CHECKSUM_TAG: made[-1][1]}
        dataset.update_tags(**proof, **{FORMAT_TAG: map_format.driver, SEAL_TAG: SEAL_BLANK})
    return made


def _summed(rows: Rows) -> Iterator[tuple[Pixels, Mask, str]]:
    """Yield rows with the `PixelChecksum` of all up to their last."""
    checksum = PixelChecksum()
    for pixels, valid in rows():
        checksum.add(pixels, valid)
        yield pixels, valid, checksum.hexdigest()


def _write_rows(
    dataset: Any,
    pixels: Pixels,
    valid: Mask,
    *,
    window: Window,
    mask_kind: str,
) -> None:
    dataset.write(pixels, list(range(1, len(pixels) + 1)), window=window)
    if mask_kind == "band":
        dataset.write_mask(valid, window=window)
    elif mask_kind == "alpha":
        opaque = np.iinfo(pixels.dtype).max
        dataset.write((valid * opaque).astype(pixels.dtype), dataset.count, window=window)


def _profile(spec: MapSpec, *, has_alpha: bool) -> dict[str, Any]:
    return {
        "driver": "GTiff",
        "height": spec.height,
        "width": spec.width,
        "count": spec.count + has_alpha,
        "dtype": spec.dtype,
        **Georeference.of(spec).profile(),
        "nodata": spec.nodata,
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "interleave": "pixel",
        "photometric": _photometric(spec),
        "BIGTIFF": "IF_SAFER",
    }


def _photometric(spec: MapSpec) -> str:
    if spec.colours:
        return "PALETTE"
    return "RGB" if spec.count == 3 and spec.dtype in ("uint8", "uint16") else "MINISBLACK"


def _describe(dataset: Any, spec: MapSpec, *, has_alpha: bool) -> None:
    """Put everything but pixels into the file: colours, ground control, tags."""
    if spec.colours:
        dataset.write_colormap(1, dict(spec.colours))
        colours = [ColorInterp.palette]
    elif spec.count == 3 and spec.dtype in ("uint8", "uint16"):
        colours = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
    else:
        colours = [ColorInterp.gray] + [ColorInterp.undefined] * (spec.count - 1)
    dataset.colorinterp = colours + [ColorInterp.alpha] * has_alpha
    Georeference.of(spec).describe(dataset)
    for band, name in enumerate(spec.band_names, start=1):
        dataset.set_band_description(band, name)
    dataset.update_tags(**spec.tags)


@contextmanager
def _settings() -> Iterator[None]:
    with (
        rasterio.Env(
            GDAL_CACHEMAX=CACHE_BYTES,
            GDAL_NUM_THREADS="ALL_CPUS",
            GDAL_PAM_ENABLED=False,
            GDAL_TIFF_INTERNAL_MASK=True,
        ),
        georeference_not_missed(),
    ):
        yield


@contextmanager
def _output_errors(path: Path, *, needed: int | None = None) -> Iterator[None]:
    """Turn what GDAL raises into a `DiskFullError`: options were tried before, the disk is left."""
    try:
        yield
    except DamagedMapError as exc:
        raise disk_full(path, str(exc), needed=needed) from exc
    except (RasterioError, rasterio._err.CPLE_BaseError) as exc:  # noqa: SLF001  it escapes from COG
        raise disk_full(path, f"cannot be written: {exc}", needed=needed) from exc


@contextmanager
def _option_errors(target: Path) -> Iterator[None]:
    """Turn what GDAL raises, while a map of one pixel is made in memory, into an `OptionError`."""
    try:
        yield
    except (RasterioError, rasterio._err.CPLE_BaseError) as exc:  # noqa: SLF001
        raise OptionError(
            f"{target}: GDAL makes no such map: {exc} (check format and --co)"
        ) from exc


@contextmanager
def _creation_options_checked(target: Path) -> Iterator[None]:
    """Refuse creation options that GDAL does not know; it only logs a warning and goes on."""
    listener = _OptionListener()
    gdal_log = logging.getLogger("rasterio")
    gdal_log.addHandler(listener)
    try:
        yield
    finally:
        gdal_log.removeHandler(listener)
    if listener.complaints:
        raise OptionError(f"{target}: {listener.complaints[0]} (see GDAL's page on the driver)")


class _OptionListener(logging.Handler):
    """Collects what GDAL says of creation options."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.complaints: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "creation option" in record.getMessage():
            self.complaints.append(record.getMessage())


def _check_picture(target: Path, spec: MapSpec, map_format: MapFormat) -> None:
    """Refuse what a PNG or JPEG cannot hold; tell what is lost."""
    allowed = ("uint8", "uint16") if map_format.driver == "PNG" else ("uint8",)
    if spec.dtype not in allowed or spec.count not in (1, 3):
        raise OptionError(
            f"{target}: a {map_format.driver} cannot hold {spec.count} bands of {spec.dtype} "
            "(write a .tif)"
        )
    if Georeference.of(spec).is_known:
        logger.warning("%s: a picture keeps no georeference (write a .tif to keep it)", target)
    if spec.is_masked and map_format.driver == "JPEG":
        logger.warning("%s: a JPEG keeps no mask, what is masked is black (write a .png)", target)
