"""The networks of pix2pix: U-Net and ResNet generators, PatchGAN and pixel discriminators.

Every generator is ``head(body(x))``: the body may run in a lower precision, the head (the last
convolution and tanh) always runs in float32. Pictures are (N, C, H, W) float32 in [-1, 1].

References
----------
Isola, Zhu, Zhou, Efros: Image-to-Image Translation with Conditional Adversarial Networks, CVPR 2017
(arXiv:1611.07004), appendix 6.1 for the U-Net and the discriminators.
Johnson, Alahi, Fei-Fei: Perceptual Losses for Real-Time Style Transfer and Super-Resolution,
ECCV 2016 (arXiv:1603.08155), supplement, for the residual generator.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from geop2p.errors import ModelError

NORMS = ("batch", "instance")
MOST_CHANNELS, MOST_BANDS, MOST_LAYERS = 4096, 4096, 16
"""Bounds of a configuration, which may come from a file: wide enough for any real network."""
NORM_EPS = 1e-5
"""Added to every variance; torch's default, which pix2pix was published with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorConfig:
    """What a generator is built from; it travels in the model card.

    Parameters
    ----------
    arch : str
        A key of `GENERATORS`.
    in_bands, out_bands : int
        Bands of the scene and of the map, at least 1.
    ngf : int
        Channels after the first convolution.
    max_channels : int or None
        No layer is wider than this; None is the paper's ``8 * ngf`` (U-Net; a ResNet has 4 * ngf).
    norm : str
        ``batch`` or ``instance``.
    dropout : bool
        Dropout of 0.5 in the decoder (U-Net) or in the residual blocks, while training only.
    """

    arch: str = "unet_256"
    in_bands: int = 3
    out_bands: int = 3
    ngf: int = 64
    max_channels: int | None = None
    norm: str = "batch"
    dropout: bool = True

    def __post_init__(self) -> None:
        """Refuse what no network can be built from.

        Raises
        ------
        ModelError
            For an unknown architecture or norm, or a width or band count out of bounds.
        """
        _check_choice("architecture", self.arch, tuple(GENERATORS))
        _check_choice("norm", self.norm, NORMS)
        _check_count(MOST_BANDS, in_bands=self.in_bands, out_bands=self.out_bands)
        _check_count(MOST_CHANNELS, ngf=self.ngf)
        if self.max_channels is not None:
            _check_count(8 * MOST_CHANNELS, max_channels=self.max_channels)

    @property
    def size_multiple(self) -> int:
        """Pixels that the side of a tile must be a multiple of."""
        levels = UNET_LEVELS.get(self.arch)
        return 4 if levels is None else 1 << levels

    @property
    def field_radius(self) -> int | None:
        """Pixels round an output pixel that it depends on; None when it is the whole tile.

        A residual generator sees 3 + 1 + 2 pixels on the way down, 4 x 2 a block at quarter
        resolution, and 2 + 1 + 3 on the way up: 60 for 6 blocks, 84 for 9. Strides align pixels by
        fours, and only the third of each four sees that far, on both sides.
        Instance norm averages over the tile, so its field is the tile.
        """
        blocks = RESNET_BLOCKS.get(self.arch)
        return None if blocks is None or self.norm == "instance" else 12 + 8 * blocks

    def channels(self, level: int) -> int:
        """Return the channels after the ``level``-th halving, level 0 being the first layer."""
        widest = 8 * self.ngf if self.max_channels is None else self.max_channels
        return min(self.ngf << level, widest)


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
    """

    arch: str = "patchgan"
    bands: int = 6
    ndf: int = 64
    n_layers: int = 3
    norm: str = "batch"

    def __post_init__(self) -> None:
        """Refuse what no network can be built from.

        Raises
        ------
        ModelError
            For an unknown architecture or norm, or a width or count out of bounds.
        """
        _check_choice("discriminator", self.arch, tuple(DISCRIMINATORS))
        _check_choice("norm", self.norm, NORMS)
        _check_count(2 * MOST_BANDS, bands=self.bands)
        _check_count(MOST_CHANNELS, ndf=self.ndf)
        _check_count(MOST_LAYERS, n_layers=self.n_layers)


class UNet(nn.Module):
    """Encoder and decoder with a skip connection at each resolution.

    The encoder halves the picture ``levels`` times; the decoder doubles it back and sees, at each
    resolution, the encoder's picture of the same size. Dropout stands in the first three decoder
    steps.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        levels = UNET_LEVELS[config.arch]
        widths = [config.channels(level) for level in range(levels)]
        self.encoder = nn.ModuleList(
            _unet_down(config, level=level, widths=widths) for level in range(levels)
        )
        self.decoder = nn.ModuleList(
            _unet_up(config, level=level, widths=widths) for level in range(levels - 1, 0, -1)
        )
        self.head = nn.Sequential(
            nn.ReLU(),
            nn.ConvTranspose2d(2 * widths[0], config.out_bands, 4, stride=2, padding=1),
            nn.Tanh(),
        )

    def body(self, x: Tensor) -> Tensor:
        """Return the features that the head turns into a picture."""
        skips = []
        for down in self.encoder:
            x = down(x)
            skips.append(x)  # level i: (N, widths[i], H / 2**(i+1), W / 2**(i+1))
        x = skips.pop()
        for up in self.decoder:
            x = torch.cat([skips.pop(), up(x)], dim=1)  # twice the channels of that level
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Translate (N, C, H, W) to (N, K, H, W), both in [-1, 1]."""
        picture: Tensor = self.head(self.body(x))
        return picture


class ResNet(nn.Module):
    """Two halvings, a chain of residual blocks at quarter resolution, two doublings."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        widths = [config.channels(level) for level in range(3)]
        self.stem = nn.Sequential(
            nn.ReflectionPad2d(3),
            *_conv_norm(config, config.in_bands, widths[0], kernel=7),
            nn.ReLU(),
        )
        self.down = nn.Sequential(
            *_conv_norm(config, widths[0], widths[1], stride=2, padding=1),
            nn.ReLU(),
            *_conv_norm(config, widths[1], widths[2], stride=2, padding=1),
            nn.ReLU(),
        )
        self.blocks = nn.Sequential(
            *(ResidualBlock(config, widths[2]) for _ in range(RESNET_BLOCKS[config.arch]))
        )
        self.up = nn.Sequential(
            *_resnet_up(config, widths[2], widths[1]), *_resnet_up(config, widths[1], widths[0])
        )
        self.head = nn.Sequential(
            nn.ReflectionPad2d(3), nn.Conv2d(widths[0], config.out_bands, 7), nn.Tanh()
        )

    def body(self, x: Tensor) -> Tensor:
        """Return the features that the head turns into a picture."""
        features: Tensor = self.up(self.blocks(self.down(self.stem(x))))
        return features

    def forward(self, x: Tensor) -> Tensor:
        """Translate (N, C, H, W) to (N, K, H, W), both in [-1, 1]."""
        picture: Tensor = self.head(self.body(x))
        return picture


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions whose result is added to what came in."""

    def __init__(self, config: GeneratorConfig, width: int) -> None:
        super().__init__()
        dropout = [nn.Dropout(0.5)] if config.dropout else []
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1),
            *_conv_norm(config, width, width),
            nn.ReLU(),
            *dropout,
            nn.ReflectionPad2d(1),
            *_conv_norm(config, width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` plus its correction, of the same shape."""
        corrected: Tensor = x + self.layers(x)
        return corrected


