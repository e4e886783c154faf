"""Tiles are cut as the lattice says, in runs of any length, whatever the scene's type."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scenes import noise

from geop2p.cutting import Run, TileCutter, runs_of
from geop2p.fill import fill_invalid
from geop2p.grid import Strip, Tile, TileGrid
from geop2p.radiometry import Stretch
from geop2p.stretching import UnitScale

CPU = torch.device("cpu")


def cutter_of(grid, pixels, valid=None, *, first=0):
    dtype = pixels.dtype.name
    stretch = Stretch.of_dtype(dtype, len(pixels))
    scale = UnitScale(stretch, dtype, pixels=grid.size, device=CPU)
    mask = None if valid is None else torch.from_numpy(valid)
    cutter = TileCutter(grid, torch.from_numpy(pixels), mask, first=first, scale=scale)
    return cutter, stretch


def expected(grid, pixels, stretch, tile):
    rows = grid.source_rows(Strip(first=tile.row, last=tile.row + 1))
    return stretch.to_unit(pixels[:, rows][:, :, grid.source_cols(tile.col)])


@given(
    st.integers(1, 150),
    st.integers(1, 150),
    st.sampled_from([(0, 0), (5, 0), (16, 0), (0, 8), (0, 40)]),
    st.sampled_from(["uint8", "uint16", "int16", "uint32"]),
)
def test_tiles_are_the_scenes_and_its_reflections(height, width, margins, dtype):
    grid = TileGrid(height=height, width=width, size=32, overlap=margins[0], halo=margins[1])
    pixels = noise(2, height, width, dtype=dtype)
    cutter, stretch = cutter_of(grid, pixels)
    for row in range(grid.tile_rows):
        tiles = cutter.cut(Run(row=row, cols=(0, grid.tile_cols)))
        assert tiles.is_contiguous(memory_format=torch.channels_last)
        for col in range(grid.tile_cols):
            one = expected(grid, pixels, stretch, Tile(row=row, col=col))
            assert np.array_equal(tiles[col].numpy(), one)


def test_a_part_of_the_scenes_rows_is_enough():
    grid = TileGrid(height=100, width=70, size=32, overlap=8)
    pixels = noise(3, 100, 70)
    cutter, stretch = cutter_of(grid, pixels[:, 24:90], first=24)
    tiles = cutter.cut(Run(row=2, cols=(1, 2)))
    assert np.array_equal(tiles[0], expected(grid, pixels, stretch, Tile(row=2, col=1)))


def test_tiles_filled_together_as_on_a_gpu_are_those_filled_one_by_one(monkeypatch):
    grid = TileGrid(height=40, width=150, size=32, overlap=8)
    pixels, valid = noise(3, 40, 150), np.ones((40, 150), bool)
    valid[:20, 30:70] = False
    cutter, _ = cutter_of(grid, pixels, valid)
    run = Run(row=0, cols=(0, 4))
    singly = cutter.cut(run, partial=[1, 2])
    monkeypatch.setattr("geop2p.cutting._filled_together", lambda numbers, _device: [numbers])
    assert torch.equal(cutter.cut(run, partial=[1, 2]), singly)


def test_only_tiles_that_are_named_are_filled_each_from_itself():
    grid = TileGrid(height=32, width=104, size=32, overlap=8)
    pixels, valid = noise(3, 32, 104), np.ones((32, 104), bool)
    valid[:, 20:40] = False
    cutter, _ = cutter_of(grid, pixels, valid)
    run = Run(row=0, cols=(0, 4))
    whole, filled = cutter.cut(run), cutter.cut(run, partial=[0, 1])
    assert torch.equal(filled[2:], whole[2:])
    for col in (0, 1):
        mask = torch.from_numpy(valid[np.newaxis, np.newaxis, :, 24 * col : 24 * col + 32])
        assert torch.equal(filled[col : col + 1], fill_invalid(whole[col : col + 1], mask))


@pytest.mark.parametrize(
    ("places", "runs"),
    [
        ("", []),
        ("00", [(0, 0, 1)]),
        ("00 01 02", [(0, 0, 3)]),
        ("01 00", [(0, 1, 2), (0, 0, 1)]),
        ("00 01 03 10 11", [(0, 0, 2), (0, 3, 4), (1, 0, 2)]),
    ],
)
def test_neighbours_in_a_row_are_one_run(places, runs):
    tiles = [Tile(row=int(place[0]), col=int(place[1])) for place in places.split()]
    assert [(run.row, *run.cols) for run in runs_of(tiles)] == runs
