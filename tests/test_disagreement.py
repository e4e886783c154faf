"""How far overlapping tiles disagree: against a standard deviation taken pixel by pixel."""

import numpy as np
import pytest
import torch

from geop2p.cutting import Run
from geop2p.disagreement import DisagreementCanvas, is_compared, joined
from geop2p.grid import Strip, Tile, TileGrid

CPU = torch.device("cpu")
WEIGHTS = (0.25, 0.75)


def drawn(grid, *, seed=0):
    """Return a picture for each tile, (2, size, size)."""
    random = torch.Generator().manual_seed(seed)
    every = Strip(first=0, last=grid.tile_rows)
    return {
        tile: torch.rand((2, grid.size, grid.size), generator=random) * 2 - 1
        for tile in grid.tiles(every)
    }


def measured(grid, pictures, strip):
    """Return all rows of a strip, (K + 1, h, W)."""
    canvas = DisagreementCanvas(grid, strip, weights=WEIGHTS, device=CPU)
    parts = []
    for row in range(strip.first, strip.last):
        run = Run(row=row, cols=(0, grid.tile_cols))
        canvas.add(run, torch.stack([pictures[Tile(row=row, col=col)] for col in range(*run.cols)]))
        parts.append(canvas.finish_row())
    first, last = grid.painted_rows(strip)
    return torch.cat(parts, dim=1)[:, : last - first, : grid.width].numpy()


def expected(grid, pictures):
    """Return the variance at each pixel over the tiles that hold it, bands weighted."""
    values = np.full((grid.tile_rows, grid.tile_cols, 2, *outer(grid)), np.nan)
    for tile, picture in pictures.items():
        rows, cols = slice(*grid.rows(tile.row)), slice(*grid.cols(tile.col))
        values[tile.row, tile.col, :, rows, cols] = picture.numpy()
    variance = np.nanvar(values.reshape(-1, *values.shape[2:]), axis=0)
    return np.einsum("khw,k->hw", variance, WEIGHTS)[: grid.height, : grid.width]


def outer(grid):
    return grid.rows(grid.tile_rows - 1)[1], grid.cols(grid.tile_cols - 1)[1]


GRIDS = [
    TileGrid(height=40, width=50, size=16, overlap=5),
    TileGrid(height=33, width=16, size=16, overlap=8),
    TileGrid(height=10, width=47, size=16, overlap=1),
]


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_it_is_the_variance_over_the_tiles_that_hold_a_pixel(grid):
    pictures = drawn(grid)
    found = measured(grid, pictures, Strip(first=0, last=grid.tile_rows))[-1]
    assert np.allclose(found, expected(grid, pictures), atol=1e-6)


@pytest.mark.parametrize("grid", GRIDS[:2], ids=str)
def test_strips_that_are_joined_have_the_bits_of_the_whole(grid):
    pictures = drawn(grid)
    whole = measured(grid, pictures, Strip(first=0, last=grid.tile_rows))[-1]
    above = None
    for strip in grid.strips(1):
        own, (first, last) = measured(grid, pictures, strip), grid.painted_rows(strip)
        head, foot = grid.head(strip), grid.foot(strip)
        if above is not None:
            seam = joined(above, own[:, :head], WEIGHTS)
            assert np.array_equal(seam, whole[first : first + head])
        stop = own.shape[1] - foot
        assert np.array_equal(own[-1, head:stop], whole[first + head : last - foot])
        above = own[:, stop:]


def test_equal_tiles_disagree_by_exactly_nothing():
    grid = GRIDS[0]
    pictures = dict.fromkeys(drawn(grid), torch.full((2, 16, 16), 0.1))
    assert not measured(grid, pictures, Strip(first=0, last=grid.tile_rows))[-1].any()


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_pixels_are_compared_where_several_tiles_hold_them(grid):
    counts = np.zeros(outer(grid), int)
    for tile in grid.tiles(Strip(first=0, last=grid.tile_rows)):
        counts[slice(*grid.rows(tile.row)), slice(*grid.cols(tile.col))] += 1
    assert np.array_equal(
        is_compared(grid, (0, grid.height)), counts[: grid.height, : grid.width] > 1
    )
