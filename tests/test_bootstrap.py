import numpy as np
import pytest

from geop2p.bootstrap import intervals

ITEMS = 400


def mean_of(values):
    return lambda weights: {"mean": weights @ values / weights.sum(axis=1)}


def test_the_interval_covers_a_known_mean_and_has_the_width_of_theory():
    values = np.random.default_rng(1).normal(3.0, 2.0, ITEMS)
    low, high = intervals(mean_of(values), items=ITEMS, draws=2000)["mean"]
    assert low < 3.0 < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(ITEMS), rel=0.1)


def test_a_paired_difference_is_surer_than_two_means():
    random = np.random.default_rng(2)
    hard = random.normal(0, 10, ITEMS)  # some items are harder, for both
    one, two = hard + 1.0, hard + random.normal(0, 0.5, ITEMS)
    low, high = intervals(mean_of(one - two), items=ITEMS)["mean"]
    assert 0 < low < 1.0 < high
    alone = intervals(mean_of(one), items=ITEMS)["mean"]
    assert high - low < (alone[1] - alone[0]) / 5


def test_intervals_are_those_of_the_seed():
    values = np.arange(50.0)
    found = [intervals(mean_of(values), items=50, seed=seed)["mean"] for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]


def test_each_sample_has_as_many_items_as_there_are():
    seen = []
    intervals(lambda w: {"n": seen.append(w) or w.sum(axis=1)}, items=7, draws=20)
    assert (np.concatenate(seen).sum(axis=1) == 7).all()


def test_one_item_has_an_interval_of_no_width():
    assert intervals(mean_of(np.array([4.0])), items=1)["mean"] == (4, 4)


def test_samples_without_a_figure_are_left_out():
    low, high = intervals(lambda w: {"x": np.full(len(w), np.nan)}, items=3)["x"]
    assert np.isnan([low, high]).all()
