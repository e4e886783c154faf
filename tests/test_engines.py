"""Engines: the reference keeps its bits, the others draw what it draws, or give way to it."""

import copy
import logging

import pytest
import torch
from architecture import ROOT
from PIL import Image
from torch import nn

from geop2p.engines import choice, runner
from geop2p.engines import packed as packed_module
from geop2p.engines.choice import CPU_BATCH, Engine, Fitness, choose_engine
from geop2p.engines.doubling import as_convolution, woven
from geop2p.engines.folding import folded
from geop2p.engines.layers import layers_of
from geop2p.errors import OptionError
from geop2p.generator import ReadyGenerator, torch_left_alone
from geop2p.model import load_model
from geop2p.networks import GeneratorConfig, build_generator, initialise

GREY_LEVEL = 2 / 255
CONFIGS = {
    "U-Net": GeneratorConfig(ngf=8, max_channels=32),
    "U-Net of 7 levels, one band": GeneratorConfig(arch="unet_128", ngf=8, in_bands=1, out_bands=1),
    "U-Net, many bands": GeneratorConfig(ngf=8, max_channels=16, out_bands=12),
    "U-Net, instance norm": GeneratorConfig(ngf=8, max_channels=32, norm="instance"),
    "ResNet": GeneratorConfig(arch="resnet_6blocks", ngf=8),
    "ResNet, instance norm": GeneratorConfig(arch="resnet_9blocks", ngf=4, norm="instance"),
}


@pytest.fixture(autouse=True)
def threads_left_alone():
    with torch_left_alone():
        yield


@pytest.fixture(scope="module")
def tiles():
    """Four tiles of a sample scene, float32 in [-1, 1]."""
    with Image.open(ROOT / "sample_tiles" / "dubai" / "scene3_part.jpg") as picture:
        pixels = torch.frombuffer(bytearray(picture.convert("RGB").tobytes()), dtype=torch.uint8)
        scene = pixels.view(picture.height, picture.width, 3).permute(2, 0, 1)
    corners = [(0, 0), (0, 192), (192, 0), (192, 192)]
    cut = torch.stack([scene[:, row : row + 256, col : col + 256] for row, col in corners])
    return cut.float() / 127.5 - 1


def network(config, *, seed=0):
    """Return a generator with batch norms that have seen something."""
    built = build_generator(config)
    initialise(built, seed=seed, std=0.05)
    random = torch.Generator().manual_seed(seed)
    for module in built.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.5, generator=random)
            module.running_var.uniform_(0.5, 2, generator=random)
            module.bias.data.normal_(0, 0.5, generator=random)
    return built


def drawn(built, tiles, *, name="torch", precision="fp32"):
    engine = Engine(name=name, precision=precision, threads=2)
    return ReadyGenerator(built, engine)(tiles)


def grey_levels(picture):
    return ((picture + 1) * 127.5).round()


@torch.inference_mode()
def plainly(built, tiles):
    """Return what the module itself makes of groups of four, channels last, in evaluation mode."""
    plain = copy.deepcopy(built).eval().to(memory_format=torch.channels_last)
    torch.set_num_threads(2)
    groups = tiles.split(CPU_BATCH)
    return torch.cat([plain(each.contiguous(memory_format=torch.channels_last)) for each in groups])


def test_the_reference_keeps_the_bits_of_the_plain_module(tiles):
    built = load_model("streets").generator
    assert torch.equal(drawn(built, tiles), plainly(built, tiles))


@pytest.mark.parametrize("config", ["U-Net", "ResNet, instance norm"])
def test_the_reference_keeps_its_bits_for_other_networks_and_short_groups(config, tiles):
    built = network(CONFIGS[config])
    picture = drawn(built, tiles[:3])
    assert torch.equal(picture, plainly(built, torch.cat([tiles[:3], 0 * tiles[:1]]))[:3])


def test_packed_draws_the_bundled_model_within_one_grey_level_and_few_pixels_differ(tiles, caplog):
    built = load_model("streets").generator
    expected, picture = drawn(built, tiles), drawn(built, tiles, name="packed")
    apart = (grey_levels(picture) - grey_levels(expected)).abs()
    assert caplog.text == ""
    assert apart.max() <= 1
    assert (apart > 0).float().mean() < 1e-3
    assert (picture - expected).abs().max() < GREY_LEVEL / 100


