"""Native values to [-1, 1] and back, by one linear stretch a scene, never one a tile."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from geop2p.errors import OptionError

Pixels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Terms = npt.NDArray[Any]

HUGE, TINY = 2.0**1000, 2.0**-900
"""Beyond these a difference of two float64, or its inverse, may be infinite."""
AUTO_PERCENTILES = (2.0, 98.0)
"""What ``auto`` stretches between; the cumulative cut that QGIS shows a raster with by default."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A range of native values for each band: ``low`` becomes -1, ``high`` becomes 1.

    Parameters
    ----------
    low, high : tuple of float
        Native values, one a band, ``low < high``.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse an empty range.

        Raises
        ------
        OptionError
            When ``low < high`` does not hold for a band, or one of them is no finite number.
        """
        for low, high in zip(self.low, self.high, strict=True):
            if not low < high:
                raise OptionError(f"stretch {low:g},{high:g} is empty (MIN must be below MAX)")
            if not (math.isfinite(low) and math.isfinite(high)):
                raise OptionError(f"stretch {low:g},{high:g} has no end (expected finite numbers)")

    @classmethod
    def of_dtype(cls, dtype: str, bands: int) -> "Stretch":
        """Return the whole range of an integer type, the same for every band."""
        limits = np.iinfo(dtype)
        return cls((float(limits.min),) * bands, (float(limits.max),) * bands)

    @classmethod
    def of_bits(cls, bits: int, bands: int) -> "Stretch":
        """Return the whole range of unsigned numbers of ``bits`` bits, e.g. 0 to 4095 of 12."""
        return cls((0.0,) * bands, (2.0**bits - 1,) * bands)

    def to_unit(self, pixels: Pixels) -> Floats:
        """Return (C, ...) native values as float32 in [-1, 1]; values outside are clipped."""
        if pixels.dtype.kind in "iu" and pixels.dtype.itemsize <= 2:
            first, table = _unit_table(self, pixels.dtype.name)
            return np.stack(
                [table[i][pixels[i].astype(np.intp) - first] for i in range(len(table))]
            )
        return self._scaled(pixels)

    def _scaled(self, pixels: Pixels) -> Floats:
        low, high, scale = (_column(terms, pixels.ndim) for terms in self.unit_terms())
        inside = np.clip(pixels, low, high)  # first, so that no difference can overflow
        low, high, inside = low * scale, high * scale, inside * scale
        values = (inside - low) * (2.0 / (high - low)) - 1.0
        return np.asarray(np.clip(values, -1.0, 1.0), np.float32)

    def unit_terms(self) -> tuple[Terms, Terms, Terms]:
        """Return low, high, and what both are multiplied by first: (C,) float64 each."""
        low, high = np.array(self.low, np.float64), np.array(self.high, np.float64)
        return low, high, _scale_of(low, high)

    def from_unit(self, unit: Floats, dtype: str) -> Pixels:
        """Return (C, ...) float32 in [-1, 1] as native values of ``dtype``.

        Integers are rounded to the nearest, halves to even; the result is clipped to the stretch
        and to what the type can hold.
        """
        terms = self.map_terms(dtype)
        low, half, scale = (
            _column(each, unit.ndim) for each in (terms.low, terms.half, terms.scale)
        )
        values = ((np.clip(unit, -1.0, 1.0) + 1.0) * half + low) / scale
        if np.issubdtype(dtype, np.integer):
            values = np.rint(values)
        if terms.limits is not None:
            values = np.clip(values, *terms.limits)
        return np.asarray(values.astype(dtype))

    def map_terms(self, dtype: str) -> "MapTerms":
        """Return the numbers that [-1, 1] becomes values of ``dtype`` by."""
        kind = np.dtype(dtype)
        # float32 is exact enough for 16 bits
        is_small = kind.itemsize <= 2 and self._is_within(np.dtype(np.float32))
        precision = np.float32 if is_small else np.float64
        low, high = np.array(self.low, precision), np.array(self.high, precision)
        scale = np.ones_like(low) if is_small else _scale_of(low, high)
        low, high = low * scale, high * scale
        limits = None if self._is_within(kind) else castable_limits(kind)
        return MapTerms(low=low, half=(high - low) / precision(2), scale=scale, limits=limits)

    def _is_within(self, dtype: np.dtype[Any]) -> bool:
        """Return whether the type can hold every value of the stretch."""
        lowest, highest = castable_limits(dtype)
        return lowest <= min(self.low) and max(self.high) <= highest

    def count_clipped(self, pixels: Pixels, valid: Mask) -> int:
        """Return how many valid values, over all bands, lie outside the stretch."""
        if pixels.dtype.kind in "iu" and self.covers(pixels.dtype):
            return 0
        count = 0
        for band, low, high in zip(pixels, self.low, self.high, strict=True):
            first, last = _within(low, high, pixels.dtype)
            count += int(np.count_nonzero(((band < first) | (band > last)) & valid))
        return count

    def covers(self, dtype: np.dtype[Any]) -> bool:
        """Return whether no value of an integer type lies outside the stretch."""
        limits = np.iinfo(dtype)
        return max(self.low) <= limits.min and min(self.high) >= limits.max

    def __str__(self) -> str:
        """Return ``MIN,MAX`` once when the bands agree, else one a band."""
        ranges = [f"{low:.10g},{high:.10g}" for low, high in zip(self.low, self.high, strict=True)]
        return ranges[0] if len(set(ranges)) == 1 else " ".join(ranges)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MapTerms:
    """How [-1, 1] becomes a map's values: ``((unit + 1) * half + low) / scale``, within limits.

    Parameters
    ----------
    low, half, scale : (C,) float32 or float64
        In the precision that is reckoned in.
    limits : (float, float) or None
        What the map's type can hold, where the stretch goes beyond it.
    """

    low: Terms
    half: Terms
    scale: Terms
    limits: tuple[float, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MapValues:
    """How the generator's [-1, 1] becomes the map's values.

    Parameters
    ----------
    dtype : str
        numpy name of the map's type.
    stretch : Stretch
        One range a band; when the map has another number of bands, the first range for all.
    nodata : float or None
        Value of invalid pixels; None: 0, and a mask band tells.
    """

    dtype: str
    stretch: Stretch
    nodata: float | None = None

    def __post_init__(self) -> None:
        """Refuse a nodata value that the type cannot hold.

        Raises
        ------
        OptionError
            In that case.
        """
        if self.nodata is None or value_of_dtype(self.nodata, self.dtype) is not None:
            return
        if np.dtype(self.dtype).kind == "f":
            raise OptionError(f"nodata {self.nodata:g} is no {self.dtype} (it is too large)")
        limits = np.iinfo(self.dtype)
        raise OptionError(
            f"nodata {self.nodata:g} is no {self.dtype} "
            f"(expected a whole number from {limits.min} to {limits.max})"
        )

    def draw(self, unit: Floats, valid: Mask) -> Pixels:
        """Return the map's pixels of (K, H, W) float32 in [-1, 1], rounded.

        Invalid pixels get the nodata value, or 0. A valid pixel that would be the nodata value is
        moved by one grey level (one float), as gdalwarp does, so that the mask stays exact.
        """
        return self.marked(self.of_bands(len(unit)).from_unit(unit, self.dtype), valid)

    def marked(self, pixels: Pixels, valid: Mask) -> Pixels:
        """Return the map's pixels (K, H, W), changed in place as `draw` says of invalid ones."""
        if self.nodata is None:
            pixels[:, ~valid] = 0
            return pixels
        nodata = np.asarray(self.nodata).astype(self.dtype)
        pixels[(pixels == nodata) & valid] = _beside(nodata)
        pixels[:, ~valid] = nodata
        return pixels

    def nodata_and_beside(self) -> tuple[float, float]:
        """Return the nodata value as the type holds it, and what a valid pixel gets instead."""
        nodata = np.asarray(self.nodata).astype(self.dtype)
        return float(nodata), float(_beside(nodata))

    def of_bands(self, bands: int) -> Stretch:
        """Return the stretch of a map of that many bands."""
        if bands == len(self.stretch.low):
            return self.stretch
        return Stretch(self.stretch.low[:1] * bands, self.stretch.high[:1] * bands)


