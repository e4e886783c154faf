"""The map: the raster that comes out, written beside its target, read back, then renamed.

GDAL does not always raise when a disk is full, and a killed writer leaves a file that opens and
reads as zeros. So one writer puts whole blocks in order into a plain raster, GDAL turns that into
the wanted format, and the result counts only once every block of it was read back and compared.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile
from rasterio.windows import Window

from geop2p.errors import OptionError, OutputError
from geop2p.raster.scene import CACHE_BYTES
from geop2p.writing import replacing

logger = logging.getLogger(__name__)

Pixels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Rows = Callable[[], Iterator[tuple[Pixels, Mask]]]
"""Starts afresh at each call: (K, h, W) pixels and (h, W) valid, from the first row to the last."""

BLOCK = 512
"""Pixels; side of the blocks, and how many rows are written and compared at a time."""
LOSSY_CODECS = ("JPEG", "WEBP", "LERC", "LERC_DEFLATE", "LERC_ZSTD", "JXL")
LOSSY_TOLERANCE = 16.0
"""Root mean square difference in grey levels of 255 that a lossy codec may make in 512 rows."""
REFUSED_OPTIONS = (
    "TILING_SCHEME",
    "RES",
    "EXTENT",
    "TARGET_SRS",
    "NBITS",
    "ADD_ALPHA",
    "WARP_RESAMPLING",
)
"""Creation options that change the grid, the type or the mask: then it is no map of this scene."""
PICTURE_DRIVERS = ("PNG", "JPEG")
FORMATS: dict[str, Mapping[str, str]] = {
    "COG": {
        "COMPRESS": "DEFLATE",
        "PREDICTOR": "YES",
        "BLOCKSIZE": str(BLOCK),
        "OVERVIEW_RESAMPLING": "AVERAGE",
        "NUM_THREADS": "ALL_CPUS",
        "BIGTIFF": "IF_SAFER",
    },
    "GTiff": {
        "COMPRESS": "DEFLATE",
        "PREDICTOR": "2",
        "TILED": "YES",
        "BLOCKXSIZE": str(BLOCK),
        "BLOCKYSIZE": str(BLOCK),
        "NUM_THREADS": "ALL_CPUS",
        "BIGTIFF": "IF_SAFER",
    },
    "PNG": {},
    "JPEG": {"QUALITY": "95"},
}
"""GDAL driver to its creation options; ``--co`` comes on top."""
SUFFIXES = {".tif": "COG", ".tiff": "COG", ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MapSpec:
    """Everything about a map but its pixels.

    Parameters
    ----------
    height, width : int, pixels
        Size, the scene's own.
    count : int
        Bands.
    dtype : str
        numpy name of the type.
    crs, transform, gcps, rpcs, is_point
        The scene's georeference, see `geop2p.raster.scene.SceneSpec`.
    nodata : float or None
        Value of invalid pixels; None: they are masked by a mask band.
    is_masked : bool
        Some pixels are invalid.
    tags : dict
        Provenance, as text.
    """

    height: int
    width: int
    count: int
    dtype: str
    crs: Any = None
    transform: Affine = field(default_factory=Affine.identity)
    gcps: tuple[list[Any], Any] = ((), None)  # type: ignore[assignment]
    rpcs: Any = None
    is_point: bool = False
    nodata: float | None = None
    is_masked: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MapFormat:
    """A GDAL driver and the creation options it is given.

    Parameters
    ----------
    driver : str
        A key of `FORMATS`.
    options : dict
        Creation options, names in capitals.
    """

    driver: str
    options: Mapping[str, str]

    def mask_kind(self, spec: MapSpec) -> str:
        """Return how invalid pixels are marked: ``none``, ``nodata``, ``band`` or ``alpha``."""
        if not spec.is_masked:
            return "none"
        if self.driver in PICTURE_DRIVERS:
            return "alpha" if self.driver == "PNG" else "none"
        return "band" if spec.nodata is None else "nodata"

    @property
    def is_lossy(self) -> bool:
        """Whether pixels may change on the way through the codec."""
        options = self.options
        is_lossless_webp = options.get("WEBP_LOSSLESS", "").upper() in ("YES", "TRUE", "ON")
        return self.driver == "JPEG" or (
            options.get("COMPRESS", "").upper() in LOSSY_CODECS and not is_lossless_webp
        )


def choose_format(target: Path, *, driver: str | None, options: Mapping[str, str]) -> MapFormat:
    """Return the format of a map by its name's suffix, or by the driver that was asked for.

    Raises
    ------
    OptionError
        For a suffix that no driver writes, or a creation option that would change the grid.
    """
    by_suffix = SUFFIXES.get(target.suffix.lower())
    driver = driver or by_suffix
    if driver != by_suffix and {driver, by_suffix} != {"COG", "GTiff"}:
        raise OptionError(
            f"{target}: the suffix {target.suffix or '(none)'} is not that of a {driver} "
            "(rename --out, or leave --format away)"
        )
    if driver is None:
        raise OptionError(
            f"{target}: {target.suffix or 'no suffix'} is no format of a map "
            f"(expected one of {', '.join(SUFFIXES)}, or --format)"
        )
    given = {key.upper(): value for key, value in options.items()}
    for key in given:
        if key in REFUSED_OPTIONS:
            raise OptionError(
                f"creation option {key} would change the map's grid, type or mask (leave it out)"
            )
    return MapFormat(driver=driver, options={**FORMATS[driver], **given})


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
        with _output_errors(target), _creation_options_checked(target):
            rasterio.shutil.copy(
                plain.name, copied.name, driver=map_format.driver, **map_format.options
            )


def write_map(target: Path, spec: MapSpec, rows: Rows, *, map_format: MapFormat) -> None:
    """Write a map; ``target`` has its old content, or the whole of the new, checked one.

    Raises
    ------
    OutputError
        When it cannot be written, or does not read back as it was meant.
    """
    if map_format.driver in PICTURE_DRIVERS:
        _check_picture(target, spec, map_format)
    mask_kind = map_format.mask_kind(spec)
    with replacing(target) as temporary, _settings():
        plain_path = temporary.with_suffix(".plain.tif")
        with (
            _plain_raster(plain_path, spec, rows, mask_kind=mask_kind) as plain,
            _output_errors(target),
            _creation_options_checked(target),
        ):
            rasterio.shutil.copy(
                str(plain), str(temporary), driver=map_format.driver, **map_format.options
            )
            verify_map(temporary, spec, rows, map_format=map_format)


def verify_map(path: Path, spec: MapSpec, rows: Rows, *, map_format: MapFormat) -> None:
    """Read a map back and compare header, pixels and mask with what they should be.

    Raises
    ------
    OutputError
        At the first difference.
    """
    with rasterio.open(path) as dataset:
        _compare_header(path, dataset, spec, map_format=map_format)
        start = 0
        for pixels, valid in rows():
            window = Window(0, start, spec.width, valid.shape[0])
            _compare_rows(path, dataset, (pixels, valid), window=window, map_format=map_format)
            start += valid.shape[0]
    if start != spec.height:
        raise OutputError(f"{path}: {start} rows were made for a map of {spec.height}")


@contextmanager
def _plain_raster(path: Path, spec: MapSpec, rows: Rows, *, mask_kind: str) -> Iterator[Path]:
    """Yield an uncompressed GeoTIFF of the map beside the target; it is removed afterwards."""
    try:
        profile = _profile(spec, has_alpha=mask_kind == "alpha")
        with _output_errors(path), rasterio.open(path, "w", **profile) as dataset:
            _describe(dataset, spec, has_alpha=mask_kind == "alpha")
            start = 0
            for pixels, valid in rows():
                window = Window(0, start, spec.width, valid.shape[0])
                _write_rows(dataset, pixels, valid, window=window, mask_kind=mask_kind)
                start += valid.shape[0]
        yield path
    finally:
        with suppress(FileNotFoundError):
            path.unlink()


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
    is_rgb = spec.count == 3 and spec.dtype in ("uint8", "uint16")
    return {
        "driver": "GTiff",
        "height": spec.height,
        "width": spec.width,
        "count": spec.count + has_alpha,
        "dtype": spec.dtype,
        "crs": spec.crs if not spec.gcps[0] else None,
        "transform": None if spec.gcps[0] else spec.transform,
        "nodata": spec.nodata,
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "interleave": "pixel",
        "photometric": "RGB" if is_rgb else "MINISBLACK",
        "BIGTIFF": "IF_SAFER",
    }


def _describe(dataset: Any, spec: MapSpec, *, has_alpha: bool) -> None:
    """Put everything but pixels into the file: colours, ground control, tags."""
    if spec.count == 3 and spec.dtype in ("uint8", "uint16"):
        colours = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
    else:
        colours = [ColorInterp.gray] + [ColorInterp.undefined] * (spec.count - 1)
    dataset.colorinterp = colours + [ColorInterp.alpha] * has_alpha
    if spec.gcps[0]:
        dataset.gcps = spec.gcps
    if spec.rpcs:
        dataset.rpcs = spec.rpcs
    point = {"AREA_OR_POINT": "Point"} if spec.is_point else {}
    dataset.update_tags(**spec.tags, **point)


@contextmanager
def _settings() -> Iterator[None]:
    with (
        rasterio.Env(
            GDAL_CACHEMAX=CACHE_BYTES, GDAL_PAM_ENABLED=False, GDAL_TIFF_INTERNAL_MASK=True
        ),
        warnings.catch_warnings(),
    ):
        # a scene without a georeference is welcome: its map has none either
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


@contextmanager
def _output_errors(path: Path) -> Iterator[None]:
    """Turn what GDAL raises while writing into an `OutputError`."""
    try:
        yield
    except OutputError:
        raise
    except (RasterioError, rasterio._err.CPLE_BaseError) as exc:  # noqa: SLF001  it escapes from COG
        raise OutputError(
            f"{path}: cannot be written: {exc} (check options and free space)"
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
    located = (spec.crs, spec.gcps[0], spec.rpcs, spec.transform != Affine.identity())
    if any(located):
        logger.warning("%s: a picture keeps no georeference (write a .tif to keep it)", target)
    if spec.is_masked and map_format.driver == "JPEG":
        logger.warning("%s: a JPEG keeps no mask, what is masked is black (write a .png)", target)


def _compare_header(
    path: Path,
    dataset: Any,
    spec: MapSpec,
    *,
    map_format: MapFormat,
) -> None:
    found = {"height": dataset.height, "width": dataset.width, "dtype": dataset.dtypes[0]}
    expected = {"height": spec.height, "width": spec.width, "dtype": spec.dtype}
    if map_format.driver not in PICTURE_DRIVERS:
        found |= {
            "bands": dataset.count,
            "nodata": repr(dataset.nodata),
            "crs": dataset.gcps[1] if spec.gcps[0] else dataset.crs,
            "gcps": _points(dataset.gcps[0]),
            "transform": Affine.identity() if spec.gcps[0] else dataset.transform,
            "rpcs": dataset.rpcs,
        }
        expected |= {
            "bands": spec.count,
            "nodata": repr(None if spec.nodata is None else float(spec.nodata)),
            "crs": spec.gcps[1] if spec.gcps[0] else spec.crs,
            "gcps": _points(spec.gcps[0]),
            "transform": Affine.identity() if spec.gcps[0] else spec.transform,
            "rpcs": spec.rpcs,
        }
    for key, value in expected.items():
        if found[key] != value:
            raise OutputError(f"{path}: reads back with {key} {found[key]} instead of {value}")


def _points(gcps: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return ground control points as values that can be compared."""
    return [(point.row, point.col, point.x, point.y, point.z or 0.0) for point in gcps]


