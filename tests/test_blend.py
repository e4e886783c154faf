"""Tapers sum to exactly 1."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from geop2p.blend import BLENDS, ramp, taper, taper_of
from geop2p.grid import TileGrid

BLEND = st.sampled_from(sorted(BLENDS))


@given(BLEND, st.integers(1, 600), st.integers(0, 128))
def test_weights_sum_to_exactly_one_at_every_pixel(blend, length, overlap):
    grid = TileGrid(height=length, width=length, overlap=overlap)
    for count, span in ((grid.tile_rows, grid.rows), (grid.tile_cols, grid.cols)):
        total = np.zeros(length + 2 * grid.size, np.float32)
        for index in range(count):
            lo, hi = span(index)
            total[lo:hi] += taper_of(grid, blend, index, count=count)
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
