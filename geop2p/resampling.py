"""Pixels at another size: fewer by area, more by lines between centres, invalid ones left out.

A row of the result is a sum of rows with weights that depend on nothing but its number, and so is a
column. Every sum is taken in one order, one pixel at a time: the result is the same to the last
bit, however much of it is made at a time.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geop2p.radiometry import castable_limits

Pixels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Span = tuple[int, int]
"""From the first to the one after the last."""


@dataclass(frozen=True, slots=True)
class Axis:
    """Rows, or columns, that become more or fewer over the same ground.

    Parameters
    ----------
    length : int, pixels
        How many there are.
    size : int, pixels
        How many they become.
    """

    length: int
    size: int

    def span(self, wanted: Span) -> Span:
        """Return the pixels that the ``wanted`` ones are made of."""
        first, last = (self._first(np.array([place])) for place in (wanted[0], wanted[1] - 1))
        return max(0, int(first[0])), min(self.length, int(last[0]) + self.taps)

    @property
    def taps(self) -> int:
        """Return how many pixels one of the result is made of, some of them with no weight."""
        return -(-self.length // self.size) + 1 if self.length > self.size else 2

    def weights(self, wanted: Span) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return (n, taps) pixels and (n, taps) weights of the ``wanted`` ones.

        Weights are not negative and sum to 1. Fewer pixels come by area: each counts with its share
        of the wanted one. More come by lines between the two centres beside the wanted centre.
        """
        places = np.arange(*wanted)
        used = self._first(places)[:, None] + np.arange(self.taps)
        if self.length > self.size:  # in units of 1 / size, pixels end at whole numbers
            start = places[:, None] * self.length
            shared = np.minimum(start + self.length, (used + 1) * self.size)
            shared = shared - np.maximum(start, used * self.size)
            weights = np.maximum(shared, 0) / self.length
        else:
            passed = ((2 * places + 1) * self.length - self.size) % (2 * self.size)
            share = passed / (2 * self.size)
            weights = np.stack([1.0 - share, share], axis=1)
        return np.clip(used, 0, self.length - 1), weights

    def shares(self, wanted: Span) -> tuple[npt.NDArray[np.int64], Mask]:
        """Return (n, taps) pixels and (n, taps) bool: whose validity makes the ``wanted`` valid.

        Of fewer pixels that is all that they cover, of more the one that their centre lies in.
        """
        used, weights = self.weights(wanted)
        if self.length > self.size:
            return used, weights > 0
        places = np.arange(*wanted)
        return used, used == ((2 * places + 1) * self.length // (2 * self.size))[:, None]

    def _first(self, places: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Return the first pixel that each place is made of; -1 stands for the edge's."""
        if self.length > self.size:
            return np.asarray(places * self.length // self.size, np.int64)
        centre = (2 * places + 1) * self.length - self.size
        return np.asarray(centre // (2 * self.size), np.int64)


def resampled(
    pixels: Pixels, valid: Mask, *, rows: tuple[Axis, Span, int], cols: tuple[Axis, Span, int]
) -> tuple[Pixels, Mask]:
    """Return a window at another size, in the type that it had.

    Invalid pixels have no weight. A pixel of the result is valid when one of those that it covers
    is, or, where it is the smaller, the one that its centre lies in. Invalid ones are 0.

    Parameters
    ----------
    pixels : (C, h, w) any real type
    valid : (h, w) bool
    rows, cols : tuple of (Axis, (int, int), int)
        The axis, the wanted span of the result, and the number of the first row, or column, that
        ``pixels`` has; it must have all of ``axis.span(wanted)``.

    Returns
    -------
    tuple of (C, n, m) array and (n, m) bool
    """
    made = _valid(valid, rows, cols)
    kind = np.float32 if pixels.dtype.kind in "iuf" and _is_small(pixels.dtype) else np.float64
    if valid.all():
        return _rounded(_summed(pixels, rows, cols, kind=kind), pixels.dtype), made
    known = np.where(valid, pixels, pixels.dtype.type(0))
    sums = _summed(known, rows, cols, kind=kind)
    # where nothing is left out the sum stays as it is, as in a window without invalid pixels
    mass = _summed(valid[None].astype(np.uint8), rows, cols, kind=kind)[0]
    is_part = made & (_summed(~valid[None], rows, cols, kind=kind)[0] > 0)
    sums[:, is_part] /= mass[is_part]
    sums[:, ~made] = 0
    return _rounded(sums, pixels.dtype), made


def _is_small(dtype: np.dtype[Any]) -> bool:
    """Whether float32 holds every value of a type."""
    return dtype.itemsize <= 2 or dtype == np.float32


def _summed(
    pixels: Pixels,
    rows: tuple[Axis, Span, int],
    cols: tuple[Axis, Span, int],
    *,
    kind: type[np.float32] | type[np.float64],
) -> Pixels:
    """Return (C, n, m) weighted sums, rows first, tap by tap."""
    used, weights = rows[0].weights(rows[1])
    used, factors = used - rows[2], np.asarray(weights, kind)
    tall: Pixels = np.zeros((len(pixels), len(used), pixels.shape[2]), kind)
    for tap in range(used.shape[1]):
        tall += pixels[:, used[:, tap]] * factors[:, tap, None]
    used, weights = cols[0].weights(cols[1])
    used, factors = used - cols[2], np.asarray(weights, kind)
    made: Pixels = np.zeros((*tall.shape[:2], len(used)), kind)
    for tap in range(used.shape[1]):
        made += np.take(tall, used[:, tap], axis=2) * factors[:, tap]
    return made


def _valid(valid: Mask, rows: tuple[Axis, Span, int], cols: tuple[Axis, Span, int]) -> Mask:
    used, counts = rows[0].shares(rows[1])
    tall = np.zeros((len(used), valid.shape[1]), bool)
    for tap in range(used.shape[1]):
        tall |= valid[used[:, tap] - rows[2]] & counts[:, tap, None]
    used, counts = cols[0].shares(cols[1])
    made = np.zeros((len(tall), len(used)), bool)
    for tap in range(used.shape[1]):
        made |= tall[:, used[:, tap] - cols[2]] & counts[:, tap]
    return made


def _rounded(values: Pixels, dtype: np.dtype[Any]) -> Pixels:
    if dtype.kind == "f":
        return values.astype(dtype, copy=False)
    return np.clip(np.rint(values), *castable_limits(dtype)).astype(dtype)