class PatchGAN(nn.Sequential):
    """Judges overlapping patches of a pair: one logit a patch, (N, 1, h, w).

    With 3 strided layers each logit sees 70x70 pixels.
    """

    def __init__(self, config: DiscriminatorConfig) -> None:
        widths = [config.ndf * min(2**i, 8) for i in range(config.n_layers + 1)]
        layers: list[nn.Module] = [
            nn.Conv2d(config.bands, widths[0], 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
        ]
        for i in range(1, config.n_layers + 1):
            stride = 2 if i < config.n_layers else 1
            layers += [
                nn.Conv2d(
                    widths[i - 1],
                    widths[i],
                    4,
                    stride=stride,
                    padding=1,
                    bias=_has_bias(config.norm),
                ),
                _norm(config.norm, widths[i]),
                nn.LeakyReLU(0.2),
            ]
        super().__init__(*layers, nn.Conv2d(widths[-1], 1, 4, padding=1))


class PixelDiscriminator(nn.Sequential):
    """Judges each pixel of a pair by itself: one logit a pixel, (N, 1, H, W)."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__(
            nn.Conv2d(config.bands, config.ndf, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(config.ndf, 2 * config.ndf, 1, bias=_has_bias(config.norm)),
            _norm(config.norm, 2 * config.ndf),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * config.ndf, 1, 1),
        )


UNET_LEVELS = {"unet_256": 8, "unet_128": 7}
RESNET_BLOCKS = {"resnet_9blocks": 9, "resnet_6blocks": 6}

GENERATORS: dict[str, Callable[[GeneratorConfig], nn.Module]] = {
    **dict.fromkeys(UNET_LEVELS, UNet),
    **dict.fromkeys(RESNET_BLOCKS, ResNet),
}
DISCRIMINATORS: dict[str, Callable[[DiscriminatorConfig], nn.Module]] = {
    "patchgan": PatchGAN,
    "pixel": PixelDiscriminator,
}


def build_generator(config: GeneratorConfig) -> nn.Module:
    """Return the generator that ``config`` describes, with torch's default weights."""
    return GENERATORS[config.arch](config)


def build_discriminator(config: DiscriminatorConfig) -> nn.Module:
    """Return the discriminator that ``config`` describes, with torch's default weights."""
    return DISCRIMINATORS[config.arch](config)


def initialise(network: nn.Module, *, seed: int, std: float = 0.02) -> None:
    """Draw weights as pix2pix does: convolutions N(0, std), norm scales N(1, std), biases 0.

    The draw depends on ``seed`` and the network alone, not on torch's global state.

    References
    ----------
    Isola et al. 2017, appendix 6.2: "weights were initialized from a Gaussian distribution with
    mean 0 and standard deviation 0.02".
    """
    random = torch.Generator().manual_seed(seed)
    for module in network.modules():
        weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
        if isinstance(weight, Tensor):
            mean = 0.0 if weight.ndim == 4 else 1.0
            nn.init.normal_(weight, mean, std, generator=random)
        if isinstance(bias, Tensor):
            nn.init.zeros_(bias)


def _unet_down(config: GeneratorConfig, *, level: int, widths: list[int]) -> nn.Sequential:
    """Return the encoder step that makes level ``level``: half the size, ``widths[level]``."""
    if level == 0:
        return nn.Sequential(nn.Conv2d(config.in_bands, widths[0], 4, stride=2, padding=1))
    innermost = level == len(widths) - 1  # a single pixel, which no norm can be taken of
    conv = nn.Conv2d(
        widths[level - 1],
        widths[level],
        4,
        stride=2,
        padding=1,
        bias=innermost or _has_bias(config.norm),
    )
    norm = [] if innermost else [_norm(config.norm, widths[level])]
    return nn.Sequential(nn.LeakyReLU(0.2), conv, *norm)


def _unet_up(config: GeneratorConfig, *, level: int, widths: list[int]) -> nn.Sequential:
    """Return the decoder step from level ``level`` to the size of level ``level - 1``."""
    innermost = level == len(widths) - 1
    dropped = config.dropout and level >= len(widths) - 3  # "CD", appendix 6.1.1
    return nn.Sequential(
        nn.ReLU(),
        nn.ConvTranspose2d(
            widths[level] if innermost else 2 * widths[level],
            widths[level - 1],
            4,
            stride=2,
            padding=1,
            bias=_has_bias(config.norm),
        ),
        _norm(config.norm, widths[level - 1]),
        *([nn.Dropout(0.5)] if dropped else []),
    )


def _resnet_up(config: GeneratorConfig, inner: int, outer: int) -> list[nn.Module]:
    """Return the layers that double the picture and go from ``inner`` to ``outer`` channels."""
    bias = _has_bias(config.norm)
    return [
        nn.ConvTranspose2d(inner, outer, 3, stride=2, padding=1, output_padding=1, bias=bias),
        _norm(config.norm, outer),
        nn.ReLU(),
    ]


def _conv_norm(
    config: GeneratorConfig,
    inner: int,
    outer: int,
    *,
    kernel: int = 3,
    stride: int = 1,
    padding: int = 0,
) -> list[nn.Module]:
    """Return a convolution and its norm."""
    bias = _has_bias(config.norm)
    conv = nn.Conv2d(inner, outer, kernel, stride=stride, padding=padding, bias=bias)
    return [conv, _norm(config.norm, outer)]


def _norm(name: str, width: int) -> nn.Module:
    """Return the norm layer; instance norm has no weights, as in pix2pix's published code."""
    return (
        nn.BatchNorm2d(width, eps=NORM_EPS)
        if name == "batch"
        else nn.InstanceNorm2d(width, eps=NORM_EPS)
    )


def _has_bias(norm: str) -> bool:
    """Return whether a convolution before ``norm`` needs a bias; batch norm brings its own."""
    return norm == "instance"


def _check_choice(what: str, found: str, choices: tuple[str, ...]) -> None:
    if found not in choices:
        raise ModelError(f"unknown {what} {found!r} (choose from {', '.join(choices)})")


def _check_count(most: int, /, **counts: int) -> None:
    for name, count in counts.items():
        if type(count) is not int or not 1 <= count <= most:
            raise ModelError(f"{name} is {count!r} (it must be a whole number from 1 to {most})")
