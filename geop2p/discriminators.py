"""The discriminators of pix2pix: judges of pairs of scene and map, at one scale or several.

References
----------
Isola et al. 2017 (arXiv:1611.07004), appendix 6.1, for the patch and the pixel discriminator.
Wang et al.: High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs, CVPR
2018 (arXiv:1711.11585), section 3.2, for several scales.
Miyato et al.: Spectral Normalization for Generative Adversarial Networks, ICLR 2018
(arXiv:1802.05957), section 2.1 and algorithm 1.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geop2p.bounds import (
    MOST_BANDS,
    MOST_CHANNELS,
    MOST_LAYERS,
    MOST_SCALES,
    check_choice,
    check_count,
)
from geop2p.norms import NORMS, has_bias, norm_layer

Verdict = list[list[Tensor]]
"""What a discriminator finds of pairs, by scale: its features after each activation, and at the end
its logits, (N, 1, h, w)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscriminatorConfig:
    """What a discriminator is built from.

    Parameters
    ----------
    arch : str
        A key of `DISCRIMINATORS`.
    bands : int
        Bands of the concatenated pair, scene and map together.
    ndf : int
        Channels after the first convolution.
    n_layers : int
        Strided convolutions of the PatchGAN; its field is 16, 34, 70, 142, 286 px for 1 to 5.
    norm : str
        ``batch`` or ``instance``.
    scales : int
        Discriminators of this kind: the first sees the pair, each other one half the size of the
        one before.
    spectral_norm : bool
        Every convolution is divided by its largest singular value, and takes the place of the norm
        layers.
    """

    arch: str = "patchgan"
    bands: int = 6
    ndf: int = 64
    n_layers: int = 3
    norm: str = "batch"
    scales: int = 1
    spectral_norm: bool = False

    def __post_init__(self) -> None:
        """Refuse what no network can be built from.

        Raises
        ------
        ModelError
            For an unknown architecture or norm, or a width or count out of bounds.
        """
        check_choice("discriminator", self.arch, tuple(DISCRIMINATORS))
        check_choice("norm", self.norm, NORMS)
        check_count(2 * MOST_BANDS, bands=self.bands)
        check_count(MOST_CHANNELS, ndf=self.ndf)
        check_count(MOST_LAYERS, n_layers=self.n_layers)
        check_count(MOST_SCALES, scales=self.scales)

    @property
    def least_side(self) -> int:
        """Pixels that the side of a view needs, so that the coarsest scale gives a logit."""
        side = 3 << self.n_layers if self.arch == "patchgan" else 1
        for _ in range(1, self.scales):
            side = 2 * side - 1
        return side


class Judge(nn.Sequential):
    """Layers whose last gives logits; forward gives these alone."""

    def judge(self, pair: Tensor) -> Verdict:
        """Return features and logits of (N, bands, H, W), at one scale."""
        found = []
        for layer in self:
            pair = layer(pair)
            if isinstance(layer, nn.LeakyReLU):
                found.append(pair)
        return [[*found, pair]]


class PatchGAN(Judge):
    """Judges overlapping patches of a pair: one logit a patch, (N, 1, h, w).

    With 3 strided layers each logit sees 70x70 pixels.
    """

    def __init__(self, config: DiscriminatorConfig) -> None:
        widths = [config.ndf * min(2**i, 8) for i in range(config.n_layers + 1)]
        layers: list[nn.Module] = [
            _conv(config, config.bands, widths[0], stride=2),
            nn.LeakyReLU(0.2),
        ]
        for i in range(1, config.n_layers + 1):
            stride = 2 if i < config.n_layers else 1
            layers += [
                *_conv_norm(config, widths[i - 1], widths[i], stride=stride),
                nn.LeakyReLU(0.2),
            ]
        super().__init__(*layers, _conv(config, widths[-1], 1))


class PixelDiscriminator(Judge):
    """Judges each pixel of a pair by itself: one logit a pixel, (N, 1, H, W)."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__(
            _conv(config, config.bands, config.ndf, kernel=1),
            nn.LeakyReLU(0.2),
            *_conv_norm(config, config.ndf, 2 * config.ndf, kernel=1),
            nn.LeakyReLU(0.2),
            _conv(config, 2 * config.ndf, 1, kernel=1),
        )


class MultiScale(nn.Module):
    """Discriminators of one kind; each sees half the size that the one before it sees."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        kind = DISCRIMINATORS[config.arch]
        self.judges = nn.ModuleList(kind(config) for _ in range(config.scales))

    def judge(self, pair: Tensor) -> Verdict:
        """Return features and logits of (N, bands, H, W) at every scale, the finest first."""
        found: Verdict = []
        for number, judge in enumerate(self.judges):
            if number:
                pair = F.avg_pool2d(pair, 3, stride=2, padding=1, count_include_pad=False)
            found += judge.judge(pair)  # type: ignore[operator]
        return found


class SpectralConv2d(nn.Conv2d):
    """A convolution whose weight, as a matrix of outputs by all the rest, has a norm of about 1.

    The largest singular value is followed by one step of power iteration a pass in training mode.
    """

    def __init__(self, inner: int, outer: int, kernel: int, *, stride: int, padding: int) -> None:
        super().__init__(inner, outer, kernel, stride=stride, padding=padding)
        self.u: Tensor
        self.register_buffer("u", torch.full((outer,), outer**-0.5))

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (N, I, H, W)."""
        with torch.autocast(x.device.type, enabled=False):  # half precision is too coarse for it
            weight = self.weight / self._largest_singular_value()
        convolved: Tensor = self._conv_forward(x, weight, self.bias)
        return convolved

    def _largest_singular_value(self) -> Tensor:
        matrix = self.weight.flatten(1)
        with torch.no_grad():
            v = F.normalize(matrix.T @ self.u, dim=0)
            u = F.normalize(matrix @ v, dim=0)
            if self.training:
                self.u.copy_(u)
        largest: Tensor = torch.dot(u, matrix @ v)
        return largest


DISCRIMINATORS: dict[str, Callable[[DiscriminatorConfig], Judge]] = {
    "patchgan": PatchGAN,
    "pixel": PixelDiscriminator,
}


def build_discriminator(config: DiscriminatorConfig) -> Judge | MultiScale:
    """Return the discriminator that ``config`` describes, with torch's default weights."""
    return MultiScale(config) if config.scales > 1 else DISCRIMINATORS[config.arch](config)


def _conv(
    config: DiscriminatorConfig,
    inner: int,
    outer: int,
    *,
    kernel: int = 4,
    stride: int = 1,
    bias: bool = True,
) -> nn.Conv2d:
    padding = kernel // 4  # none round a single pixel
    if config.spectral_norm:
        return SpectralConv2d(inner, outer, kernel, stride=stride, padding=padding)
    return nn.Conv2d(inner, outer, kernel, stride=stride, padding=padding, bias=bias)


def _conv_norm(
    config: DiscriminatorConfig, inner: int, outer: int, *, kernel: int = 4, stride: int = 1
) -> list[nn.Module]:
    """Return a convolution and its norm, where there is one."""
    bias = has_bias(config.norm)
    conv = _conv(config, inner, outer, kernel=kernel, stride=stride, bias=bias)
    return [conv] if config.spectral_norm else [conv, norm_layer(config.norm, outer)]
