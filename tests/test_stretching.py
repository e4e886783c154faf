"""What a device does to values is what `geop2p.radiometry` says, to the last bit."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scenes import noise

from geop2p.radiometry import MapValues, Stretch
from geop2p.stretching import MapDrawing, UnitScale, map_dtype

CPU = torch.device("cpu")
DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]
DTYPES += ["float32", "float64"]
RANGES = st.tuples(st.floats(-1e5, 1e5), st.floats(1e-3, 1e5)).map(lambda x: (x[0], x[0] + x[1]))


def interleaved(planes):
    """(h, w * C) Tensor of (C, h, w)."""
    return torch.from_numpy(np.ascontiguousarray(planes.transpose(1, 2, 0))).flatten(1)


@pytest.mark.parametrize("dtype", DTYPES)
@given(st.lists(RANGES, min_size=1, max_size=3))
def test_units_are_those_of_the_stretch(dtype, ranges):
    stretch = Stretch(*zip(*ranges, strict=True))
    pixels = noise(len(ranges), 8, 32, dtype=dtype)
    scale = UnitScale(stretch, dtype, pixels=32, device=CPU)
    found = scale(interleaved(pixels))
    assert torch.equal(found, interleaved(stretch.to_unit(pixels)))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
def test_units_of_every_value_of_the_whole_range_are_those_of_the_stretch(dtype):
    stretch = Stretch.of_dtype(dtype, 1)
    limits = np.iinfo(dtype)
    values = np.arange(limits.min, int(limits.max) + 1).astype(dtype).reshape(1, -1, 16)
    found = UnitScale(stretch, dtype, pixels=16, device=CPU)(interleaved(values))
    assert torch.equal(found, interleaved(stretch.to_unit(values)))


@pytest.mark.parametrize("ends", [(-1e308, 1e308), (0.0, 1e-300)])
def test_units_of_extreme_ranges_are_those_of_the_stretch(ends):
    values = np.outer(ends, np.linspace(0, 1, 32)).reshape(1, 4, 16)
    stretch = Stretch((ends[0],), (ends[1],))
    found = UnitScale(stretch, "float64", pixels=16, device=CPU)(interleaved(values))
    assert torch.equal(found, interleaved(stretch.to_unit(values)))


def test_native_values_are_left_as_they_were():
    native = torch.tensor([[0.5, 2.0]], dtype=torch.float64)
    UnitScale(Stretch((0.0,), (1.0,)), "float64", pixels=2, device=CPU)(native)
    assert native.tolist() == [[0.5, 2.0]]


@pytest.mark.parametrize("has_nodata", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@given(st.lists(RANGES, min_size=1, max_size=3), st.booleans())
def test_a_map_is_drawn_as_by_numpy(dtype, has_nodata, ranges, is_masked):
    random = np.random.default_rng(len(ranges))
    unit = random.uniform(-1.2, 1.2, (len(ranges), 8, 32)).astype(np.float32)
    valid = random.random((8, 32)) < 0.7 if is_masked else np.ones((8, 32), bool)
    stretch = Stretch(*zip(*ranges, strict=True))
    some = stretch.from_unit(unit, dtype)[0, 0, 0]  # a value that is drawn
    values = MapValues(dtype=dtype, stretch=stretch, nodata=float(some) if has_nodata else None)
    drawing = MapDrawing(values, bands=len(ranges), pixels=32, device=CPU)
    into = torch.empty(unit.shape, dtype=map_dtype(dtype))
    mask = torch.from_numpy(valid) if is_masked else None
    drawing.draw(interleaved(unit).clone(), mask, into=into)
    assert np.array_equal(into.numpy(), values.draw(unit, valid))
