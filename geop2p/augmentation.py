"""Augmentation: the same random view of both patches of a pair.

A view is a pure function of (seed, epoch, index of the pair), so that a resumed training, or one
with another number of loader threads, sees exactly the same pictures.

References
----------
Isola et al. 2017, appendix 6.2: "random jitter was applied by resizing the 256x256 input images to
286x286 and then randomly cropping back to size 256x256", and mirroring.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from geop2p.streams import Stream

Pixels = npt.NDArray[Any]
"""A picture, (C, H, W), in its native type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A square of a patch and how it is turned.

    Parameters
    ----------
    row, col : int, pixels
        Upper left corner of the square.
    quarter_turns : int
        Counter-clockwise, 0 to 3.
    is_mirrored : bool
        Left and right change places, before the turns.
    side : int, pixels
        Of the square, where it is not the side at which it is shown; else 0.
    """

    row: int
    col: int
    quarter_turns: int = 0
    is_mirrored: bool = False
    side: int = 0


Spare = tuple[int, int]
"""Rows and columns by which a patch is larger than the view."""


def _central(_random: np.random.Generator, spare: Spare) -> View:
    return View(row=spare[0] // 2, col=spare[1] // 2)


def _paper(random: np.random.Generator, spare: Spare) -> View:
    row, col, mirror = random.integers(0, (spare[0] + 1, spare[1] + 1, 2))
    return View(row=int(row), col=int(col), is_mirrored=bool(mirror))


def _dihedral(random: np.random.Generator, spare: Spare) -> View:
    row, col, mirror, turns = random.integers(0, (spare[0] + 1, spare[1] + 1, 2, 4))
    return View(row=int(row), col=int(col), is_mirrored=bool(mirror), quarter_turns=int(turns))


AUGMENTATIONS: dict[str, Callable[[np.random.Generator, Spare], View]] = {
    "none": _central,
    "paper": _paper,
    "dihedral": _dihedral,
}
"""``none``: the centre; ``paper``: any place, mirrored or not; ``dihedral``: turned as well."""


def draw_view(
    kind: str, key: tuple[int, ...], *, spare: Spare, size: int = 0, jitter: float = 0.0
) -> View:
    """Return the view that ``key`` = (seed, epoch, index) stands for.

    Parameters
    ----------
    kind : str
        A key of `AUGMENTATIONS`.
    key : tuple of int
        A fourth number tells the second view of a pair in an epoch, and later ones, from the first.
    spare : (int, int), pixels
        Rows and columns by which the patch is larger than the view, at least 0.
    size : int, pixels
        Side at which the view is shown; needed for ``jitter``.
    jitter : float
        The square has between 1 / (1 + jitter) and 1 + jitter times this side, as likely smaller
        as larger, and never more than the patch has.
    """
    random = np.random.default_rng((Stream.VIEW, *key))
    if not jitter:
        return AUGMENTATIONS[kind](random, spare)
    zoom = np.exp(random.uniform(-1, 1) * np.log1p(jitter))
    side = int(np.clip(np.rint(size * zoom), 1, size + min(spare)))
    left = (spare[0] + size - side, spare[1] + size - side)
    return replace(AUGMENTATIONS[kind](random, left), side=side)


def take_view(picture: Pixels, view: View, *, size: int, is_nearest: bool = False) -> Pixels:
    """Return the ``size`` x ``size`` pixels that ``view`` shows: (C, size, size), native type.

    Parameters
    ----------
    is_nearest : bool
        A square of another side is shown by its nearest pixels, so that no colour is new; else
        pixels between others are interpolated linearly.
    """
    side = view.side or size
    part = picture[:, view.row : view.row + side, view.col : view.col + side]
    if side != size:
        part = _resampled(part, Steps.between(side, size, is_nearest=is_nearest))
    if view.is_mirrored:
        part = part[:, :, ::-1]
    return np.ascontiguousarray(np.rot90(part, view.quarter_turns, axes=(1, 2)))


WHOLE = 1024
"""Weights of interpolation are whole numbers up to this: every device computes the same pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Which pixels of a line of ``side`` a line of ``size`` is made of, pixel centres aligned.

    Parameters
    ----------
    lower, upper : (size,) int64
        The pixels before and after.
    weight : (size,) int64
        Of the one after, 0 to `WHOLE`.
    """

    lower: npt.NDArray[np.int64]
    upper: npt.NDArray[np.int64]
    weight: npt.NDArray[np.int64]

    @classmethod
    def between(cls, side: int, size: int, *, is_nearest: bool) -> "Steps":
        """Return the steps of a line; the nearest pixel alone where it is asked for."""
        doubled = (2 * np.arange(size, dtype=np.int64) + 1) * side  # of the centre, times 2 size
        if is_nearest:
            lower = doubled // (2 * size)
            return cls(lower=lower, upper=lower, weight=np.zeros_like(lower))
        place = np.clip(doubled - size, 0, (side - 1) * 2 * size)
        lower = place // (2 * size)
        weight = place % (2 * size) * WHOLE // (2 * size)
        return cls(lower=lower, upper=np.minimum(lower + 1, side - 1), weight=weight)


def _resampled(square: Pixels, steps: Steps) -> Pixels:
    if not steps.weight.any():
        return square[:, steps.lower][:, :, steps.lower]
    is_whole = np.issubdtype(square.dtype, np.integer)
    wide = square.astype(np.int64 if is_whole else np.float64)
    after, before = steps.weight, WHOLE - steps.weight
    rows = wide[:, steps.lower] * before[:, None] + wide[:, steps.upper] * after[:, None]
    sums = rows[:, :, steps.lower] * before + rows[:, :, steps.upper] * after
    mean: Pixels = (sums + WHOLE**2 // 2) // WHOLE**2 if is_whole else sums / WHOLE**2
    return mean.astype(square.dtype)
