import pytest
import torch
from torch.nn import functional as F

from geop2p.calibration import calibrate
from geop2p.card import ModelCard, card_from_json
from geop2p.engines.folding import folded
from geop2p.engines.int8 import fault_of_int8
from geop2p.engines.packed import is_packable, packed
from geop2p.networks import GeneratorConfig, build_generator, initialise
from geop2p.upsampling import ResizeConvolution


def convolution(*, bias=True):
    random = torch.Generator().manual_seed(0)
    made = ResizeConvolution(3, 5, bias=bias)
    torch.nn.init.normal_(made.weight, generator=random)
    return made


@pytest.mark.parametrize("bias", [True, False])
def test_it_is_nearest_neighbour_and_then_a_convolution(bias):
    conv = convolution(bias=bias)
    x = torch.randn(2, 3, 7, 9, generator=torch.Generator().manual_seed(1))
    doubled = F.interpolate(x, scale_factor=2, mode="nearest")
    expected = F.conv2d(doubled, conv.weight.transpose(0, 1), conv.bias, padding=1)
    torch.testing.assert_close(conv(x), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(conv.as_transposed()(x), expected, rtol=1e-4, atol=1e-5)


def test_an_even_picture_stays_even_but_for_its_border():
    drawn = convolution()(torch.ones(1, 3, 8, 8))[:, :, 1:-1, 1:-1]
    assert (drawn - drawn[:, :, :1, :1]).abs().max() < 1e-5  # a transposed one draws a pattern
    transposed = torch.nn.ConvTranspose2d(3, 5, 4, stride=2, padding=1)
    pattern = transposed(torch.ones(1, 3, 8, 8))[:, :, 1:-1, 1:-1]
    assert (pattern - pattern[:, :, :1, :1]).abs().max() > 1e-3


@pytest.mark.parametrize("arch", ["unet_128", "resnet_6blocks"])
def test_engines_draw_what_the_network_draws(arch):
    config = GeneratorConfig(arch=arch, ngf=4, upsample="resize")
    network = build_generator(config)
    initialise(network, seed=0, std=0.1)
    network.eval()
    tiles = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        expected = network(tiles)
        plain = folded(network)
        torch.testing.assert_close(plain(tiles), expected, rtol=0, atol=1e-4)
        assert not any(isinstance(module, ResizeConvolution) for module in plain.modules())
        assert is_packable(network)
        run = packed(network, (2, 3, 128, 128))
        torch.testing.assert_close(run(tiles), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("arch", ["unet_128", "resnet_6blocks"])
def test_int8_draws_nearly_what_the_network_draws(arch):
    network = build_generator(GeneratorConfig(arch=arch, ngf=4, upsample="resize"))
    initialise(network, seed=0, std=0.1)
    network.eval()
    if fault_of_int8(network) is not None:
        pytest.skip("no 8-bit convolutions here")
    tiles = torch.rand(4, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = calibrate(network, list(tiles), span=255)
    assert max(found.psnr_db.values()) > 30


def test_a_card_says_how_pictures_are_doubled_only_where_it_is_not_the_papers_way():
    paper, other = (
        ModelCard(name="a", generator=GeneratorConfig(ngf=2, upsample=name))
        for name in ("transposed", "resize")
    )
    assert "upsample" not in paper.to_json()
    assert card_from_json(paper.to_json()) == paper
    assert card_from_json(other.to_json()).generator.upsample == "resize"