@pytest.mark.parametrize("config", CONFIGS)
def test_packed_draws_every_kind_of_generator(config, tiles, caplog):
    built = network(CONFIGS[config])
    scenes = tiles[:, : CONFIGS[config].in_bands]
    expected, picture = drawn(built, scenes), drawn(built, scenes, name="packed")
    assert caplog.text == ""
    assert expected.std() > 0.02
    assert (picture - expected).abs().max() < GREY_LEVEL / 4


def test_packed_draws_short_groups_and_does_not_change_the_network(tiles):
    built = network(CONFIGS["U-Net"]).train()
    before = copy.deepcopy(built.state_dict())
    run = ReadyGenerator(built, Engine(name="packed", threads=2))
    assert torch.equal(run(tiles[:1]), run(tiles)[:1])
    assert built.training
    assert all(torch.equal(before[name], value) for name, value in built.state_dict().items())


@pytest.mark.parametrize("name", ["torch", "packed"])
def test_a_network_that_nobody_else_needs_is_used_up_and_draws_the_same(name, tiles):
    engine, kept = Engine(name=name, threads=2), network(CONFIGS["U-Net"])
    given = copy.deepcopy(kept)
    run = ReadyGenerator(given, engine, remake=lambda: copy.deepcopy(kept))
    assert torch.equal(run(tiles), ReadyGenerator(kept, engine)(tiles))
    left = sum(module.weight is not None for module in given.modules() if hasattr(module, "stride"))
    assert left == (0 if name == "packed" else 16)


def test_a_used_up_network_is_made_again_for_the_reference(tiles, monkeypatch, caplog):
    kept = network(CONFIGS["U-Net"])

    def fails_at_the_end(built, shape):
        packed_module.packed(built, shape)
        raise RuntimeError("no more")

    monkeypatch.setitem(runner.MAKERS, "packed", fails_at_the_end)
    engine = Engine(name="packed", threads=2)
    run = ReadyGenerator(copy.deepcopy(kept), engine, remake=lambda: kept)
    assert torch.equal(run(tiles), drawn(kept, tiles))
    assert "no more; the torch engine is used" in caplog.text


def test_a_foreign_module_is_run_by_the_reference_and_told_of_once(tiles, caplog):
    run = ReadyGenerator(nn.Conv2d(3, 3, 3, padding=1), Engine(name="packed"))
    assert run(tiles).shape == run(tiles).shape == tiles.shape
    (record,) = caplog.records
    assert "Conv2d is neither a U-Net nor a ResNet" in record.getMessage()
    assert "the torch engine is used" in record.getMessage()


def test_operators_that_draw_something_else_give_way_to_the_reference(tiles, caplog, monkeypatch):
    built = network(CONFIGS["U-Net"])
    monkeypatch.setitem(runner.MAKERS, "packed", lambda *_: lambda x: x * 0)
    assert torch.equal(drawn(built, tiles, name="packed"), drawn(built, tiles))
    (record,) = caplog.records
    assert "its picture is off by up to" in record.getMessage()


def test_operators_that_are_missing_give_way_to_the_reference(tiles, caplog, monkeypatch):
    built = network(CONFIGS["U-Net"])

    def missing(*_):
        raise AttributeError("no attribute '_convolution_pointwise'\nand more")

    monkeypatch.setattr(packed_module, "_ordinary", missing)
    assert torch.equal(drawn(built, tiles, name="packed"), drawn(built, tiles))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "\n" not in record.getMessage()


def test_the_number_of_threads_is_given_back(tiles):
    before = torch.get_num_threads()
    with torch_left_alone():
        ReadyGenerator(network(CONFIGS["U-Net"]), Engine(name="packed", threads=before + 1))
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


@torch.inference_mode()
def test_a_folded_network_has_no_batch_norms_and_draws_the_same(tiles):
    built = network(CONFIGS["ResNet"]).eval()
    bare = folded(built)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in bare.modules())
    assert dict(bare.named_modules()).keys() == dict(built.named_modules()).keys()
    assert torch.allclose(bare(tiles), built(tiles), rtol=0, atol=1e-5)


