import math

import numpy as np
import pytest
from scenes import landscape

from geop2p.card import Scaling
from geop2p.metrics import MOST_PSNR_DB
from geop2p.palette import MapClass, Palette
from geop2p.scores import Counter, Patch, figures, nested, picture_row, plain
from geop2p.similarity import scale_count

LAND, WATER, CLOUD = (
    MapClass(index=1, name="land", colour=(240, 240, 240)),
    MapClass(index=2, name="water", colour=(0, 0, 250)),
    MapClass(index=7, name="cloud", colour=(9, 9, 9), is_scored=False),
)
PALETTE = Palette((LAND, WATER, CLOUD))


def drawn(classes):
    return PALETTE.draw(np.asarray(classes, np.uint8))


def row_of(made, real, *, palette=PALETTE, valid=None, classes=None, scaling=None):
    height, width = made.shape[1:]
    counter = Counter(scaling or Scaling(), palette=palette, scales=scale_count(height, width))
    valid = np.ones((height, width), bool) if valid is None else valid
    patch = Patch(
        made=made, real=real, valid=valid, classes=classes, rows=(0, height), cols=(0, width)
    )
    return counter.count(patch)


def scores_of(*rows, palette=PALETTE, scaling=None):
    total = np.sum(rows, axis=0)[None]
    found = figures(total, scaling=scaling or Scaling(), palette=palette)
    return {name: float(values[0]) for name, values in found.items()}


def test_a_perfect_map_scores_perfect():
    classes = landscape(1, 200, 200)[0] % 2 + 1
    scores = scores_of(row_of(drawn(classes), drawn(classes)))
    assert (scores["l1"], scores["rmse"], scores["psnr_db"]) == (0, 0, MOST_PSNR_DB)
    for name in ("accuracy", "mean_iou", "mean_f1", "within_5", "iou/land", "f1/water"):
        assert scores[name] == 1
    assert scores["ssim"] == pytest.approx(1, abs=1e-4)
    assert scores["ms_ssim"] == pytest.approx(1, abs=1e-4)


def test_differences_are_those_counted_by_hand():
    real = np.full((1, 2, 2), 100, np.uint8)
    made = np.array([[[100, 105], [110, 111]]], np.uint8)
    scores = scores_of(row_of(made, real, palette=None), palette=None)
    assert scores["l1"] == (0 + 5 + 10 + 11) / 4
    assert scores["rmse"] == pytest.approx(math.sqrt((25 + 100 + 121) / 4))
    assert scores["psnr_db"] == pytest.approx(20 * math.log10(255 / scores["rmse"]))
    assert (scores["within_5"], scores["within_10"]) == (0.5, 0.75)
    assert math.isnan(scores["ssim"])


def test_a_pixel_is_near_when_all_of_its_bands_are():
    real = np.zeros((2, 1, 2), np.uint8)
    made = np.array([[[5, 5]], [[5, 6]]], np.uint8)
    assert scores_of(row_of(made, real, palette=None), palette=None)["within_5"] == 0.5


def test_grey_levels_are_255ths_of_the_range():
    scaling = Scaling(dtype="uint16", low=0, high=2550)
    real, made = np.zeros((1, 1, 2), np.uint16), np.array([[[50, 51]]], np.uint16)
    row = row_of(made, real, palette=None, scaling=scaling)
    assert scores_of(row, palette=None, scaling=scaling)["within_5"] == 0.5


def test_classes_are_those_of_the_nearest_colours():
    truth = np.array([[1, 1, 1, 2]])
    made = np.clip(drawn([[1, 1, 2, 2]]).astype(int) - 7, 0, 255).astype(np.uint8)
    scores = scores_of(row_of(made, drawn(truth)))
    assert scores["accuracy"] == 0.75
    assert (scores["accuracy/land"], scores["iou/land"]) == (pytest.approx(2 / 3),) * 2
    assert (scores["accuracy/water"], scores["iou/water"]) == (1, 0.5)
    assert (scores["f1/land"], scores["f1/water"]) == (pytest.approx(0.8), pytest.approx(2 / 3))
    assert scores["mean_iou"] == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_swapped_classes_score_nothing():
    scores = scores_of(row_of(drawn([[2, 1]]), drawn([[1, 2]])))
    assert (scores["accuracy"], scores["mean_iou"], scores["mean_f1"]) == (0, 0, 0)


def test_a_class_that_never_occurs_has_no_score():
    scores = scores_of(row_of(drawn([[1, 1]]), drawn([[1, 1]])))
    assert math.isnan(scores["iou/water"])
    assert scores["mean_iou"] == 1


@pytest.mark.parametrize("classes", [None, np.array([[1, 7]], np.uint8)])
def test_unscored_classes_count_in_no_accuracy(classes):
    scores = scores_of(row_of(drawn([[1, 2]]), drawn([[1, 7]]), classes=classes))
    assert scores["accuracy"] == 1
    assert "iou/cloud" not in scores


def test_invalid_pixels_count_in_nothing():
    valid = np.array([[True, False]])
    scores = scores_of(row_of(drawn([[1, 2]]), drawn([[1, 1]]), valid=valid))
    assert (scores["l1"], scores["accuracy"]) == (0, 1)


def test_nothing_to_compare_has_no_scores():
    valid = np.zeros((1, 2), bool)
    scores = scores_of(row_of(drawn([[1, 2]]), drawn([[1, 1]]), valid=valid))
    assert all(math.isnan(value) for value in scores.values())


def test_pictures_count_alike_in_similarity_whatever_their_size():
    small, large = landscape(3, 20, 20), landscape(3, 40, 60, seed=1)
    rows = [
        picture_row(row_of(255 - small, small, palette=None)),
        picture_row(row_of(large, large, palette=None)),
    ]
    alone = [scores_of(row, palette=None)["ssim"] for row in rows]
    assert scores_of(*rows, palette=None)["ssim"] == pytest.approx(sum(alone) / 2)


def test_figures_are_told_rounded_and_classes_by_name():
    flat = {"l1": plain(1.23456), "iou/land": plain(float("nan")), "f1/land": 1.0}
    assert nested(flat) == {"l1": 1.2346, "classes": {"land": {"iou": None, "f1": 1.0}}}
