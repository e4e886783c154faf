"""Tapers sum to exactly 1, and sums of tiles do not depend on order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geop2p.blend import BLENDS, StripCanvas, col_taper, ramp, row_taper, taper
from geop2p.grid import Strip, Tile, TileGrid

BLEND = st.sampled_from(sorted(BLENDS))


@given(BLEND, st.integers(1, 600), st.integers(0, 128))
def test_weights_sum_to_exactly_one_at_every_pixel(blend, length, overlap):
    grid = TileGrid(height=length, width=length, overlap=overlap)
    for count, weights_of, span in (
        (grid.tile_rows, row_taper, grid.rows),
        (grid.tile_cols, col_taper, grid.cols),
    ):
        total = np.zeros(length + 2 * grid.size, np.float32)
        for index in range(count):
            lo, hi = span(index)
            total[lo:hi] += weights_of(grid, blend, index)
        assert (total[:length] == 1).all()


@given(BLEND, st.integers(0, 128))
def test_weights_lie_in_0_to_1_and_do_not_fall(blend, overlap):
    weights = ramp(blend, overlap)
    assert ((weights >= 0) & (weights <= 1)).all()
    assert (np.diff(weights) >= 0).all()


@given(st.sampled_from(["linear", "cosine"]), st.integers(1, 128))
def test_linear_and_cosine_are_positive_everywhere(blend, overlap):
    weights = taper(blend, size=256, overlap=overlap, fades_in=True, fades_out=True)
    assert weights.min() > 0


def test_a_tile_alone_is_not_tapered():
    weights = taper("cosine", size=256, overlap=64, fades_in=False, fades_out=False)
    assert (weights == 1).all()


def test_cut_takes_each_pixel_from_one_tile():
    assert set(ramp("cut", 64).tolist()) == {0.0, 1.0}
    assert ramp("cut", 64).sum() == 32


@pytest.mark.parametrize("blend", sorted(BLENDS))
def test_a_constant_stays_that_constant(blend):
    grid = TileGrid(height=500, width=700, overlap=64)
    canvas = StripCanvas(grid, Strip(first=0, last=grid.tile_rows), blend=blend, bands=2)
    for tile in grid.tiles(Strip(first=0, last=grid.tile_rows)):
        canvas.add(tile, np.full((2, 256, 256), 0.37, np.float32))
    assert np.abs(canvas.finished() - np.float32(0.37)).max() < 1e-7


@given(st.randoms(use_true_random=False))
def test_the_order_of_tiles_within_a_row_does_not_matter(random):
    grid = TileGrid(height=60, width=150, size=32, overlap=16)
    pictures = np.random.default_rng(1).normal(size=(grid.tile_cols, 1, 32, 32))
    order = list(range(grid.tile_cols))
    results = []
    for _ in range(2):
        canvas = StripCanvas(grid, Strip(first=0, last=1), blend="cosine", bands=1)
        for col in order:
            canvas.add(Tile(row=0, col=col), pictures[col].astype(np.float32))
        results.append(canvas.finished())
        random.shuffle(order)
    assert np.array_equal(*results)
