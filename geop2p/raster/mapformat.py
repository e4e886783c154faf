"""What kind of file a map is: everything about it but its pixels, and the ways to write one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from affine import Affine

from geop2p.errors import OptionError

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
OVERVIEW_OPTIONS = frozenset({"OVERVIEWS", "OVERVIEW_COUNT"})
"""Creation options that say which overviews GDAL makes."""
PICTURE_DRIVERS = ("PNG", "JPEG")
FORMATS: dict[str, Mapping[str, str]] = {
    "COG": {
        "COMPRESS": "DEFLATE",
        "LEVEL": "1",
        "PREDICTOR": "YES",
        "BLOCKSIZE": str(BLOCK),
        "OVERVIEW_RESAMPLING": "AVERAGE",
        "NUM_THREADS": "ALL_CPUS",
        "BIGTIFF": "IF_SAFER",
    },
    "GTiff": {
        "COMPRESS": "DEFLATE",
        "ZLEVEL": "1",
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
"""GDAL driver to its creation options; ``--co`` comes on top.

The level is the quickest: map and photo grow by 7 %, encoding takes a quarter of the time.
"""
LEVELS = ("LEVEL", "ZLEVEL")
"""Options that belong to the codec that is named beside them in `FORMATS`."""
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
    colours : dict
        Colour table of the only band: value to (red, green, blue); empty without one.
    band_names : tuple of str
        Descriptions of the bands; empty: they have none.
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
    colours: Mapping[int, tuple[int, int, int]] = field(default_factory=dict)
    band_names: tuple[str, ...] = ()


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
    def overview_resampling(self) -> str | None:
        """GDAL's name of how overviews are averaged; None where the codec changes them besides."""
        return None if self.is_lossy else self.options.get("OVERVIEW_RESAMPLING", "").upper()

    def overview_block(self) -> int | None:
        """Return the side of the blocks of overviews that geop2p makes; None: GDAL makes them."""
        given = self.options
        block = given.get("BLOCKSIZE", str(BLOCK))
        is_plain = self.overview_resampling == "AVERAGE" and block.isdecimal()
        is_ours = self.driver == "COG" and not OVERVIEW_OPTIONS & given.keys()
        return int(block) if is_ours and is_plain else None

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
    options = {**FORMATS[driver], **given}
    if "COMPRESS" in given:  # another codec has other levels
        options = {key: value for key, value in options.items() if key not in LEVELS} | given
    return MapFormat(driver=driver, options=options)
