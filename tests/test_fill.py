"""Collar pixels are filled from the tile's own valid pixels."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geop2p.fill import fill_invalid


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 10**6))
def test_valid_pixels_are_unchanged_and_all_lie_between_them(height, width, seed):
    random = torch.Generator().manual_seed(seed)
    pictures = torch.rand((2, 2, height, width), generator=random) * 2 - 1
    valid = torch.rand((2, 1, height, width), generator=random) < 0.3
    valid[:, :, seed % height, seed % width] = True
    filled = fill_invalid(pictures.where(valid, -9.0), valid)
    assert torch.equal(filled.where(valid, 0.0), pictures.where(valid, 0.0))
    for number in range(2):
        for band in range(2):
            known = pictures[number, band][valid[number, 0]]
            assert filled[number, band].min() >= known.min() - 1e-6
            assert filled[number, band].max() <= known.max() + 1e-6


def test_a_picture_is_filled_from_itself_alone():
    random = torch.Generator().manual_seed(0)
    pictures = torch.rand((3, 2, 37, 64), generator=random)
    valid = torch.rand((3, 1, 37, 64), generator=random) < 0.1
    filled = fill_invalid(pictures, valid)
    for number in range(3):
        alone = slice(number, number + 1)
        assert torch.equal(fill_invalid(pictures[alone], valid[alone]), filled[alone])


def test_a_constant_is_continued_by_itself():
    valid = torch.zeros((1, 1, 256, 256), dtype=torch.bool)
    valid[..., :40, :90] = True
    filled = fill_invalid(torch.full((1, 1, 256, 256), -1.0).where(~valid, 0.3), valid)
    torch.testing.assert_close(filled, torch.full((1, 1, 256, 256), 0.3), atol=1e-6, rtol=0)


def test_there_is_no_step_at_the_collar():
    valid = torch.zeros((1, 1, 256, 256), dtype=torch.bool)
    valid[..., :128] = True
    filled = fill_invalid(torch.linspace(-0.5, 0.5, 256).expand(1, 1, 256, 256), valid)
    assert (filled[..., 128] - filled[..., 127]).abs().max() < 0.02


@pytest.mark.parametrize("unseen", [float("nan"), float("inf"), 1e30])
def test_what_stands_in_invalid_pixels_is_not_looked_at(unseen):
    valid = torch.ones((1, 1, 8, 8), dtype=torch.bool)
    valid[..., 3:, :5] = False
    pictures = torch.rand((1, 2, 8, 8), generator=torch.Generator().manual_seed(0))
    assert torch.equal(
        fill_invalid(pictures.where(valid, unseen), valid),
        fill_invalid(pictures.where(valid, 0.0), valid),
    )


def test_wholly_valid_pictures_stay_as_they_are():
    pictures = torch.rand((2, 3, 9, 12), generator=torch.Generator().manual_seed(0))
    assert torch.equal(
        fill_invalid(pictures, torch.ones((2, 1, 9, 12), dtype=torch.bool)), pictures
    )
