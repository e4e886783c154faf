"""The lattice: every pixel is covered, strips share only heads and feet."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geop2p.errors import OptionError
from geop2p.grid import Strip, Tile, TileGrid, reflect

GRIDS = st.builds(
    TileGrid,
    height=st.integers(1, 1500),
    width=st.integers(1, 1500),
    overlap=st.integers(0, 128),
)
CENTRES = st.builds(
    TileGrid,
    height=st.integers(1, 1500),
    width=st.integers(1, 1500),
    size=st.just(136),
    overlap=st.just(0),
    halo=st.just(60),
)


def coverage(count, span, length):
    covered = np.zeros(length, int)
    for index in range(count):
        lo, hi = span(index)
        covered[lo : min(hi, length)] += 1
    return covered


@given(GRIDS)
def test_every_pixel_is_in_one_or_two_tiles_of_each_direction(grid):
    for covered in (
        coverage(grid.tile_rows, grid.rows, grid.height),
        coverage(grid.tile_cols, grid.cols, grid.width),
    ):
        assert covered.min() >= 1
        assert covered.max() <= 2


@given(GRIDS)
def test_the_last_tile_holds_a_pixel_that_no_other_holds(grid):
    covered = coverage(grid.tile_rows, grid.rows, grid.height)
    assert covered[-1] == 1
    assert grid.rows(grid.tile_rows - 1)[0] < grid.height


@given(GRIDS, st.integers(1, 9))
def test_strips_hold_every_tile_exactly_once(grid, rows):
    tiles = [tile for strip in grid.strips(rows) for tile in grid.tiles(strip)]
    expected = {
        Tile(row=row, col=col) for row in range(grid.tile_rows) for col in range(grid.tile_cols)
    }
    assert len(tiles) == len(expected)
    assert set(tiles) == expected


@given(GRIDS, st.integers(1, 9))
def test_inner_rows_and_seams_follow_each_other_without_gap(grid, rows):
    row = 0
    for strip in grid.strips(rows):
        start, stop = grid.painted_rows(strip)
        assert start == row
        row = stop - grid.foot(strip)
        assert row >= start + grid.head(strip)
    assert row == grid.height


@given(GRIDS, st.integers(1, 9))
def test_own_rows_are_a_partition_of_the_scene(grid, rows):
    spans = [grid.own_rows(strip) for strip in grid.strips(rows)]
    assert [row for lo, hi in spans for row in range(lo, hi)] == list(range(grid.height))


@given(CENTRES, st.integers(1, 9))
def test_a_lattice_of_centres_gives_each_row_to_one_strip_and_shows_a_halo(grid, rows):
    row = 0
    for strip in grid.strips(rows):
        start, stop = grid.painted_rows(strip)
        assert (start, grid.head(strip), grid.foot(strip)) == (row, 0, 0)
        shown = grid.source_rows(strip)
        assert len(shown) == (strip.last - strip.first) * 136 + 120
        assert np.array_equal(shown[60 : 60 + stop - start], np.arange(start, stop))
        row = stop
    assert row == grid.height


@given(CENTRES)
def test_a_lattice_of_centres_shows_the_scene_as_one_reflected_picture(grid):
    outer = np.pad(np.arange(grid.width), (60, 1000), "reflect" if grid.width > 1 else "edge")
    for col in range(grid.tile_cols):
        assert np.array_equal(grid.source_cols(col), outer[136 * col : 136 * col + grid.side])


@given(st.integers(1, 300), st.integers(0, 900), st.integers(0, 900))
def test_reflection_agrees_with_numpy(length, before, beyond):
    padded = np.pad(np.arange(length), (before, beyond), mode="reflect" if length > 1 else "edge")
    assert np.array_equal(reflect(np.arange(-before, length + beyond), length), padded)


def test_a_tile_past_the_edge_shows_rows_of_the_strip_above():
    grid = TileGrid(height=257, width=256, overlap=0)
    assert grid.source_rows(Strip(first=1, last=2))[:3].tolist() == [256, 255, 254]


@pytest.mark.parametrize("overlap", [-1, 129])
def test_an_overlap_that_does_not_fit_is_refused(overlap):
    with pytest.raises(OptionError, match="expected 0 to 128"):
        TileGrid(height=10, width=10, overlap=overlap)


def test_an_empty_scene_is_refused():
    with pytest.raises(OptionError, match="has no tiles"):
        TileGrid(height=0, width=10)