def _compare_rows(
    path: Path,
    dataset: Any,
    rows: tuple[Pixels, Mask],
    *,
    window: Window,
    map_format: MapFormat,
) -> None:
    pixels, valid = rows
    bands = list(range(1, pixels.shape[0] + 1))
    where = f"{path}: rows {window.row_off} to {window.row_off + window.height - 1}"
    with _output_errors(path):
        found = dataset.read(bands, window=window)
        found_valid = dataset.dataset_mask(window=window) != 0
    if map_format.driver != "JPEG" and not np.array_equal(found_valid, valid):
        raise OutputError(f"{where} read back with another mask (is the disk full or failing?)")
    if map_format.is_lossy:
        difference = np.where(valid, found.astype(np.float64) - pixels, 0)
        if float(np.sqrt(np.mean(difference**2))) > _lossy_tolerance(pixels.dtype):
            raise OutputError(
                f"{where} changed more than {LOSSY_TOLERANCE} grey levels (lossy codec)"
            )
    elif not np.array_equal(found, pixels, equal_nan=pixels.dtype.kind == "f"):
        raise OutputError(f"{where} do not read back as written (is the disk full or failing?)")


def _lossy_tolerance(dtype: np.dtype[Any]) -> float:
    limit = np.iinfo(dtype).max if dtype.kind in "iu" else 255
    return LOSSY_TOLERANCE / 255 * float(limit)
