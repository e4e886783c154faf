"""The generators of pix2pix: U-Nets and residual networks.

Every generator is ``head(body(x))``: the body may run in a lower precision, the head (the last
convolution and tanh) always runs in float32. Pictures are (N, C, H, W) float32 in [-1, 1].

References
----------
Isola, Zhu, Zhou, Efros: Image-to-Image Translation with Conditional Adversarial Networks, CVPR 2017
(arXiv:1611.07004), appendix 6.1 for the U-Net.
Johnson, Alahi, Fei-Fei: Perceptual Losses for Real-Time Style Transfer and Super-Resolution,
ECCV 2016 (arXiv:1603.08155), supplement, for the residual generator.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from geop2p.attention import SelfAttention
from geop2p.bounds import MOST_BANDS, MOST_CHANNELS, check_choice, check_count
from geop2p.errors import ModelError
from geop2p.norms import NORMS, has_bias, norm_layer
from geop2p.upsampling import UPSAMPLINGS, ResizeConvolution

NEWER = ("upsample", "attention")
"""Entries of a configuration that the first model files did not have."""


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
    upsample : str
        How pictures are doubled, see `geop2p.upsampling`: ``transposed`` or ``resize``.
    attention : int or None
        Self-attention stands where the picture's side is this part of the tile's: in the decoder of
        a U-Net, a power of 2 from 4 on; between the blocks of a ResNet, 4. None: nowhere.
    """

    arch: str = "unet_256"
    in_bands: int = 3
    out_bands: int = 3
    ngf: int = 64
    max_channels: int | None = None
    norm: str = "batch"
    dropout: bool = True
    upsample: str = "transposed"
    attention: int | None = None

    def __post_init__(self) -> None:
        """Refuse what no network can be built from.

        Raises
        ------
        ModelError
            For an unknown architecture or norm, or a width or band count out of bounds.
        """
        check_choice("architecture", self.arch, tuple(GENERATORS))
        check_choice("norm", self.norm, NORMS)
        check_choice("upsampling", self.upsample, UPSAMPLINGS)
        check_count(MOST_BANDS, in_bands=self.in_bands, out_bands=self.out_bands)
        check_count(MOST_CHANNELS, ngf=self.ngf)
        if self.max_channels is not None:
            check_count(8 * MOST_CHANNELS, max_channels=self.max_channels)
        places = [1 << level for level in range(2, UNET_LEVELS.get(self.arch, 3))]
        if self.attention is not None and (
            type(self.attention) is not int or self.attention not in places
        ):
            raise ModelError(
                f"attention at 1/{self.attention} of {self.arch} "
                f"(choose from {', '.join(map(str, places))})"
            )

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
        fours, and only the third of each four sees that far, on both sides. Doubling by ``resize``
        looks back by a pixel of what it doubles, 2 + 1 more: 63 and 87.
        Instance norm averages over the tile, and attention sees all of it: the field is the tile.
        """
        blocks = RESNET_BLOCKS.get(self.arch)
        if blocks is None or self.norm == "instance" or self.attention:
            return None
        return 12 + 8 * blocks + (3 if self.upsample == "resize" else 0)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: those that every model file has, and others that are not default.

        So files from before there was an option keep their checksum.
        """
        content = asdict(self)
        newer = {entry.name: entry.default for entry in fields(self) if entry.name in NEWER}
        return {name: value for name, value in content.items() if newer.get(name, "") != value}

    def channels(self, level: int) -> int:
        """Return the channels after the ``level``-th halving, level 0 being the first layer."""
        widest = 8 * self.ngf if self.max_channels is None else self.max_channels
        return min(self.ngf << level, widest)


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
            _unet_doubling(config, 2 * widths[0], config.out_bands, bias=True),
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
        blocks: list[nn.Module] = [
            ResidualBlock(config, widths[2]) for _ in range(RESNET_BLOCKS[config.arch])
        ]
        if config.attention:
            blocks.insert(len(blocks) // 2, SelfAttention(widths[2]))
        self.blocks = nn.Sequential(*blocks)
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


UNET_LEVELS = {"unet_256": 8, "unet_128": 7}
RESNET_BLOCKS = {"resnet_9blocks": 9, "resnet_6blocks": 6}

GENERATORS: dict[str, Callable[[GeneratorConfig], nn.Module]] = {
    **dict.fromkeys(UNET_LEVELS, UNet),
    **dict.fromkeys(RESNET_BLOCKS, ResNet),
}


def has_attention(network: nn.Module) -> bool:
    """Return whether the network has self-attention, which only torch runs."""
    return any(isinstance(module, SelfAttention) for module in network.modules())


def build_generator(config: GeneratorConfig) -> nn.Module:
    """Return the generator that ``config`` describes, with torch's default weights."""
    return GENERATORS[config.arch](config)


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
        bias=innermost or has_bias(config.norm),
    )
    norm = [] if innermost else [norm_layer(config.norm, widths[level])]
    return nn.Sequential(nn.LeakyReLU(0.2), conv, *norm)


def _unet_up(config: GeneratorConfig, *, level: int, widths: list[int]) -> nn.Sequential:
    """Return the decoder step from level ``level`` to the size of level ``level - 1``."""
    innermost = level == len(widths) - 1
    dropped = config.dropout and level >= len(widths) - 3  # "CD", appendix 6.1.1
    return nn.Sequential(
        nn.ReLU(),
        _unet_doubling(
            config,
            widths[level] if innermost else 2 * widths[level],
            widths[level - 1],
            bias=has_bias(config.norm),
        ),
        norm_layer(config.norm, widths[level - 1]),
        *([nn.Dropout(0.5)] if dropped else []),
        *([SelfAttention(widths[level - 1])] if config.attention == 1 << level else []),
    )


def _unet_doubling(
    config: GeneratorConfig, inner: int, outer: int, *, bias: bool
) -> nn.ConvTranspose2d:
    """Return the convolution that doubles a picture of a U-Net."""
    if config.upsample == "resize":
        return ResizeConvolution(inner, outer, bias=bias)
    return nn.ConvTranspose2d(inner, outer, 4, stride=2, padding=1, bias=bias)


def _resnet_up(config: GeneratorConfig, inner: int, outer: int) -> list[nn.Module]:
    """Return the layers that double the picture and go from ``inner`` to ``outer`` channels."""
    bias = has_bias(config.norm)
    doubling = (
        ResizeConvolution(inner, outer, bias=bias)
        if config.upsample == "resize"
        else nn.ConvTranspose2d(inner, outer, 3, stride=2, padding=1, output_padding=1, bias=bias)
    )
    return [
        doubling,
        norm_layer(config.norm, outer),
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
    bias = has_bias(config.norm)
    conv = nn.Conv2d(inner, outer, kernel, stride=stride, padding=padding, bias=bias)
    return [conv, norm_layer(config.norm, outer)]
