"""Seams, measured: how much a map shows of the tiles that it was drawn in.

Three measures, each by tile row and as one figure, on native values of the map:

- gradients: the mean absolute difference of neighbouring pixels across lines where tiles begin,
  where two weigh the same, and where they end, against that inside tiles;
- disagreement: the root mean square difference of two tiles' pictures where they overlap;
- shift: the difference from the map that the same generator draws on a shifted lattice.

The first sees seams in the map as it is, the others what blending has to hide.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from geop2p.grid import Span, TileGrid

Pixels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

LINES = ("begin", "middle", "end")
"""Of each overlap: where a tile begins, where both weigh the same, where the one before ends."""
HEAT_SIDE = 512
"""Pixels; longest side of a picture of where."""


def line_positions(grid: TileGrid, count: int) -> dict[str, npt.NDArray[np.int64]]:
    """Return the pixels after each line between ``count`` tiles in a direction, by `LINES`."""
    starts = np.arange(1, count, dtype=np.int64) * grid.stride
    offsets = (0, grid.overlap // 2, grid.overlap)
    return {line: starts + offset for line, offset in zip(LINES, offsets, strict=True)}


class Gradients:
    """Mean absolute differences of neighbouring pixels, by kind of line and by tile row.

    Rows come from the top, each once. Lines between tile columns count for the tile row that they
    lie in, lines between tile rows for the lower one.
    """

    def __init__(self, grid: TileGrid) -> None:
        self._grid = grid
        self._sums = np.zeros((grid.tile_rows, 1 + len(LINES), 2))  # inside, LINES; total, count
        self._cols = _kinds(grid, grid.width, grid.tile_cols)
        self._rows = _kinds(grid, grid.height, grid.tile_rows)
        self._last: tuple[Pixels, Mask] | None = None

    def add(self, pixels: Pixels, valid: Mask, *, first: int) -> None:
        """Count rows from ``first`` on: (K, h, W) native values and (h, W) bool."""
        values = np.where(valid, pixels, 0).astype(np.float32)
        tile_rows = _tile_rows(self._grid, first, len(valid))
        steps = np.abs(np.diff(values, axis=2)).mean(axis=0)  # (h, W - 1)
        both = valid[:, 1:] & valid[:, :-1]
        for kind, is_kind in enumerate(self._cols):
            chosen = both & is_kind[1:]
            totals = np.where(chosen, steps, 0).sum(axis=1, dtype=np.float64)
            np.add.at(self._sums[:, kind], tile_rows, np.stack([totals, chosen.sum(axis=1)], 1))
        self._add_vertical(values, valid, first=first)
        self._last = values[:, -1:], valid[-1:]

    def _add_vertical(self, values: Pixels, valid: Mask, *, first: int) -> None:
        if self._last is not None:
            values = np.concatenate([self._last[0], values], axis=1)
            valid = np.concatenate([self._last[1], valid])
            first -= 1
        steps = np.abs(np.diff(values, axis=1)).mean(axis=0)  # (h - 1, W)
        both = valid[1:] & valid[:-1]
        tile_rows = _tile_rows(self._grid, first, len(valid))[1:]
        totals = np.where(both, steps, 0).sum(axis=1, dtype=np.float64)
        sums = np.stack([totals, both.sum(axis=1)], 1)
        for kind, is_kind in enumerate(self._rows):
            chosen = is_kind[first + 1 : first + len(valid)]
            np.add.at(self._sums[:, kind], tile_rows[chosen], sums[chosen])

    def measured(self) -> list[dict[str, float]]:
        """Return the whole, then each tile row: ``inside``, `LINES`, and ``ratio``.

        ``ratio`` is that of the most visible of the three lines to the inside; NaN where a part has
        no line, or nothing changes inside.
        """
        return [_gradients(sums) for sums in (self._sums.sum(axis=0), *self._sums)]


class Differences:
    """Squared differences, by tile row and by place."""

    def __init__(self, grid: TileGrid) -> None:
        self._grid = grid
        self._sums = np.zeros((grid.tile_rows, 4))  # squares, absolutes, pixels, changed classes
        self.heat = Heat.over(grid.height, grid.width)

    def add(
        self,
        distance: Pixels,
        valid: Mask,
        *,
        corner: tuple[int, int],
        tile_row: int | None = None,
        is_changed: Mask | None = None,
    ) -> None:
        """Count a window: (K, h, w) differences and (h, w) bool, its (row, col) on the scene.

        Without ``tile_row`` each row counts for the tile row that it lies in.
        """
        values = np.where(valid, distance.astype(np.float64), 0)
        squares = (values**2).mean(axis=0)
        changed = np.zeros(len(valid)) if is_changed is None else (is_changed & valid).sum(axis=1)
        by_row = (
            squares.sum(axis=1), np.abs(values).mean(axis=0).sum(axis=1), valid.sum(axis=1), changed
        )  # fmt: skip
        tile_rows = _tile_rows(self._grid, corner[0], len(valid))
        if tile_row is not None:
            tile_rows[:] = tile_row
        np.add.at(self._sums, tile_rows, np.stack(by_row, axis=1))
        self.heat.add(squares, valid, corner=corner)

    def measured(self) -> list[dict[str, float]]:
        """Return the whole, then each tile row: ``rms``, ``mean`` and ``changed``, NaN for none."""
        return [_differences(sums) for sums in (self._sums.sum(axis=0), *self._sums)]


@dataclass(slots=True, kw_only=True)
class Heat:
    """Where differences are: root mean squares of squares of ``step`` pixels."""

    step: int
    sums: Floats = field(repr=False)
    counts: Floats = field(repr=False)

    @classmethod
    def over(cls, height: int, width: int) -> "Heat":
        """Return an empty one for a scene."""
        step = -(-max(height, width) // HEAT_SIDE)
        shape = (-(-height // step), -(-width // step))
        return cls(step=step, sums=np.zeros(shape), counts=np.zeros(shape))

    def add(self, squares: Floats, valid: Mask, *, corner: tuple[int, int]) -> None:
        """Add a window of squared differences, (h, w), at (row, col) of the scene."""
        rows = (np.arange(squares.shape[0]) + corner[0]) // self.step
        cols = (np.arange(squares.shape[1]) + corner[1]) // self.step
        row_starts = np.flatnonzero(np.diff(rows, prepend=-1))
        col_starts = np.flatnonzero(np.diff(cols, prepend=-1))
        place = slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1)
        for target, part in ((self.sums, squares), (self.counts, valid.astype(np.float64))):
            by_row = np.add.reduceat(part, row_starts, axis=0)
            target[place] += np.add.reduceat(by_row, col_starts, axis=1)

    def picture(self) -> Floats:
        """Return (h, w) root mean squares, NaN where nothing was compared."""
        with np.errstate(invalid="ignore"):
            return np.where(self.counts > 0, np.sqrt(self.sums / self.counts), np.nan)


def shared(grid: TileGrid, tile_col: int) -> Span:
    """Return the columns that a tile shares with the one on its left, clipped to the scene."""
    left = tile_col * grid.stride
    return left, min(left + grid.overlap, grid.width)


def _kinds(grid: TileGrid, length: int, count: int) -> list[Mask]:
    """Return for the inside and each of `LINES` which pixels differ from the one before there."""
    masks = []
    is_inside = np.ones(length, bool)
    for start in range(grid.stride, count * grid.stride, grid.stride):
        is_inside[start : start + grid.overlap + 1] = False
    masks.append(is_inside)
    for positions in line_positions(grid, count).values():
        is_line = np.zeros(length, bool)
        is_line[positions[positions < length]] = True
        masks.append(is_line)
    return masks


def _tile_rows(grid: TileGrid, first: int, count: int) -> npt.NDArray[np.int64]:
    rows = np.arange(first, first + count, dtype=np.int64) // grid.stride
    return np.minimum(rows, grid.tile_rows - 1)


def _gradients(sums: Floats) -> dict[str, float]:
    means = {
        name: float(total / count) if count else float("nan")
        for name, (total, count) in zip(("inside", *LINES), sums, strict=True)
    }
    lines = [means[line] for line in LINES if np.isfinite(means[line])]
    has_ratio = lines and means["inside"] > 0
    return means | {"ratio": max(lines) / means["inside"] if has_ratio else float("nan")}


def _differences(sums: Floats) -> dict[str, float]:
    squares, absolutes, pixels, changed = sums
    if not pixels:
        return dict.fromkeys(("rms", "mean", "changed"), float("nan"))
    return {
        "rms": float(np.sqrt(squares / pixels)),
        "mean": float(absolutes / pixels),
        "changed": float(changed / pixels),
    }


def row_spans(height: int, rows: int) -> Iterator[Span]:
    """Yield spans of ``rows`` rows from the top, the last one possibly shorter."""
    for first in range(0, height, rows):
        yield first, min(first + rows, height)
