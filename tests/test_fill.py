"""Collar pixels are filled from the tile's own valid pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geop2p.fill import fill_invalid


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 10**6))
def test_valid_pixels_are_unchanged_and_all_lie_between_them(height, width, seed):
    random = np.random.default_rng(seed)
    picture = random.uniform(-1, 1, (2, height, width)).astype(np.float32)
    valid = random.random((height, width)) < 0.3
    valid[random.integers(height), random.integers(width)] = True
    filled = fill_invalid(np.where(valid, picture, np.float32(-9)), valid)
    assert np.array_equal(filled[:, valid], picture[:, valid])
    for band in range(2):
        known = picture[band][valid]
        assert filled[band].min() >= known.min() - 1e-6
        assert filled[band].max() <= known.max() + 1e-6


def test_a_constant_is_continued_by_itself():
    valid = np.zeros((256, 256), bool)
    valid[:40, :90] = True
    filled = fill_invalid(np.where(valid, np.float32(0.3), np.float32(-1))[np.newaxis], valid)
    assert filled == pytest.approx(np.full((1, 256, 256), 0.3), abs=1e-6)


def test_there_is_no_step_at_the_collar():
    valid = np.zeros((256, 256), bool)
    valid[:, :128] = True
    picture = np.tile(np.linspace(-0.5, 0.5, 256, dtype=np.float32), (1, 256, 1))
    filled = fill_invalid(picture, valid)
    assert np.abs(filled[:, :, 128] - filled[:, :, 127]).max() < 0.02


def test_a_wholly_valid_tile_is_returned_as_it_is():
    picture = np.ones((1, 4, 4), np.float32)
    assert fill_invalid(picture, np.ones((4, 4), bool)) is picture
