import numpy as np
import pytest
import torch
from scenes import landscape, noise
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure as torchmetrics_ms_ssim,
)
from torchmetrics.functional.image import (
    structural_similarity_index_measure as torchmetrics_ssim,
)

from geop2p.card import Scaling
from geop2p.scores import COLUMNS, Counter, Patch, figures
from geop2p.similarity import MARGIN, SCALES, combined, scale_count, similarity

HEIGHT, WIDTH = 273, 531  # the last parts are lower and narrower than a window


@pytest.fixture(scope="module")
def pictures():
    real = landscape(3, HEIGHT, WIDTH)
    made = np.clip(real + noise(3, HEIGHT, WIDTH, dtype="float32") - 50, 0, 255)
    return made.astype(np.uint8), real


def sums(made, real, *, valid=None, rows=(0, HEIGHT), cols=(0, WIDTH)):
    """The sums of a part, given the pixels round it as a scene's evaluation gives them."""
    near = [slice(max(0, a - MARGIN), b + MARGIN) for a, b in (rows, cols)]
    spans = [(a - s.start, b - s.start) for (a, b), s in zip((rows, cols), near, strict=True)]
    valid = np.ones(made.shape[1:], bool) if valid is None else valid
    patch = Patch(
        made=made[:, *near],
        real=real[:, *near],
        valid=valid[*near],
        rows=spans[0],
        cols=spans[1],
        around=((rows[0], HEIGHT - rows[1]), (cols[0], WIDTH - cols[1])),
    )
    return Counter(Scaling(), palette=None, scales=SCALES).count(patch)


def by_parts(made, real, **kwargs):
    rows = [(a, min(a + 256, HEIGHT)) for a in range(0, HEIGHT, 256)]
    cols = [(a, min(a + 256, WIDTH)) for a in range(0, WIDTH, 256)]
    return sum(sums(made, real, rows=r, cols=c, **kwargs) for r in rows for c in cols)


def figures_of(row):
    return {name: v[0] for name, v in figures(row[None], scaling=Scaling(), palette=None).items()}


def test_values_are_those_of_torchmetrics(pictures):
    made, real = (torch.from_numpy(p).float()[None] for p in pictures)
    found = figures_of(sums(*pictures))
    expected = torchmetrics_ssim(made, real, data_range=255.0).item()
    assert found["ssim"] == pytest.approx(expected, abs=1e-5)
    expected = torchmetrics_ms_ssim(made, real, data_range=255.0).item()
    assert found["ms_ssim"] == pytest.approx(expected, abs=1e-5)


def test_a_picture_by_parts_gives_what_the_whole_gives(pictures):
    whole, parts = sums(*pictures), by_parts(*pictures)
    is_count = np.array(["windows" in name or name == "pixels" for name in COLUMNS])
    assert (whole[is_count] == parts[is_count]).all()
    assert figures_of(parts) == pytest.approx(figures_of(whole), abs=1e-6)


def test_windows_with_an_invalid_pixel_are_left_out_whatever_it_holds(pictures):
    made, real = pictures
    valid = np.ones((HEIGHT, WIDTH), bool)
    valid[40:60, 300:420] = False
    other = np.where(valid, made, 255 - made)
    assert (by_parts(made, real, valid=valid) == by_parts(other, real, valid=valid)).all()
    row = sums(made, real, valid=valid)
    assert row[COLUMNS.index("pixels")] == valid.sum()
    assert row[COLUMNS.index("whole_windows")] == valid.size - (20 + 10) * (120 + 10)


def test_equal_pictures_are_wholly_similar_at_each_scale(pictures):
    picture = torch.from_numpy(pictures[1]).float()
    valid = np.ones((HEIGHT, WIDTH), bool)
    part = ((0, HEIGHT), (0, WIDTH))
    for scale in similarity(picture, picture, valid=valid, part=part, span=255.0, scales=SCALES):
        assert scale.whole == pytest.approx(1, abs=1e-3)
        assert scale.structure == pytest.approx(1, abs=1e-3)


def test_the_exponents_of_ms_ssim_sum_to_one():
    assert combined([np.array([0.5])] * SCALES) == pytest.approx(0.5, abs=1e-4)
    assert combined([np.array([-0.5])] * SCALES) == 0


@pytest.mark.parametrize(("side", "scales"), [(10, 0), (11, 1), (175, 1), (176, 5)])
def test_small_pictures_have_fewer_scales(side, scales):
    assert scale_count(side, 1000) == scale_count(1000, side) == scales
