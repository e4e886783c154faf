"""Laws of pixels brought to another size: exact by any window, nothing invalid in the sums."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geop2p.resampling import Axis, resampled

LENGTHS = st.integers(1, 60)


def brought(pixels, valid, size, *, rows=None, cols=None):
    """Bring an array to another size, or a window of the result."""
    axes = [Axis(*pair) for pair in zip(valid.shape, size, strict=True)]
    wanted = rows or (0, size[0]), cols or (0, size[1])
    spans = [axis.span(span) for axis, span in zip(axes, wanted, strict=True)]
    inside = tuple(slice(*span) for span in spans)
    return resampled(
        pixels[:, *inside],
        valid[inside],
        rows=(axes[0], wanted[0], spans[0][0]),
        cols=(axes[1], wanted[1], spans[1][0]),
    )


def dense(axis):
    """The weights of an axis as a matrix, made of integrals over pixels or of a hat function."""
    made = np.zeros((axis.size, axis.length))
    for i in range(axis.size):
        low, high = i * axis.length / axis.size, (i + 1) * axis.length / axis.size
        for j in range(axis.length):
            if axis.length > axis.size:
                made[i, j] = max(0, min(high, j + 1) - max(low, j)) / (high - low)
            else:
                centre = np.clip((low + high) / 2 - 0.5, 0, axis.length - 1)
                made[i, j] = max(0, 1 - abs(centre - j))
    return made


@given(LENGTHS, LENGTHS)
def test_weights_are_shares_that_sum_to_one(length, size):
    used, weights = Axis(length, size).weights((0, size))
    assert used.min() >= 0
    assert used.max() < length
    assert weights.min() >= 0
    assert np.allclose(weights.sum(axis=1), 1, rtol=0, atol=1e-12)


@given(LENGTHS, LENGTHS)
def test_weights_are_areas_or_lie_on_lines_between_centres(length, size):
    axis = Axis(length, size)
    used, weights = axis.weights((0, size))
    made = np.zeros((size, length))
    np.add.at(made, (np.arange(size)[:, None], used), weights)
    assert np.allclose(made, dense(axis), rtol=0, atol=1e-9)


@given(st.data())
def test_a_window_is_that_of_the_whole_to_the_last_bit(data):
    height, width, rows, cols = (data.draw(LENGTHS) for _ in range(4))
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    dtype = data.draw(st.sampled_from(["uint8", "int16", "float32", "float64", "int32"]))
    pixels = random.normal(0, 100, (2, height, width)).astype(dtype)
    valid = random.random((height, width)) < data.draw(st.sampled_from([0.3, 0.98, 1.1]))
    whole, mask = brought(pixels, valid, (rows, cols))
    top, left = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, cols - 1))
    bottom, right = data.draw(st.integers(top + 1, rows)), data.draw(st.integers(left + 1, cols))
    part, part_mask = brought(pixels, valid, (rows, cols), rows=(top, bottom), cols=(left, right))
    assert part.tobytes() == whole[:, top:bottom, left:right].tobytes()
    assert np.array_equal(part_mask, mask[top:bottom, left:right])


@given(st.data())
def test_what_is_invalid_never_shows(data):
    height, width, rows, cols = (data.draw(LENGTHS) for _ in range(4))
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    pixels = random.normal(0, 100, (1, height, width)).astype("float32")
    valid = random.random((height, width)) < 0.7
    other = np.where(valid, pixels, np.float32(np.nan))
    found, mask = brought(pixels, valid, (rows, cols))
    again, same = brought(other, valid, (rows, cols))
    assert np.array_equal(found, again)
    assert np.array_equal(mask, same)
    if valid.any():
        assert found[:, mask].min(initial=0) >= min(0, pixels[:, valid].min()) - 1e-3
        assert found[:, mask].max(initial=0) <= max(0, pixels[:, valid].max()) + 1e-3


@given(st.data())
def test_a_valid_pixel_has_a_value_again_after_the_way_back(data):
    height, width, rows, cols = (data.draw(LENGTHS) for _ in range(4))
    valid = np.random.default_rng(data.draw(st.integers(0, 99))).random((height, width)) < 0.2
    pixels = np.full((1, height, width), 7, np.uint8)
    there, mask = brought(pixels, valid, (rows, cols))
    back, known = brought(there, mask, (height, width))
    assert known[valid].all()
    assert (back[:, valid] == 7).all()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int32", "uint64", "int64"])
def test_no_value_leaves_its_type(dtype):
    limits = np.iinfo(dtype)
    pixels = np.array([[[limits.min, limits.max, limits.max]] * 3], dtype)
    for size in ((2, 2), (7, 5), (3, 3)):
        found, _ = brought(pixels, np.ones((3, 3), bool), size)
        assert found.dtype == dtype
        assert found.min() == limits.min or size == (2, 2)
        assert found.max() >= limits.max - (limits.max >> 40)


def test_the_same_size_is_the_same_picture():
    pixels = np.random.default_rng(0).normal(size=(2, 9, 11))
    found, _ = brought(pixels, np.ones((9, 11), bool), (9, 11))
    assert np.array_equal(found, pixels)


def test_an_average_counts_parts_of_pixels():
    pixels = np.array([[[10.0, 20.0, 40.0]]])
    found, _ = brought(pixels, np.ones((1, 3), bool), (1, 2))
    assert np.allclose(found, [[[(10 + 10) / 1.5, (10 + 40) / 1.5]]])


def test_a_slope_stays_a_slope():
    pixels = np.arange(20, dtype=np.float64).reshape(1, 1, 20)
    found, _ = brought(pixels, np.ones((1, 20), bool), (1, 80))
    assert np.allclose(np.diff(found[0, 0, 4:-4]), 0.25)
    assert np.isclose(found[0, 0, 4:-4].mean(), 9.5)
