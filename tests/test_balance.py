import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geop2p.balance import balanced_chances, chosen_order
from geop2p.errors import OptionError
from geop2p.palette import Palette
from geop2p.pipelines.balancing import class_shares

PALETTE = Palette.from_list(
    [
        {"index": 0, "name": "none", "colour": "#000000", "scored": False},
        {"index": 3, "name": "land", "colour": "#FFFFFF"},
        {"index": 7, "name": "road", "colour": "#FF0000"},
    ]
)
# nine pairs of the first class, one that is half of the second, a third class that is nowhere
SHARES = np.array([[1.0, 0.0, 0.0]] * 9 + [[0.5, 0.5, 0.0]])


def counts(draws, pairs):
    return np.bincount([draw.pair for draw in draws], minlength=pairs)


def test_a_pair_that_holds_a_rare_class_alone_gets_what_the_class_weighs():
    chances = balanced_chances(SHARES)
    even, common = 1 / 10, 1 / 9.5
    assert chances[:9] == pytest.approx([even / 2 + common / 4] * 9)
    assert chances[9] == pytest.approx(even / 2 + (0.5 / 9.5 + 1) / 4)


@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=20))
def test_chances_sum_to_one_and_no_pair_has_less_than_half_its_even_one(shares):
    chances = balanced_chances(np.array(shares))
    assert chances.sum() == pytest.approx(1)
    assert chances.min() >= 0.499 / len(shares)


def test_pairs_come_as_often_as_their_chances_say():
    chances = balanced_chances(SHARES)
    found = [counts(chosen_order(chances, key=(1, 0, epoch)), 10) for epoch in range(400)]
    assert np.mean(found, axis=0) == pytest.approx(10 * chances, abs=0.1)
    assert (np.abs(np.array(found) - 10 * chances) < 1).all()


def test_an_epoch_is_as_long_as_ever_and_depends_on_its_key_alone():
    chances = balanced_chances(SHARES)
    first, again, other = (chosen_order(chances, key=(1, 5, epoch)) for epoch in (2, 2, 3))
    assert first == again != other
    assert len(first) == 10
    assert len(set(first)) == 10  # a pair that comes again is told from the first time


def test_shares_of_a_hand_made_map():
    drawn = np.full((3, 8, 8), 255, np.uint8)
    drawn[1:, :4] = 10  # nearly the road's red
    drawn[:, 4:, :4] = 0  # not scored
    assert class_shares(drawn, PALETTE).tolist() == [0.25, 0.5]


def test_maps_without_colours_are_refused():
    with pytest.raises(OptionError, match="red, green and blue in uint8"):
        class_shares(np.zeros((1, 8, 8), np.uint8), PALETTE)
