import math

import numpy as np
import pytest
import torch

from geop2p.card import Scaling
from geop2p.metrics import MOST_PSNR_DB, Scorer, class_scores, mean_picture
from geop2p.palette import MapClass, Palette

LAND, WATER, CLOUD = (
    MapClass(index=1, name="land", colour=(240, 240, 240)),
    MapClass(index=2, name="water", colour=(0, 0, 250)),
    MapClass(index=7, name="cloud", colour=(9, 9, 9), is_scored=False),
)
PALETTE = Palette((LAND, WATER, CLOUD))


def picture(left, right):
    drawn = torch.empty(1, 3, 16, 16)
    drawn[..., :8] = torch.tensor(left.colour).reshape(1, 3, 1, 1).float()
    drawn[..., 8:] = torch.tensor(right.colour).reshape(1, 3, 1, 1).float()
    return drawn


def test_equal_maps_have_the_best_scores():
    scorer = Scorer(Scaling(), palette=PALETTE)
    scorer.add(picture(LAND, WATER), picture(LAND, WATER))
    scores = scorer.scores()
    assert (scores["l1"], scores["psnr_db"]) == (0, MOST_PSNR_DB)
    assert scores["ssim"] == pytest.approx(1, abs=1e-3)
    assert (scores["accuracy"], scores["mean_iou"]) == (1, 1)


@pytest.mark.parametrize("span", [255.0, 1000.0])
def test_psnr_and_l1_are_those_of_their_definitions(span):
    scorer = Scorer(Scaling(dtype="uint16", low=0, high=span))
    scorer.add(torch.full((2, 1, 16, 16), 30.0), torch.full((2, 1, 16, 16), 20.0))
    assert scorer.scores()["l1"] == 10
    assert scorer.scores()["psnr_db"] == pytest.approx(20 * math.log10(span / 10), abs=1e-3)


def test_scores_do_not_depend_on_batches():
    random = torch.Generator().manual_seed(0)
    made, real = torch.randint(0, 256, (2, 6, 3, 16, 16), generator=random).float()
    whole, parts = Scorer(Scaling()), Scorer(Scaling())
    whole.add(made, real)
    for first in range(0, 6, 2):
        parts.add(made[first : first + 2], real[first : first + 2])
    assert whole.scores() == pytest.approx(parts.scores(), abs=2e-4)


def test_classes_are_those_of_the_nearest_colours():
    scorer = Scorer(Scaling(), palette=PALETTE)
    scorer.add(picture(LAND, LAND) - 7, picture(LAND, WATER))
    classes = scorer.scores()["classes"]
    assert classes["land"] == {"accuracy": 1, "iou": 0.5}
    assert classes["water"] == {"accuracy": 0, "iou": 0}
    assert scorer.scores()["accuracy"] == 0.5


def test_classes_that_are_not_scored_are_left_out():
    scorer = Scorer(Scaling(), palette=PALETTE)
    scorer.add(picture(WATER, WATER), picture(WATER, CLOUD))
    scores = scorer.scores()
    assert scores["accuracy"] == 1
    assert "cloud" not in scores["classes"]


def test_a_class_that_never_occurs_has_no_score():
    confusion = np.zeros((256, 256), np.int64)
    confusion[1, 1] = 5
    scores = class_scores(confusion, PALETTE)
    assert scores["classes"]["water"] == {"accuracy": None, "iou": None}
    assert scores["mean_iou"] == 1


def test_the_mean_picture_has_one_colour():
    mean = mean_picture(torch.cat([picture(LAND, LAND), picture(WATER, WATER)]))
    assert mean.shape == (2, 3, 16, 16)
    assert mean[1, :, 3, 4].tolist() == [120, 120, 245]