def test_norms_that_are_no_batch_norms_are_left_alone():
    bare = folded(network(CONFIGS["U-Net, instance norm"]))
    assert sum(isinstance(module, nn.InstanceNorm2d) for module in bare.modules()) == 13


def test_every_convolution_is_a_layer_once():
    for config in CONFIGS.values():
        built = build_generator(config)
        layers = layers_of(built)
        groups = [getattr(layers, name) for name in layers.__slots__]
        flat = [each for group in groups for item in group for each in _several(item)]
        convolutions = [m for m in built.modules() if hasattr(m, "kernel_size")]
        assert [layer.conv for layer in flat] == convolutions


def _several(item):
    return item if isinstance(item, tuple) else (item,)


def test_a_network_of_ours_with_a_module_of_somebody_elses_is_refused():
    built = network(CONFIGS["U-Net"])
    built.encoder[1][0] = nn.GELU()
    with pytest.raises(TypeError, match="GELU where a convolution was expected"):
        layers_of(built)


def test_a_doubling_convolution_is_four_woven_phases():
    double = nn.ConvTranspose2d(5, 3, 4, stride=2, padding=1)
    pictures = torch.randn(2, 5, 7, 9, generator=torch.Generator().manual_seed(0))
    phased = nn.functional.conv2d(
        pictures, as_convolution(double.weight), double.bias.repeat(4), padding=1
    )
    assert torch.allclose(woven(phased), double(pictures), atol=1e-5)


FIT = Fitness(is_packable=True, int8_fault=None, is_int8_close=True)
CHOICES = [
    ({}, Fitness(), "cpu torch fp32"),
    ({}, Fitness(is_packable=True), "cpu packed fp32"),
    ({}, FIT, "cpu packed int8"),
    ({}, Fitness(is_packable=True, int8_fault="no", is_int8_close=True), "cpu packed fp32"),
    ({"precision": "fp32"}, FIT, "cpu packed fp32"),
    ({"precision": "bf16"}, FIT, "cpu torch bf16"),
    ({"name": "torch"}, FIT, "cpu torch fp32"),
    ({"name": "packed"}, FIT, "cpu packed fp32"),
    ({"name": "packed", "precision": "int8"}, FIT, "cpu packed int8"),
    ({"precision": "int8"}, Fitness(int8_fault=None), "cpu torch int8"),
]


@pytest.mark.parametrize(("asked", "fitness", "expected"), CHOICES)
def test_what_is_left_open_is_settled_by_what_the_generator_can(asked, fitness, expected):
    assert choose_engine(device="cpu", threads=1, fitness=fitness, **asked).label == expected


@pytest.mark.parametrize(("knows", "lines"), [(False, 1), (True, 0)])
def test_bf16_on_a_processor_without_it_is_warned_of_once(knows, lines, monkeypatch, caplog):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: knows, raising=False)
    monkeypatch.setattr(choice.platform, "machine", lambda: "x86_64")
    choice._warn_of_bf16.cache_clear()
    for _ in range(2):
        choose_engine(device="cpu", threads=1, precision="bf16")
    choice._warn_of_bf16.cache_clear()
    assert len(caplog.records) == lines


REFUSED = [
    ({"name": "torch", "precision": "int8"}, "engine torch and precision int8"),
    ({"name": "packed", "precision": "bf16"}, "engine packed and precision bf16"),
    ({"device": "cuda", "name": "packed"}, "engine packed on cuda"),
    ({"device": "cuda", "precision": "int8"}, "precision int8 on cuda"),
    ({"device": "cuda", "precision": "bf16"}, "precision bf16 on cuda, a GPU without"),
]


@pytest.mark.parametrize(("asked", "message"), REFUSED)
def test_what_does_not_go_together_is_refused(asked, message, monkeypatch):
    monkeypatch.setattr("geop2p.engines.choice.choose_device", lambda device: device)
    monkeypatch.setattr("geop2p.engines.choice.has_bf16", lambda _device: False)
    with pytest.raises(OptionError, match=message):
        choose_engine(**{"device": "cpu", "threads": 1, "fitness": FIT} | asked)


def test_int8_without_what_it_needs_is_refused_with_the_remedy():
    with pytest.raises(OptionError, match="not quantised"):
        choose_engine(
            device="cpu", threads=1, precision="int8", fitness=Fitness(int8_fault="not quantised")
        )
