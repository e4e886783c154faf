"""Which bands of a file are read, and how they become what a generator sees.

By default bands go by what the file says they show. A palette, cyan-magenta-yellow-black and
luma-chroma are expanded to red, green, blue; bands that were asked for are taken as they are.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from rasterio.enums import ColorInterp

from geop2p.errors import OptionError, SceneError
from geop2p.raster.opening import SceneSource

Pixels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

DTYPES = (
    "uint8",
    "int8",
    "uint16",
    "int16",
    "uint32",
    "int32",
    "uint64",
    "int64",
    "float32",
    "float64",
)
PRIMARIES = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
INKS = (ColorInterp.cyan, ColorInterp.magenta, ColorInterp.yellow, ColorInterp.black)
LUMA_CHROMA = (ColorInterp.Y, ColorInterp.Cb, ColorInterp.Cr)
HUES = (ColorInterp.hue, ColorInterp.saturation, ColorInterp.lightness)


class Expansion(Protocol):
    """A way from the values of a file to red, green and blue."""

    @property
    def dtype(self) -> str:
        """Return the type of the result."""

    def expand(self, pixels: Pixels) -> Pixels:
        """Return (3, h, w) red, green, blue of the (C, h, w) that were read."""

    def opaque(self, pixels: Pixels) -> Mask | None:
        """Return where the (C, h, w) that were read are opaque; None where all are."""


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours of indexes: (entries, 4) uint8 red, green, blue, alpha, an entry for every index."""

    table: npt.NDArray[np.uint8]
    dtype: str = "uint8"

    def expand(self, pixels: Pixels) -> Pixels:
        """Return the colours of the indexes."""
        return np.stack([self.table[:, band][pixels[0]] for band in range(3)])

    def opaque(self, pixels: Pixels) -> Mask | None:
        """Return where the colour of the index is not wholly transparent."""
        is_opaque = self.table[:, 3] != 0
        return None if is_opaque.all() else np.asarray(is_opaque[pixels[0]])


@dataclass(frozen=True, slots=True)
class Inks:
    """Cyan, magenta, yellow, black: full ink is the type's highest value."""

    dtype: str

    def expand(self, pixels: Pixels) -> Pixels:
        """Return what white paper shows through the inks, without any colour profile."""
        full = int(np.iinfo(self.dtype).max)
        light = full - pixels.astype(np.uint32)
        return np.asarray((light[:3] * light[3] + full // 2) // full).astype(self.dtype)

    def opaque(self, pixels: Pixels) -> Mask | None:  # noqa: ARG002  there is no paper without ink
        """Return None: ink hides nothing."""
        return None


@dataclass(frozen=True, slots=True)
class LumaChroma:
    """Luma and two colour differences of 8 bits.

    References
    ----------
    ITU-T T.871 (JFIF), section 7.
    """

    dtype: str = "uint8"

    def expand(self, pixels: Pixels) -> Pixels:
        """Return red, green, blue, rounded and clipped."""
        y, cb, cr = pixels.astype(np.float32) - np.array([[[0]], [[128]], [[128]]], np.float32)
        primaries = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb])
        return np.asarray(np.clip(np.rint(primaries), 0, 255), np.uint8)

    def opaque(self, pixels: Pixels) -> Mask | None:  # noqa: ARG002  the three are always opaque
        """Return None."""
        return None


def select_bands(dataset: Any, source: SceneSource) -> tuple[int, ...]:
    """Return the bands asked for, or all but alpha with red, green, blue in that order.

    Raises
    ------
    OptionError
        When a band is asked for that the file does not have.
    SceneError
        When there is no band but alpha.
    """
    if source.bands is None:
        bands = _by_colour(list(dataset.colorinterp))
        if not bands:
            raise SceneError(f"{source.path}: no band but alpha (give a raster with values)")
        return bands
    for band in source.bands:
        if not 1 <= band <= dataset.count:
            raise OptionError(
                f"{source.path}: band {band} was asked for, the file has {dataset.count} "
                "(bands count from 1)"
            )
    return source.bands


