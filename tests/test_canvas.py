"""Sums of tiles do not depend on their order, nor on how they are grouped."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geop2p.blend import BLENDS, EXACT, taper_of
from geop2p.canvas import StripCanvas
from geop2p.cutting import Run
from geop2p.grid import Strip, TileGrid

CPU = torch.device("cpu")


def blended(grid, strip, pictures, *, blend="cosine", runs=None):
    """(K, rows, width): a strip of ``pictures``, (tile rows, tile columns, K, S, S)."""
    bands = pictures.shape[2]
    canvas = StripCanvas(grid, strip, blend=blend, bands=bands, device=CPU)
    rows = []
    for row in range(strip.first, strip.last):
        for first, last in runs or [(0, grid.tile_cols)]:
            part = pictures[row - strip.first, first:last]
            canvas.add(Run(row=row, cols=(first, last)), part)
        rows.append(canvas.finish_row().clone())
    start, stop = grid.painted_rows(strip)
    planes = torch.cat(rows).unflatten(1, (-1, bands)).permute(2, 0, 1)
    return planes[:, : stop - start, : grid.width]


def pictures_of(grid, strip, *, bands=2):
    shape = (strip.last - strip.first, grid.tile_cols, bands, grid.size, grid.size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def summed(grid, strip, pictures, *, blend):
    """The same by plain sums, left + right and then upper + lower."""
    start, stop = grid.painted_rows(strip)
    total = np.zeros((pictures.shape[2], stop - start + 2 * grid.size, grid.width + 2 * grid.size))
    for tile in grid.tiles(strip):
        weights = np.outer(
            taper_of(grid, blend, tile.row, count=grid.tile_rows),
            taper_of(grid, blend, tile.col, count=grid.tile_cols),
        )
        (top, bottom), (left, right) = grid.rows(tile.row), grid.cols(tile.col)
        picture = pictures[tile.row - strip.first, tile.col].numpy()
        total[:, top - start : bottom - start, left:right] += picture * weights
    return torch.from_numpy(total[:, : stop - start, : grid.width])


@pytest.mark.parametrize("blend", sorted(BLENDS))
def test_a_constant_stays_that_constant(blend):
    grid = TileGrid(height=500, width=700, overlap=64)
    strip = Strip(first=0, last=grid.tile_rows)
    constant = torch.full_like(pictures_of(grid, strip), 0.37)
    assert (blended(grid, strip, constant, blend=blend) - 0.37).abs().max() < 1e-7


@given(
    st.sampled_from(sorted(BLENDS)),
    st.integers(1, 200),
    st.integers(1, 200),
    st.integers(0, 16),
    st.data(),
)
def test_a_strip_is_the_weighted_sum_of_its_tiles(blend, height, width, overlap, data):
    grid = TileGrid(height=height, width=width, size=32, overlap=overlap)
    strip = data.draw(st.sampled_from(grid.strips(data.draw(st.integers(1, 4)))))
    pictures = pictures_of(grid, strip)
    found = blended(grid, strip, pictures, blend=blend)
    expected = summed(grid, strip, pictures, blend=blend)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=0)


@given(st.randoms(use_true_random=False), st.sampled_from([0, 5, 16]))
def test_order_and_grouping_within_a_row_do_not_matter(random, overlap):
    grid = TileGrid(height=60, width=250, size=32, overlap=overlap)
    strip = Strip(first=0, last=grid.tile_rows)
    pictures = pictures_of(grid, strip)
    bounds = sorted({0, grid.tile_cols, *random.sample(range(grid.tile_cols), 3)})
    runs = list(pairwise(bounds))
    random.shuffle(runs)
    assert torch.equal(blended(grid, strip, pictures), blended(grid, strip, pictures, runs=runs))


@given(st.integers(1, 200), st.integers(1, 200), st.integers(1, 4))
def test_only_centres_are_used_where_there_is_a_halo(height, width, tile_rows):
    grid = TileGrid(height=height, width=width, size=32, overlap=0, halo=12)
    centres = TileGrid(height=height, width=width, size=32, overlap=0)
    for strip in grid.strips(tile_rows):
        drawn = pictures_of(centres, strip)
        shape = (*drawn.shape[:3], grid.side, grid.side)
        pictures = torch.full(shape, float("nan"))
        pictures[..., 12:-12, 12:-12] = drawn
        found = blended(grid, strip, pictures, blend=EXACT)
        assert torch.equal(found, blended(centres, strip, drawn, blend="cut"))


def test_channels_last_pictures_are_blended_alike():
    grid = TileGrid(height=60, width=150, size=32, overlap=16)
    strip = Strip(first=0, last=1)
    pictures = pictures_of(grid, strip, bands=3)
    last = pictures[0].contiguous(memory_format=torch.channels_last).unsqueeze(0)
    assert torch.equal(blended(grid, strip, pictures), blended(grid, strip, last))


def test_nan_in_any_pixel_of_a_picture_is_seen():
    grid = TileGrid(height=40, width=40, size=32, overlap=16)
    strip = Strip(first=0, last=grid.tile_rows)
    for tile in grid.tiles(strip):
        assert _shows_nan(grid, strip, tile)


def _shows_nan(grid, strip, tile):
    pictures = pictures_of(grid, strip)
    pictures[tile.row, tile.col, 1, 31, 31] = float("nan")
    canvas = StripCanvas(grid, strip, blend="cut", bands=2, device=CPU)
    found = []
    for row in range(grid.tile_rows):
        canvas.add(Run(row=row, cols=(0, grid.tile_cols)), pictures[row])
        found.append(bool(canvas.finish_row().amax().isnan()))
    return any(found)
