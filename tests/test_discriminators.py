"""The discriminators have the sizes and fields of their papers, and judge at several scales."""

import pytest
import torch
from torch.nn import functional as F

from geop2p.discriminators import (
    DISCRIMINATORS,
    DiscriminatorConfig,
    SpectralConv2d,
    build_discriminator,
)
from geop2p.errors import ModelError
from geop2p.networks import initialise


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_70_pixel_discriminator_has_the_published_number_of_weights():
    assert parameters(build_discriminator(DiscriminatorConfig())) / 1e6 == pytest.approx(
        2.77, abs=0.01
    )


@pytest.mark.parametrize(("n_layers", "field"), [(1, 16), (2, 34), (3, 70), (4, 142)])
def test_a_patchgan_logit_sees_its_patch(n_layers, field):
    config = DiscriminatorConfig(bands=1, ndf=2, n_layers=n_layers)
    discriminator = build_discriminator(config).double().eval()
    x = torch.zeros(1, 1, 320, 320, dtype=torch.float64, requires_grad=True)
    logits = discriminator(x)
    middle = logits.shape[-1] // 2
    logits[0, 0, middle, middle].backward()
    seen = x.grad[0, 0].abs().sum(0).nonzero()
    assert seen.max() - seen.min() + 1 == field


def test_a_pixel_logit_sees_its_pixel():
    discriminator = build_discriminator(DiscriminatorConfig(arch="pixel", bands=1, ndf=2)).eval()
    x = torch.zeros(1, 1, 9, 9, requires_grad=True)
    discriminator(x)[0, 0, 4, 4].backward()
    assert x.grad.nonzero().tolist() == [[0, 0, 4, 4]]


@pytest.mark.parametrize("wrong", [{"arch": "judge"}, {"n_layers": 0}, {"scales": 5}])
def test_impossible_discriminators_are_refused(wrong):
    with pytest.raises(ModelError):
        DiscriminatorConfig(**wrong)


def test_every_discriminator_judges_pairs():
    for arch in DISCRIMINATORS:
        discriminator = build_discriminator(DiscriminatorConfig(arch=arch, ndf=2))
        assert discriminator(torch.zeros(1, 6, 64, 64)).shape[:2] == (1, 1)


def test_a_verdict_ends_in_the_logits_and_has_a_feature_an_activation():
    discriminator = build_discriminator(DiscriminatorConfig(ndf=2, n_layers=3)).eval()
    pair = torch.randn(1, 6, 64, 64)
    ((*features, logits),) = discriminator.judge(pair)
    assert torch.equal(logits, discriminator(pair))
    assert [feature.shape[1] for feature in features] == [2, 4, 8, 16]


def test_the_second_scale_sees_half_the_size():
    config = DiscriminatorConfig(ndf=2, n_layers=1, scales=2)
    discriminator = build_discriminator(config).eval()
    pair = torch.randn(1, 6, 64, 64)
    fine, coarse = discriminator.judge(pair)
    assert fine[-1].shape[-1] > 1.9 * coarse[-1].shape[-1]
    half = F.avg_pool2d(pair, 3, stride=2, padding=1, count_include_pad=False)
    assert torch.equal(coarse[-1], discriminator.judges[1](half))


def test_the_scales_start_from_different_weights():
    discriminator = build_discriminator(DiscriminatorConfig(ndf=2, scales=2))
    initialise(discriminator, seed=0)
    first, second = (judge[0].weight for judge in discriminator.judges)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("arch", DISCRIMINATORS)
def test_spectral_norm_takes_the_place_of_norm_layers(arch):
    discriminator = build_discriminator(DiscriminatorConfig(arch=arch, ndf=2, spectral_norm=True))
    kinds = {type(module) for module in discriminator.modules() if not list(module.children())}
    assert kinds == {SpectralConv2d, torch.nn.LeakyReLU}
    assert discriminator(torch.zeros(1, 6, 64, 64)).shape[:2] == (1, 1)


def test_a_spectrally_normalised_convolution_has_a_norm_of_one():
    torch.manual_seed(0)
    conv = SpectralConv2d(4, 6, 3, stride=1, padding=0)
    x = torch.randn(1, 4, 3, 3)
    for _ in range(100):
        conv(x)
    conv.eval()
    matrix = conv.weight.flatten(1)
    expected = F.conv2d(x, conv.weight / torch.linalg.matrix_norm(matrix, 2), conv.bias)
    torch.testing.assert_close(conv(x), expected, rtol=1e-4, atol=1e-5)


def test_an_evaluated_convolution_follows_nothing():
    conv = SpectralConv2d(4, 6, 3, stride=1, padding=0).eval()
    before = conv.u.clone()
    conv(torch.randn(1, 4, 8, 8))
    assert torch.equal(conv.u, before)


@pytest.mark.parametrize(("scales", "n_layers"), [(1, 1), (1, 3), (2, 2), (3, 1)])
def test_the_least_side_gives_a_single_logit_at_the_coarsest_scale(scales, n_layers):
    config = DiscriminatorConfig(ndf=2, n_layers=n_layers, scales=scales)
    discriminator = build_discriminator(config).eval()
    side = config.least_side
    coarsest = discriminator.judge(torch.zeros(1, 6, side, side))[-1]
    assert coarsest[-1].shape == (1, 1, 1, 1)
    with pytest.raises(RuntimeError):
        discriminator.judge(torch.zeros(1, 6, side - 1, side - 1))
