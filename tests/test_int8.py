"""The int8 engine draws what a float simulation of it draws, and stays near float32."""

import copy
from functools import lru_cache

import numpy as np
import pytest
import rasterio
import torch
from scenes import open_raster
from torch.nn import functional

from geop2p.calibration import METHODS, choose_ranges, observe
from geop2p.engines import quantised
from geop2p.engines.doubling import as_convolution, weave
from geop2p.engines.int8 import Int8Runner, fault_of_int8
from geop2p.engines.quantised import Levels, QuantisedConvolution, store
from geop2p.errors import ModelError
from geop2p.model import load_model
from geop2p.networks import GeneratorConfig, build_generator, initialise

LAST = torch.channels_last
SAMPLE_PSNR_DB = 50.0
"""53 was measured."""
CONFIGS = {
    "unet_128": GeneratorConfig(arch="unet_128", ngf=2, in_bands=4, out_bands=1),
    "resnet_6blocks": GeneratorConfig(arch="resnet_6blocks", ngf=2),
    "resnet without dropout": GeneratorConfig(arch="resnet_6blocks", ngf=8, dropout=False),
}


def levels_of(*shape, seed=0, highest=255):
    random = torch.Generator().manual_seed(seed)
    picture = torch.randint(0, highest + 1, shape, generator=random, dtype=torch.uint8)
    return picture.contiguous(memory_format=LAST)


def network_and_ranges(config):
    """A generator, to be used up, its ranges, and the four tiles that they come from."""
    network, ranges, group = made_once(config)
    return copy.deepcopy(network), ranges, group


@lru_cache
def made_once(config):
    """A generator, its ranges, and the four tiles that they come from."""
    side = 64 if config.arch.startswith("resnet") else 128
    network = build_generator(config)
    initialise(network, seed=0, std=0.05)
    group = torch.rand(4, config.in_bands, side, side, generator=seeded()) * 2 - 1
    histograms = observe(network.eval(), [group])
    return network, choose_ranges(histograms, METHODS["least and most"]), group


def seeded():
    return torch.Generator().manual_seed(0)


def simulated(layer, x):
    """The convolution in float64, with the layer's own integers."""
    stride, padding = layer.geometry
    sums = functional.conv2d(x.double(), layer.weight.double(), None, stride, padding)
    values = sums * layer.scales.double().view(1, -1, 1, 1) + layer.bias.double().view(1, -1, 1, 1)
    return values.round().clamp(0, 255) if layer.has_relu else values


