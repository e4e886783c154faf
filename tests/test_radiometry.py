"""Native values to [-1, 1] and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import noise

from geop2p.errors import OptionError
from geop2p.radiometry import (
    MapValues,
    Percentiles,
    Stretch,
    parse_stretch,
    per_band,
    value_of_dtype,
)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
def test_every_value_of_a_small_integer_type_survives(dtype):
    limits = np.iinfo(dtype)
    values = np.arange(limits.min, int(limits.max) + 1).astype(dtype).reshape(1, 1, -1)
    stretch = Stretch.of_dtype(dtype, 1)
    assert np.array_equal(stretch.from_unit(stretch.to_unit(values), dtype), values)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_survive_within_a_millionth_of_the_range(dtype):
    values = noise(2, 30, 30, dtype=dtype)
    stretch = Stretch((-100.0, -50.0), (200.0, 150.0))
    back = stretch.from_unit(stretch.to_unit(values), dtype)
    assert np.abs(back - values).max() <= 1e-6 * 300


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.floats(-1e7, 1e7))
def test_unit_values_lie_in_the_unit_range(low, span, value):
    stretch = Stretch((low,), (low + span,))
    unit = stretch.to_unit(np.array([[[value]]]))
    assert -1 <= unit.item() <= 1


def test_the_way_out_rounds_and_does_not_truncate():
    stretch = Stretch((0.0,), (255.0,))
    unit = np.array([[[0.9999, -0.9999, 0.0]]], np.float32)
    assert stretch.from_unit(unit, "uint8").ravel().tolist() == [255, 0, 128]


def test_values_outside_the_stretch_are_clipped_and_counted():
    pixels = np.array([[[0, 50, 101, 200]]], np.uint8)
    stretch = Stretch((10.0,), (100.0,))
    valid = np.array([[True, True, True, False]])
    assert stretch.count_clipped(pixels, valid) == 2
    assert stretch.to_unit(pixels).ravel()[[0, 2]].tolist() == [-1, 1]


def test_a_constant_band_divides_by_nothing():
    stretch = Percentiles(2, 98).of(np.full((1, 100), 7.0))
    assert stretch.to_unit(np.full((1, 1, 1), 7.0)).item() == -1


def test_a_scene_without_valid_pixels_has_some_stretch():
    assert Percentiles(2, 98).of(np.empty((2, 0))) == Stretch((0.0, 0.0), (1.0, 1.0))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0,3000", (0.0, 3000.0)),
        ("-1.5,2e3", (-1.5, 2000.0)),
        ("1-99%", Percentiles(1, 99)),
        ("auto", Percentiles(2, 98)),
    ],
)
def test_stretches_are_parsed(text, expected):
    assert parse_stretch(text) == expected


@pytest.mark.parametrize("text", ["", "5", "1,2,3", "90-10%", "a,b", "0-101%"])
def test_other_texts_are_no_stretch(text):
    with pytest.raises(OptionError, match="stretch"):
        parse_stretch(text)


def test_one_range_serves_all_bands_and_two_serve_two():
    assert per_band([(0, 1)], 3) == Stretch((0, 0, 0), (1, 1, 1))
    assert per_band([(0, 1), (2, 3)], 2) == Stretch((0, 2), (1, 3))
    with pytest.raises(OptionError, match="2 stretches for 3 bands"):
        per_band([(0, 1), (2, 3)], 3)


def test_an_empty_range_is_refused():
    with pytest.raises(OptionError, match="MIN must be below MAX"):
        Stretch((5.0,), (5.0,))


@pytest.mark.parametrize(("nodata", "beside"), [(0, 1), (255, 254), (128, 129)])
def test_valid_pixels_never_get_the_nodata_value(nodata, beside):
    values = MapValues(dtype="uint8", stretch=Stretch((0.0,), (255.0,)), nodata=nodata)
    unit = np.full((1, 1, 2), nodata / 127.5 - 1, np.float32)
    drawn = values.draw(unit, np.array([[True, False]]))
    assert drawn.ravel().tolist() == [beside, nodata]


@pytest.mark.parametrize("nodata", [-1, 256, 1.5])
def test_a_nodata_value_outside_the_type_is_refused(nodata):
    with pytest.raises(OptionError, match="whole number from 0 to 255"):
        MapValues(dtype="uint8", stretch=Stretch((0.0,), (255.0,)), nodata=nodata)


EXTREMES = {
    "whole float32": ("float32", (-3.4e38, 3.4e38)),
    "whole float64": ("float64", (-1.7e308, 1.7e308)),
    "large": ("float64", (1.6e308, 1.7e308)),
    "denormal": ("float64", (0.0, 5e-324)),
    "small": ("float64", (1e-300, 3e-300)),
}


@pytest.mark.parametrize("case", EXTREMES)
def test_extreme_ranges_neither_overflow_nor_divide_by_nothing(case):
    dtype, (low, high) = EXTREMES[case]
    stretch = Stretch((low,), (high,))
    values = np.array([[[low, high, np.inf, -np.inf]]], dtype)
    unit = stretch.to_unit(values)
    assert unit.ravel().tolist() == [-1, 1, 1, -1]
    assert stretch.from_unit(unit[..., :2], dtype).ravel().tolist() == values.ravel()[:2].tolist()


CONSTANTS = {"float32": [0.0, 7.0, 1e38, -1e38], "float64": [1.7e308, -1.7e308, 5e-324]}


@pytest.mark.parametrize(
    ("dtype", "constant"), [(dtype, value) for dtype in CONSTANTS for value in CONSTANTS[dtype]]
)
def test_a_constant_of_any_size_has_a_range(dtype, constant):
    value = np.full((1, 1, 9), constant, dtype)
    stretch = Percentiles(2, 98).of(value[0])
    unit = stretch.to_unit(value)
    assert np.isfinite(unit).all()
    assert stretch.from_unit(unit, dtype).ravel()[0] == value.ravel()[0]


def test_percentiles_of_extremes_are_finite():
    values = np.array([[-1.7e308, 0.0, 1.7e308], [1.0, 2.0, 3.0]])
    stretch = Percentiles(0, 100).of(values)
    assert (stretch.low, stretch.high) == ((-1.7e308, 1.0), (1.7e308, 3.0))


@pytest.mark.parametrize("dtype", ["uint8", "int32", "uint32", "int64", "uint64"])
def test_a_stretch_wider_than_the_type_is_clipped_to_it(dtype):
    limits = np.iinfo(dtype)
    stretch = Stretch((-1e300,), (1e300,))
    lowest, _, highest = stretch.from_unit(np.array([[-1, 0, 1]], np.float32), dtype).ravel()
    assert lowest == limits.min
    assert highest > limits.max * 0.999


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (255.0, "uint8", 255),
        (-9999.0, "uint8", None),
        (0.5, "uint8", None),
        (np.nan, "int16", None),
        (np.inf, "int16", None),
        (-9999.0, "int16", -9999),
        (1e39, "float32", None),
        (np.inf, "float32", np.inf),
        (-3.40282347e38, "float32", np.finfo("float32").min),
        (2.0**62, "int64", 2**62),
        (2.0**63, "int64", None),
    ],
)
def test_what_a_type_can_hold_is_known(value, dtype, expected):
    assert value_of_dtype(value, dtype) == expected
    assert np.isnan(value_of_dtype(np.nan, "float32"))


@pytest.mark.parametrize("nodata", [np.nan, np.inf, -9999.0, 1.5, 1e30])
def test_a_nodata_value_that_the_map_cannot_hold_is_refused(nodata):
    with pytest.raises(OptionError, match="is no uint8"):
        MapValues(dtype="uint8", stretch=Stretch((0.0,), (255.0,)), nodata=nodata)


def test_few_bits_have_their_own_range():
    assert Stretch.of_bits(12, 2) == Stretch((0.0, 0.0), (4095.0, 4095.0))


def test_an_endless_stretch_is_refused():
    with pytest.raises(OptionError, match="has no end"):
        Stretch((0.0,), (float("inf"),))
