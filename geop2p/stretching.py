"""The stretch on the generator's device: the bits of `geop2p.radiometry`, without leaving it.

Values are interleaved: the bands of a pixel beside each other, pixels of a row one after another,
in one last dimension. That is what channels-last tiles are in memory.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geop2p.radiometry import MapValues, Stretch
from geop2p.transfer import sent

Terms = float | Tensor
"""One number for all bands, or (pixels * bands,) interleaved."""


class UnitScale:
    """Native values to [-1, 1], as `Stretch.to_unit`.

    Parameters
    ----------
    stretch : Stretch
        One range a band.
    dtype : str
        Of the native values.
    pixels : int
        How many lie in a row.
    device : torch.device
    """

    def __init__(self, stretch: Stretch, dtype: str, *, pixels: int, device: torch.device) -> None:
        low, high, scale = stretch.unit_terms()
        kind = np.dtype(dtype)
        self._clips = kind.kind not in "iu" or not stretch.covers(kind)
        factor = 2.0 / (high * scale - low * scale)
        self._low, self._high, self._scale, self._start, self._factor = _terms(
            low, high, scale, low * scale, factor, pixels=pixels, device=device
        )

    def __call__(self, native: Tensor) -> Tensor:
        """Return (..., pixels * bands) native values as float32 in [-1, 1], in a new tensor."""
        values = native.to(torch.float64, memory_format=torch.contiguous_format, copy=True)
        if self._clips:
            values.clamp_(self._low, self._high)  # type: ignore[arg-type]  # both are alike
        if not _is(self._scale, 1.0):
            values.mul_(self._scale)
        if not _is(self._start, 0.0):
            values.sub_(self._start)
        return values.mul_(self._factor).sub_(1.0).float()


class MapDrawing:
    """[-1, 1] to the map's values, rounded, as `MapValues.draw`.

    Parameters
    ----------
    values : MapValues
        The map's type, range and nodata value.
    bands : int
        Of the map.
    pixels : int
        How many lie in a row.
    device : torch.device
    """

    def __init__(self, values: MapValues, *, bands: int, pixels: int, device: torch.device) -> None:
        self._values, self._bands = values, bands
        terms = values.of_bands(bands).map_terms(values.dtype)
        self._kind = np.dtype(values.dtype)
        self._dtype = torch.float32 if terms.low.dtype == np.float32 else torch.float64
        self._low, self._half, self._scale = _terms(
            terms.low, terms.half, terms.scale, pixels=pixels, device=device
        )
        self._limits = terms.limits
        self.is_on_device = not (self._kind.kind in "iu" and self._kind.itemsize == 8)
        """Whether nothing waits: float64 cannot tell all integers of 64 bits apart."""

    def draw(self, unit: Tensor, valid: Tensor | None, *, into: Tensor) -> None:
        """Draw (h, pixels * bands) float32, which is used up, into (bands, h, pixels).

        Parameters
        ----------
        unit : Tensor
        valid : (h, pixels) bool, or None
            None: all are valid.
        into : Tensor
            Of the map's type.
        """
        if not self.is_on_device:
            into.copy_(self._drawn_by_numpy(unit, valid))
            return
        values = unit.clamp_(-1.0, 1.0).add_(1.0).to(self._dtype).mul_(self._half)
        if not _is(self._low, 0.0):
            values.add_(self._low)
        if not _is(self._scale, 1.0):
            values.div_(self._scale)
        if self._kind.kind in "iu":
            values.round_()
        if self._limits is not None:
            values.clamp_(*self._limits)
        pixels = values.view(len(values), -1, self._bands)
        if self._kind.kind == "f":
            pixels = pixels.to(into.dtype)
        into.copy_(self._masked(pixels, valid).permute(2, 0, 1))

    def _masked(self, pixels: Tensor, valid: Tensor | None) -> Tensor:
        """Set invalid ones of (h, w, bands) to the nodata value, and valid ones apart from it."""
        nodata = self._values.nodata
        if nodata is not None:
            nodata, beside = self._values.nodata_and_beside()
            is_taken = pixels == nodata
            pixels = pixels.masked_fill(is_taken, beside)
        if valid is None:
            return pixels
        return pixels.masked_fill(~valid.unsqueeze(2), nodata or 0)

    def _drawn_by_numpy(self, unit: Tensor, valid: Tensor | None) -> Tensor:
        planes = unit.reshape(len(unit), -1, self._bands).permute(2, 0, 1).cpu().numpy()
        mask = np.ones(planes.shape[1:], bool) if valid is None else valid.cpu().numpy()
        return torch.from_numpy(self._values.draw(planes, mask))


def map_dtype(dtype: str) -> torch.dtype:
    """Return torch's name of a map's type."""
    found: torch.dtype = getattr(torch, dtype)
    return found


def _terms(
    *terms: npt.NDArray[np.floating[Any]], pixels: int, device: torch.device
) -> Iterator[Terms]:
    """Yield terms, (C,) each, as one number where all bands are alike, else interleaved."""
    is_common = all((numbers == numbers[0]).all() for numbers in terms)
    for numbers in terms:
        yield (float(numbers[0]) if is_common else sent(numbers, device).repeat(pixels))


def _is(terms: Terms, number: float) -> bool:
    return isinstance(terms, float) and terms == number