@pytest.mark.parametrize("has_relu", [True, False])
@pytest.mark.parametrize("inner", [3, 4, 6, 32, 64])
def test_a_convolution_is_its_simulation_at_the_highest_levels_too(inner, has_relu):
    random = torch.Generator().manual_seed(inner)
    weight = torch.randn(24, inner, 4, 4, generator=random)
    weight[::2] = weight[::2].abs()  # neighbours of one sign are where 16 bits would overflow
    weight[0] = 1.0
    x = levels_of(2, inner, 16, 16).clamp(min=250)
    layer = QuantisedConvolution(
        weight,
        torch.randn(24, generator=random),
        inputs=torch.linspace(0.01, 0.02, inner),
        geometry=(2, 1),
        outputs=0.2,
        has_relu=has_relu,
    )
    drawn, expected = layer(x).double(), simulated(layer, x)
    if has_relu:  # a tie may fall to the other side
        assert (drawn - expected).abs().max() <= 1
        assert (drawn != expected).float().mean() < 1e-3
    else:
        assert torch.allclose(drawn, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("zero", [0, 77])
def test_the_level_of_zero_is_taken_off_where_the_border_has_it(zero):
    weight, bias = torch.randn(8, 4, 3, 3, generator=seeded()), torch.zeros(8)
    x = torch.full((1, 4, 9, 9), zero, dtype=torch.uint8).contiguous(memory_format=LAST)
    layer = QuantisedConvolution(weight, bias, inputs=torch.ones(4), zero=zero)
    assert layer(x).abs().max() < 1e-3


@pytest.mark.parametrize("side", [3, 4])
def test_a_transposed_convolution_is_a_convolution_woven(side):
    weight, x = torch.randn(5, 3, side, side, generator=seeded()), torch.randn(2, 5, 6, 7)
    expected = functional.conv_transpose2d(x, weight, stride=2, padding=1, output_padding=4 - side)
    phases = functional.conv2d(x, as_convolution(weight), padding=1)
    drawn = torch.empty_like(expected)
    weave(phases.contiguous(memory_format=LAST), into=drawn)
    assert torch.allclose(drawn, expected, atol=1e-5)


def test_values_become_the_nearest_levels():
    values = torch.linspace(-300, 300, 2400).view(1, 4, 24, 25)
    levels, into = Levels.of_range(-1.0, 2.0), torch.empty(1, 4, 24, 25, dtype=torch.uint8)
    expected = (values + levels.zero).round().clamp(0, quantised.MOST_LEVEL)
    store(values.clone(), levels, into=into)
    assert (into.double() - expected).abs().max() <= 0.5 + 1e-6
    assert into.min() == 0
    assert into.max() == quantised.MOST_LEVEL


@pytest.mark.parametrize("limits", [(-1.0, 1.0), (0.0, 3.0), (2.0, 3.0), (-4.0, -1.0), (0.0, 0.0)])
def test_levels_hold_zero_exactly_and_the_whole_range(limits):
    levels = Levels.of_range(*limits)
    lowest = -levels.zero * levels.scale
    highest = (quantised.MOST_LEVEL - levels.zero) * levels.scale
    assert 0 <= levels.zero <= quantised.MOST_LEVEL
    assert lowest <= limits[0] + levels.scale
    assert highest >= limits[1] - levels.scale


@pytest.mark.parametrize("name", CONFIGS)
def test_every_layer_of_a_generator_is_its_simulation(monkeypatch, name):
    network, ranges, group = network_and_ranges(CONFIGS[name])
    drawn_by, seen = QuantisedConvolution.__call__, []

    def compared(layer, x):
        drawn, expected = drawn_by(layer, x), simulated(layer, x)
        unit = 1.0 if layer.has_relu else float(expected.abs().max())
        seen.append(float((drawn.double() - expected).abs().max()) / unit)
        return drawn

    monkeypatch.setattr(QuantisedConvolution, "__call__", compared)
    Int8Runner(network, ranges, 4)(group)
    assert len(seen) == len(ranges)
    assert max(seen) <= 1
    assert sorted(seen)[len(seen) // 2] < 1e-5


@pytest.mark.parametrize("name", CONFIGS)
def test_a_generators_pictures_are_near_those_in_float32(name):
    network, ranges, group = network_and_ranges(CONFIGS[name])
    with torch.no_grad():
        expected = network(group)
    drawn = Int8Runner(network, ranges, 4)(group)
    assert drawn.shape == expected.shape
    assert drawn.dtype == torch.float32
    assert (drawn - expected).square().mean() < 1e-4  # 46 dB; 62 to 68 were measured


@pytest.mark.parametrize("name", ["unet_128", "resnet_6blocks"])
def test_a_tiles_picture_depends_on_nothing_but_the_tile(name):
    network, ranges, group = network_and_ranges(CONFIGS[name])
    runner, order = Int8Runner(network, ranges, 4), torch.tensor([2, 0, 3, 1])
    before, threads = runner(group).clone(), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = runner(group).clone()
        torch.set_num_threads(2)
        assert torch.equal(runner(group), alone)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(before, alone)
    assert torch.equal(runner(group[order]), before[order])
    twins = torch.cat([group[:1], group[:1], group[2:]])
    assert torch.equal(runner(twins)[1], before[0])


def test_tiles_of_another_size_or_number_get_buffers_of_their_own():
    network, ranges, group = network_and_ranges(CONFIGS["unet_128"])
    runner = Int8Runner(network, ranges, 4)
    before = runner(group).clone()
    wide = group.repeat(1, 1, 2, 2)
    assert runner(wide).shape == (4, 1, 256, 256)
    assert torch.equal(runner(group[:1]), before[:1])
    assert torch.equal(runner(group), before)


def test_the_bundled_model_stays_near_float32_on_the_sample():
    model = load_model("streets")
    with open_raster("sample_tiles/dubai/scene3_part.jpg") as scene:
        windows = [rasterio.windows.Window(x, y, 256, 256) for x, y in ((0, 0), (300, 200))]
        native = np.stack([scene.read(window=window) for window in windows])
    tiles = torch.from_numpy(native).float() / 127.5 - 1
    with torch.no_grad():
        expected = model.generator(tiles)
    drawn = Int8Runner(model.generator, model.card.int8.ranges, 2)(tiles)
    off = ((drawn - expected) * 127.5).square().mean()
    assert 10 * torch.log10(255**2 / off) > SAMPLE_PSNR_DB


def test_what_cannot_run_in_8_bits_is_refused():
    config = GeneratorConfig(arch="unet_128", ngf=2, norm="instance")
    assert "norm" in fault_of_int8(build_generator(config))
    assert "generators of geop2p" in fault_of_int8(lambda tiles: tiles)
    with pytest.raises(ModelError, match="precision int8"):
        Int8Runner(build_generator(config), {}, 4)
    with pytest.raises(ModelError, match="ranges do not fit"):
        Int8Runner(build_generator(CONFIGS["unet_128"]), {"encoder.0.0": (-1.0, 1.0)}, 4)
