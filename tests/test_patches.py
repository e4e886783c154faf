import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geop2p.errors import OptionError
from geop2p.patches import (
    STRADDLING,
    TRAIN,
    VAL,
    patch_starts,
    split_by_area,
    touching_groups,
    variety,
)

LENGTHS = st.integers(1, 300)
SIDES = st.integers(1, 80)


def lattice(width, height, *, size, stride, left=0, top=0):
    """Boxes of patches of a scene whose upper left corner is (left, top)."""
    return [
        (left + col, top - row - size, left + col + size, top - row)
        for row in patch_starts(height, size=size, stride=stride)
        for col in patch_starts(width, size=size, stride=stride)
    ]


def overlap(one, other):
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@given(LENGTHS, SIDES, SIDES)
def test_patches_lie_inside_and_the_last_ends_at_the_edge(length, size, stride):
    starts = patch_starts(length, size=size, stride=stride)
    assert all(0 <= start <= length - size for start in starts)
    assert starts == sorted(set(starts))
    assert not starts if length < size else starts[-1] == length - size


@given(LENGTHS, SIDES, st.data())
def test_patches_cover_every_pixel_when_they_are_not_further_apart_than_long(length, size, data):
    stride = data.draw(st.integers(1, size))
    starts = patch_starts(length, size=size, stride=stride)
    covered = {pixel for start in starts for pixel in range(start, start + size)}
    assert not starts or covered == set(range(length))


@given(LENGTHS, LENGTHS, st.integers(16, 60), st.integers(8, 60), st.floats(0, 0.9))
def test_no_patch_that_trains_overlaps_one_that_validates(width, height, size, stride, fraction):
    boxes = lattice(width, height, size=size, stride=stride)
    sides = split_by_area(boxes, fraction=fraction)
    train = [box for box, side in zip(boxes, sides, strict=True) if side == TRAIN]
    val = [box for box, side in zip(boxes, sides, strict=True) if side == VAL]
    assert not any(overlap(one, other) for one in train for other in val)
    assert not boxes or train


@given(st.integers(100, 400), st.integers(100, 400), st.floats(0.01, 0.4))
def test_the_validating_block_holds_at_least_the_fraction(width, height, fraction):
    boxes = lattice(width, height, size=20, stride=20)
    sides = split_by_area(boxes, fraction=fraction)
    assert sides.count(VAL) >= fraction * len(boxes)


def test_the_cut_runs_across_the_longer_side_and_leaves_out_what_straddles_it():
    boxes = lattice(60, 20, size=20, stride=10)
    assert split_by_area(boxes, fraction=0.2) == [TRAIN, TRAIN, TRAIN, STRADDLING, VAL]


def test_overlapping_scenes_of_one_area_are_cut_at_the_same_place():
    boxes = lattice(100, 40, size=20, stride=20) + lattice(100, 40, size=20, stride=20, left=10)
    sides = split_by_area(boxes, fraction=0.2)
    cut = min(box[0] for box, side in zip(boxes, sides, strict=True) if side == VAL)
    assert all(box[2] <= cut for box, side in zip(boxes, sides, strict=True) if side == TRAIN)


def test_patches_that_no_cut_can_part_all_train():
    assert split_by_area([(0, 0, 9, 9)] * 4, fraction=0.5) == [TRAIN] * 4
    assert split_by_area([], fraction=0.5) == []


@pytest.mark.parametrize("fraction", [-0.1, 1.0])
def test_an_impossible_fraction_is_refused(fraction):
    with pytest.raises(OptionError, match="validation fraction"):
        split_by_area([(0, 0, 1, 1)], fraction=fraction)


def test_patches_of_no_size_are_refused():
    with pytest.raises(OptionError, match="at least 1"):
        patch_starts(10, size=4, stride=0)


def test_scenes_group_by_touch_through_others():
    boxes = [(0, 0, 1, 1), (5, 0, 6, 1), (1, 0, 2, 1), (2.5, 0, 3, 1), (9, 9, 10, 10)]
    assert touching_groups(boxes, gap=0.5) == [[0, 2, 3], [1], [4]]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_variety_is_the_share_that_is_not_of_the_most_common_colour(dtype):
    picture = np.zeros((3, 10, 10), dtype)
    assert variety(picture) == 0
    picture[1, :, :3] = 200
    assert variety(picture) == pytest.approx(0.3)


def test_variety_tells_colours_apart_in_every_band():
    picture = np.zeros((4, 2, 2), np.uint8)
    picture[3, 0, 0], picture[2, 0, 1], picture[0, 1, 0] = 255, 255, 255
    assert variety(picture) == 0.75