def _by_colour(found: list[ColorInterp]) -> tuple[int, ...]:
    first: list[int] = []
    for colours in (PRIMARIES, INKS, LUMA_CHROMA):
        if not first and all(colour in found for colour in colours):
            first = [found.index(colour) + 1 for colour in colours]
    rest = [i + 1 for i, c in enumerate(found) if c != ColorInterp.alpha and i + 1 not in first]
    return tuple(first + rest)


def find_expansion(dataset: Any, source: SceneSource, bands: tuple[int, ...]) -> Expansion | None:
    """Return how the bands become red, green, blue; None where they are taken as they are.

    Raises
    ------
    SceneError
        When they show hue, saturation and lightness.
    """
    if not source.is_expanded:
        return None
    colours = tuple(dataset.colorinterp[band - 1] for band in bands)
    dtype = str(dataset.dtypes[bands[0] - 1])
    if len(bands) == 1 and dtype in ("uint8", "uint16"):
        return _palette(dataset, bands[0], dtype)
    if colours == INKS and dtype in ("uint8", "uint16"):
        return Inks(dtype)
    if colours == LUMA_CHROMA and dtype == "uint8":
        return LumaChroma()
    if colours == HUES:
        raise SceneError(
            f"{source.path}: bands of hue, saturation, lightness "
            "(convert them to red, green, blue, or take them as they are with --bidx 1,2,3)"
        )
    return None


def _palette(dataset: Any, band: int, dtype: str) -> Palette | None:
    if dataset.colorinterp[band - 1] != ColorInterp.palette:
        return None
    try:
        entries = dataset.colormap(band)
    except ValueError:
        return None  # a palette without entries
    if _is_grey_ramp(entries):
        return None  # as GDAL makes for pictures of one bit: the values say the same
    table = np.zeros((np.iinfo(dtype).max + 1, 4), np.uint8)
    table[:, 3] = 255  # an index without an entry is black, as gdal_translate -expand makes it
    for index, colour in entries.items():
        if index < len(table):
            table[index] = np.clip(colour, 0, 255)
    return Palette(table)


def _is_grey_ramp(entries: dict[int, tuple[int, ...]]) -> bool:
    """Whether a palette goes from black to white evenly, in as many steps as some bits have."""
    last = len(entries) - 1
    steps = {i: (round(255 * i / last),) * 3 for i in range(last + 1)} if last in (1, 3, 15) else {}
    return bool(steps) and {i: colour[:3] for i, colour in entries.items()} == steps


def common_dtype(dataset: Any, path: str, bands: tuple[int, ...]) -> str:
    """Return the one type of the bands.

    Raises
    ------
    SceneError
        When there are several, or it is none that a generator can be fed with.
    """
    found = {str(dataset.dtypes[band - 1]) for band in bands}
    if len(found) > 1:
        raise SceneError(
            f"{path}: bands of different types ({', '.join(sorted(found))}) "
            "(choose bands of one type with --bidx)"
        )
    dtype = found.pop()
    if dtype.startswith("complex"):
        raise SceneError(
            f"{path}: values of type {dtype} (choose real bands with --bidx, or write the "
            "amplitude to a raster of its own first)"
        )
    if dtype not in DTYPES:
        raise SceneError(f"{path}: values of type {dtype} (expected one of {', '.join(DTYPES)})")
    return dtype


def true_bits(dataset: Any, bands: tuple[int, ...]) -> int | None:
    """Return how many bits the values really have, e.g. 12 of 16; None: as many as their type."""
    dtype = np.dtype(dataset.dtypes[bands[0] - 1])
    if dtype.kind != "u":
        return None
    texts = [dataset.tags(band, ns="IMAGE_STRUCTURE").get("NBITS", "") for band in bands]
    if not all(text.isdecimal() for text in texts):
        return None
    bits = max(map(int, texts))
    return bits if 0 < bits < 8 * dtype.itemsize else None
