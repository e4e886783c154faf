"""The networks have the shapes, sizes and fields that the papers give them."""

import pytest
import torch
from torch import nn

from geop2p.errors import ModelError
from geop2p.networks import GENERATORS, GeneratorConfig, build_generator, initialise
from geop2p.upsampling import UPSAMPLINGS


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("arch", GENERATORS)
def test_generators_keep_the_size_and_draw_within_the_unit_range(arch, norm):
    config = GeneratorConfig(arch=arch, in_bands=5, out_bands=2, ngf=4, norm=norm)
    generator = build_generator(config).eval()
    with torch.inference_mode():
        picture = generator(torch.randn(2, 5, 256, 256))
    assert picture.shape == (2, 2, 256, 256)
    assert picture.abs().max() <= 1


def test_unet_128_runs_at_256_with_a_bottleneck_of_four_pixels():
    generator = build_generator(GeneratorConfig(arch="unet_128", ngf=2)).eval()
    assert len(generator.encoder) == 7
    assert generator.body(torch.zeros(1, 3, 256, 256)).shape == (1, 4, 128, 128)


@pytest.mark.parametrize(
    ("config", "millions"),
    [
        (GeneratorConfig(arch="unet_256"), 54.41),
        (GeneratorConfig(arch="resnet_9blocks"), 11.37),
        (GeneratorConfig(arch="resnet_6blocks"), 7.83),
    ],
    ids=["unet_256", "resnet_9blocks", "resnet_6blocks"],
)
def test_generators_have_the_published_number_of_weights(config, millions):
    # figures that pytorch-CycleGAN-and-pix2pix prints when it builds them (batch norm)
    assert parameters(build_generator(config)) / 1e6 == pytest.approx(millions, abs=0.02)


@pytest.mark.parametrize("upsample", UPSAMPLINGS)
@pytest.mark.parametrize("arch", ["resnet_6blocks", "resnet_9blocks"])
def test_a_resnet_sees_no_further_than_its_radius(arch, upsample):
    config = GeneratorConfig(arch=arch, in_bands=1, out_bands=1, ngf=1, upsample=upsample)
    generator = build_generator(config).double().eval()
    for weight in generator.parameters():
        torch.nn.init.constant_(weight, 0.02)  # nothing cancels, and no ReLU cuts off
    x = torch.ones(1, 1, 200, 200, dtype=torch.float64, requires_grad=True)
    picture = generator.head[:2](generator.body(x))  # without tanh, which may have no slope left
    reaches = [_reach(picture, x, at=100 + phase) for phase in range(4)]
    radius = config.field_radius
    assert max(max(reach) for reach in reaches) == radius
    assert upsample == "resize" or reaches[2] == (radius, radius)


def _reach(picture, x, *, at):
    """How many rows above and below a pixel it depends on."""
    (slope,) = torch.autograd.grad(picture[0, 0, at, at], x, retain_graph=True)
    rows = slope[0, 0].abs().sum(1).nonzero()
    return at - int(rows.min()), int(rows.max()) - at


def test_unets_and_instance_norm_see_the_whole_tile():
    assert GeneratorConfig(arch="unet_256").field_radius is None
    assert GeneratorConfig(arch="resnet_6blocks", norm="instance").field_radius is None


def test_no_layer_is_wider_than_the_cap():
    generator = build_generator(GeneratorConfig(ngf=32, max_channels=160))
    widths = {m.out_channels for m in generator.modules() if isinstance(m, nn.Conv2d)}
    assert max(widths) == 160


def test_dropout_stands_in_three_decoder_steps():
    generator = build_generator(GeneratorConfig(ngf=2))
    assert sum(isinstance(m, nn.Dropout) for m in generator.modules()) == 3
    assert not any(
        isinstance(m, nn.Dropout)
        for m in build_generator(GeneratorConfig(ngf=2, dropout=False)).modules()
    )


def test_initial_weights_follow_the_paper_and_the_seed_alone():
    first, second = (build_generator(GeneratorConfig(ngf=8)) for _ in range(2))
    initialise(first, seed=3)
    torch.manual_seed(99)
    initialise(second, seed=3)
    weight = first.encoder[4][1].weight
    assert weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert weight.mean().item() == pytest.approx(0, abs=1e-3)
    assert all(map(torch.equal, first.parameters(), second.parameters()))


@pytest.mark.parametrize(
    "wrong",
    [{"arch": "unet_999"}, {"norm": "layer"}, {"ngf": 0}, {"in_bands": 0}, {"upsample": "cubic"}],
)
def test_impossible_generators_are_refused(wrong):
    with pytest.raises(ModelError):
        GeneratorConfig(**wrong)
