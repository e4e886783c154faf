"""Patches: where training pairs are cut from a scene, on which side of a split, and which are fit.

Everything here is arithmetic on integers and boxes; nothing reads a file. A box is
(left, bottom, right, top) with right > left and top > bottom, in any plane coordinates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geop2p.errors import OptionError

TRAIN, STRADDLING, VAL = -1, 0, 1
"""The sides of a split; what lies across the border belongs to neither and is left out."""
SPLITS = {TRAIN: "train", VAL: "val"}
LEVELS = 16
"""Grey levels of a band that `variety` tells apart."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """A square window of a scene: first row and column, and side, in pixels; and its side."""

    row: int
    col: int
    size: int
    side: int = TRAIN

    @property
    def rows(self) -> tuple[int, int]:
        """First row and the one after the last."""
        return self.row, self.row + self.size

    @property
    def cols(self) -> tuple[int, int]:
        """First column and the one after the last."""
        return self.col, self.col + self.size


def patch_starts(length: int, *, size: int, stride: int) -> list[int]:
    """Return where patches start along ``length`` pixels, ascending.

    The last patch is moved back to end at the edge, so that nothing at the edge is dropped; there
    is none at all when ``length < size``.

    Raises
    ------
    OptionError
        When size or stride is below 1.
    """
    if size < 1 or stride < 1:
        raise OptionError(f"patches of {size} pixels every {stride} (both must be at least 1)")
    if length < size:
        return []
    starts = list(range(0, length - size + 1, stride))
    return starts if starts[-1] == length - size else [*starts, length - size]


def split_by_area(boxes: Sequence[Box], *, fraction: float) -> list[int]:
    """Say for each box whether it is `TRAIN`, `VAL` or `STRADDLING`.

    A straight cut across the longer side of the ground that the boxes cover, at the start of a box:
    what lies wholly beyond it (to the right, or below) validates and holds at least ``fraction`` of
    the boxes, what lies wholly before it trains. So no box that trains overlaps one that validates.
    Boxes that one cut cannot part all train.

    Raises
    ------
    OptionError
        When ``fraction`` is not in 0 <= fraction < 1.
    """
    if not 0 <= fraction < 1:
        raise OptionError(f"validation fraction {fraction} (expected 0 <= fraction < 1)")
    starts, ends = _spans_along_longer_side(np.array(boxes, float).reshape(-1, 4))
    cut = _cut(starts, ends, fraction=fraction)
    if cut is None:
        return [TRAIN] * len(boxes)
    return [_side(start, end, cut) for start, end in zip(starts, ends, strict=True)]


def touching_groups(boxes: Sequence[Box], *, gap: float) -> list[list[int]]:
    """Return which boxes belong together: lists of positions, connected by distances up to ``gap``.

    The distance of two boxes is the larger of their distances along the two axes.
    """
    groups: list[list[int]] = []
    for position, box in enumerate(boxes):
        near = [group for group in groups if any(_gap(box, boxes[i]) <= gap for i in group)]
        groups = [group for group in groups if group not in near]
        groups.append(sorted([position, *(i for group in near for i in group)]))
    return sorted(groups)


def variety(pixels: npt.NDArray[Any]) -> float:
    """Return the share of pixels that do not have the picture's most common colour.

    Colours are told apart by 16 levels a band: of 0 to 255 for uint8, else of the picture's own
    range. 0 for a picture of one colour, nearly 1 for noise.

    Parameters
    ----------
    pixels : (C, H, W) of any numeric type, finite
    """
    levels = _levels(pixels).reshape(len(pixels), -1)  # (C, H, W) -> (C, H * W)
    colours = np.zeros(levels.shape[1], np.int64)
    for band in levels:
        colours = (colours * (LEVELS + 1) + band) % (2**31 - 1)
    counts = np.unique(colours, return_counts=True)[1]
    return 1.0 - int(counts.max()) / colours.size


def _levels(pixels: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    if pixels.dtype == np.uint8:
        return (pixels // LEVELS).astype(np.int64)
    low, high = float(pixels.min()), float(pixels.max())
    scaled = (pixels.astype(np.float64) - low) / ((high - low) or 1.0) * LEVELS
    return scaled.astype(np.int64)


def _spans_along_longer_side(
    boxes: npt.NDArray[np.float64],
) -> tuple[list[float], list[float]]:
    """Return where boxes start and end, left to right, or top to bottom where that is longer."""
    if not len(boxes):
        return [], []
    width = boxes[:, 2].max() - boxes[:, 0].min()
    height = boxes[:, 3].max() - boxes[:, 1].min()
    if width >= height:
        return boxes[:, 0].tolist(), boxes[:, 2].tolist()
    return (-boxes[:, 3]).tolist(), (-boxes[:, 1]).tolist()


def _cut(starts: Sequence[float], ends: Sequence[float], *, fraction: float) -> float | None:
    """Return the furthest start with enough beyond it and something before it, else None."""
    if fraction == 0:
        return None
    for cut in sorted(set(starts), reverse=True):
        if sum(start >= cut for start in starts) >= fraction * len(starts):
            return cut if min(ends) <= cut else None
    return None


def _side(start: float, end: float, cut: float) -> int:
    if start >= cut:
        return VAL
    return TRAIN if end <= cut else STRADDLING


def _gap(one: Box, other: Box) -> float:
    across = max(one[0], other[0]) - min(one[2], other[2])
    along = max(one[1], other[1]) - min(one[3], other[3])
    return max(across, along)
