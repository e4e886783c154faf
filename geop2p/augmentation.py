"""Augmentation: the same random view of both patches of a pair.

A view is a pure function of (seed, epoch, index of the pair), so that a resumed training, or one
with another number of loader threads, sees exactly the same pictures.

References
----------
Isola et al. 2017, appendix 6.2: "random jitter was applied by resizing the 256x256 input images to
286x286 and then randomly cropping back to size 256x256", and mirroring.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

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
    """

    row: int
    col: int
    quarter_turns: int = 0
    is_mirrored: bool = False


VIEW_STREAM = 2
"""Tells the random numbers of views from those of the order and of dropout."""

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


def draw_view(kind: str, key: tuple[int, int, int], *, spare: Spare) -> View:
    """Return the view that ``key`` = (seed, epoch, index) stands for.

    Parameters
    ----------
    kind : str
        A key of `AUGMENTATIONS`.
    spare : (int, int), pixels
        Rows and columns by which the patch is larger than the view, at least 0.
    """
    return AUGMENTATIONS[kind](np.random.default_rng((VIEW_STREAM, *key)), spare)


def take_view(picture: Pixels, view: View, *, size: int) -> Pixels:
    """Return the ``size`` x ``size`` pixels that ``view`` shows: (C, size, size), native type."""
    part = picture[:, view.row : view.row + size, view.col : view.col + size]
    if view.is_mirrored:
        part = part[:, :, ::-1]
    return np.ascontiguousarray(np.rot90(part, view.quarter_turns, axes=(1, 2)))