def value_of_dtype(value: float, dtype: str) -> np.generic | None:
    """Return a number as a scalar of ``dtype``; None when no pixel of that type can have it."""
    kind = np.dtype(dtype).type
    if np.dtype(dtype).kind == "f":
        with np.errstate(over="ignore"):
            converted = kind(value)
        return converted if np.isfinite(converted) or not math.isfinite(value) else None
    if not math.isfinite(value) or value != math.floor(value):
        return None
    limits = np.iinfo(dtype)
    return kind(int(value)) if int(limits.min) <= int(value) <= int(limits.max) else None


def castable_limits(dtype: np.dtype[Any]) -> tuple[float, float]:
    """Return the lowest and the highest float64 that can be cast to a type."""
    if dtype.kind == "f":
        return float(np.finfo(dtype).min), float(np.finfo(dtype).max)
    lowest, highest = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    is_exact = int(float(highest)) == highest
    return float(lowest), float(highest) if is_exact else float(np.nextafter(float(highest), 0.0))


def _column(terms: Terms, ndim: int) -> Terms:
    """Return a number for each band, shaped to meet (C, ...) arrays of ``ndim`` dimensions."""
    return terms.reshape(-1, *(1,) * (ndim - 1))


def _within(low: float, high: float, dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """Return the first and the last value of a type from ``low`` to ``high``.

    Comparing in the type itself is several times quicker than in float64. Where the type has no
    value there, the first is the larger one, or nothing is below or above it.
    """
    kind = dtype.type
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            first, last = kind(low), kind(high)
        first = np.nextafter(first, kind(np.inf)) if float(first) < low else first
        last = np.nextafter(last, kind(-np.inf)) if float(last) > high else last
        return first, last
    limits = np.iinfo(dtype)
    return max(math.ceil(low), limits.min), min(math.floor(high), limits.max)


def _scale_of(low: Pixels, high: Pixels) -> Pixels:
    """Return powers of two that keep differences of extreme values, and their inverse, finite."""
    is_huge = np.maximum(np.abs(low), np.abs(high)) > HUGE
    is_tiny = high / 2 - low / 2 < TINY
    return np.where(is_huge, 2.0**-60, np.where(is_tiny, 2.0**200, 1.0))


def _beside(value: Pixels) -> Pixels:
    """Return the next value of the same type: up, or down from the highest."""
    if value.dtype.kind == "f":
        return np.asarray(np.nextafter(value, value.dtype.type(np.inf)))
    is_highest = value == np.iinfo(value.dtype).max
    return np.asarray(value - 1 if is_highest else value + 1).astype(value.dtype)


@lru_cache(maxsize=8)
def _unit_table(stretch: Stretch, dtype: str) -> tuple[int, Floats]:
    """Return the first value of a small integer type, and [-1, 1] for each: (C, values) float32."""
    limits = np.iinfo(dtype)
    values = np.arange(limits.min, int(limits.max) + 1, dtype=np.float64)
    return int(limits.min), stretch._scaled(np.stack([values] * len(stretch.low)))  # noqa: SLF001


@dataclass(frozen=True, slots=True)
class Percentiles:
    """A stretch that is still to be found: between two percentiles of the scene's valid values."""

    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuse what are no percentiles.

        Raises
        ------
        OptionError
            Unless ``0 <= low < high <= 100``.
        """
        if not 0 <= self.low < self.high <= 100:
            raise OptionError(
                f"stretch {self.low:g}-{self.high:g}% (expected LOW-HIGH% within 0 to 100)"
            )

    def of(self, samples: Pixels) -> Stretch:
        """Return the stretch of (C, N) valid samples; a constant band gets a range of 1."""
        if samples.shape[1] == 0:  # all masked: nothing will be translated
            return Stretch((0.0,) * len(samples), (1.0,) * len(samples))
        values = samples.astype(np.float64) if samples.dtype.kind == "f" else samples
        scale = 2.0**-60 if samples.dtype.kind == "f" and np.abs(values).max() > HUGE else None
        values = values if scale is None else values * scale
        lows, highs = np.percentile(values, [self.low, self.high], axis=1) / (scale or 1.0)
        ranges = [_widened(float(low), float(high)) for low, high in zip(lows, highs, strict=True)]
        return Stretch(tuple(low for low, _ in ranges), tuple(high for _, high in ranges))


def _widened(low: float, high: float) -> tuple[float, float]:
    """Return a range with something in it: of a constant band, from the constant up by one.

    Where a number is so large that one more is no other number, by a millionth of it.
    """
    if low < high:
        return low, high
    step = max(1.0, abs(low) * 2.0**-20)
    return (low, low + step) if math.isfinite(low + step) else (low - step, low)


_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"


def parse_stretch(text: str) -> tuple[float, float] | Percentiles:
    """Return what ``auto``, ``MIN,MAX`` or ``LOW-HIGH%`` asks for.

    Raises
    ------
    OptionError
        For any other text.
    """
    if text == "auto":
        return Percentiles(*AUTO_PERCENTILES)
    if match := re.fullmatch(rf"({_NUMBER}),({_NUMBER})", text):
        return float(match[1]), float(match[2])
    if match := re.fullmatch(r"(\d+\.?\d*)-(\d+\.?\d*)%", text):
        return Percentiles(float(match[1]), float(match[2]))
    raise OptionError(f"stretch {text!r} (expected card, auto, MIN,MAX or LOW-HIGH%)")


def per_band(ranges: Sequence[tuple[float, float]], bands: int) -> Stretch:
    """Return the stretch of one range for all bands, or of one range a band.

    Raises
    ------
    OptionError
        For any other number of ranges.
    """
    if len(ranges) not in (1, bands):
        raise OptionError(f"{len(ranges)} stretches for {bands} bands (give one, or one a band)")
    low, high = zip(*(list(ranges) * (bands if len(ranges) == 1 else 1)), strict=True)
    return Stretch(low, high)
