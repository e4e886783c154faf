"""Tiles cut from the rows of a strip, on the generator's device.

Pixels come as planes in the scene's type, and leave as channels-last tiles in [-1, 1]. Only one
tile row at a time is laid out as tiles need it, so memory is a tile row of the scene's type and the
tiles that are asked for.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geop2p.fill import fill_invalid
from geop2p.grid import Span, Strip, Tile, TileGrid, reflect
from geop2p.stretching import UnitScale
from geop2p.transfer import sent

_SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}
"""Types of the same size that devices can move about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Tiles beside each other in one tile row: columns ``cols[0]`` to ``cols[1] - 1``."""

    row: int
    cols: Span

    def __len__(self) -> int:
        """Return how many tiles it has."""
        return self.cols[1] - self.cols[0]


def runs_of(tiles: Iterable[Tile]) -> Iterator[Run]:
    """Yield tiles as runs, as long as each tile lies right of the one before."""
    run: Run | None = None
    for tile in tiles:
        if run is not None and (tile.row, tile.col) == (run.row, run.cols[1]):
            run = Run(row=run.row, cols=(run.cols[0], tile.col + 1))
            continue
        if run is not None:
            yield run
        run = Run(row=tile.row, cols=(tile.col, tile.col + 1))
    if run is not None:
        yield run


class TileCutter:
    """Cuts, stretches and fills tiles of one strip, tile row by tile row.

    Parameters
    ----------
    grid : TileGrid
        The lattice.
    pixels : (C, h, W) Tensor in the scene's type
        Rows of the scene, as many as the strip's tiles show.
    valid : (h, W) bool Tensor, or None
        None: all are valid.
    first : int
        The scene's row that these rows start with.
    scale : UnitScale
        Native values to [-1, 1], for rows of a tile.
    """

    def __init__(
        self, grid: TileGrid, pixels: Tensor, valid: Tensor | None, *, first: int, scale: UnitScale
    ) -> None:
        self._grid, self._first, self._scale = grid, first, scale
        self._dtype = pixels.dtype
        self._pixels = pixels.view(_SIGNED.get(pixels.dtype, pixels.dtype))
        self._valid = None if valid is None else valid.unsqueeze(0)
        self._row: int | None = None
        self._band = self._mask = pixels  # laid out when the first tile is cut
        outer = (grid.tile_cols - 1) * grid.stride + grid.size
        before = np.arange(-grid.halo, 0)
        beyond = np.arange(grid.width, max(grid.width, outer + grid.halo))
        self._before, self._beyond = (
            sent(reflect(cols, grid.width) + grid.halo, pixels.device) for cols in (before, beyond)
        )

    def cut(self, run: Run, *, partial: Iterable[int] = ()) -> Tensor:
        """Return a run's tiles, (n, C, side, side) float32 in [-1, 1], channels last.

        Parameters
        ----------
        run : Run
        partial : iterable of int
            Which tile columns of it have invalid pixels, and are filled.
        """
        if run.row != self._row:
            self._lay_out(run.row)
        side, bands = self._grid.side, self._band.shape[2]
        native = self._windows(self._band, run)  # (n, side, side * C)
        units = self._scale(native.view(self._dtype))
        tiles = units.view(-1, side, side, bands).permute(0, 3, 1, 2)
        numbers = [col - run.cols[0] for col in partial]
        if numbers and self._valid is not None:
            masks = self._windows(self._mask, run).unsqueeze(1)
            for group in _filled_together(numbers, tiles.device):
                these = sent(np.array(group), tiles.device)
                tiles[these] = fill_invalid(tiles[these].contiguous(), masks[these])
        return tiles

    def _lay_out(self, row: int) -> None:
        """Lay out a tile row, continued past the scene's edges: (side, outer width, C)."""
        rows = self._grid.source_rows(Strip(first=row, last=row + 1)) - self._first
        self._band = self._continued(self._pixels, rows)
        if self._valid is not None:
            self._mask = self._continued(self._valid, rows)
        self._row = row

    def _continued(self, planes: Tensor, rows: npt.NDArray[np.intp]) -> Tensor:
        start, count, width = int(rows[0]), len(rows), self._grid.width
        if rows[-1] - start == count - 1:
            shown = planes[:, start : start + count]
        else:
            shown = planes.index_select(1, sent(rows, planes.device))
        begin = len(self._before)
        end = begin + width
        band = planes.new_empty((count, end + len(self._beyond), len(planes)))
        band[:, begin:end] = shown.permute(1, 2, 0)
        if begin:
            band[:, :begin] = band.index_select(1, self._before)
        if len(self._beyond):
            band[:, end:] = band.index_select(1, self._beyond)
        return band

    def _windows(self, band: Tensor, run: Run) -> Tensor:
        """Return a view of a run's tiles: (n, side, side * C)."""
        side, step = self._grid.side, self._grid.stride * band.shape[2]
        flat = band.flatten(1)
        return flat.as_strided(
            (len(run), side, side * band.shape[2]),
            (step, flat.stride(0), 1),
            run.cols[0] * step,
        )


def _filled_together(numbers: list[int], device: torch.device) -> list[list[int]]:
    """Return groups of tiles: a GPU takes longer to begin its many steps than to do one tile."""
    return [numbers] if device.type == "cuda" else [[number] for number in numbers]
