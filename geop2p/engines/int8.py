"""The int8 engine: generators whose convolutions run in 8-bit integers on a CPU.

Between convolutions pictures stay uint8. A skip connection keeps the levels of the encoder, and the
decoder's own half has others: the scales of input channels are folded into the weights, so the
halves lie side by side without being converted.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from geop2p.allocator import release_freed_memory
from geop2p.engines.doubling import as_convolution, weave, woven
from geop2p.engines.folding import fold, foldable_norms, plain
from geop2p.engines.quantised import (
    Levels,
    QuantisedConvolution,
    leaky_relu,
    reflect_border,
    store,
)
from geop2p.errors import ModelError
from geop2p.networks import ResNet, UNet, has_attention

Ranges = Mapping[str, tuple[float, float]]
"""Lowest and highest value of each convolution's input, by the convolution's name in the network.
Where the input has a half from the encoder, of the other half."""
Draw = Callable[[Tensor], Tensor]


class Int8Runner:
    """Runs a generator in 8-bit integers; all calls must come from one thread.

    Parameters
    ----------
    network : torch.nn.Module
        A generator with batch norm, on the CPU. It is put into evaluation mode and used up: each
        layer's weights go as they are turned into integers.
    ranges : mapping of str to (low, high)
        See `Ranges`.
    group_size : int, tiles
        Every call has this many.

    Raises
    ------
    ModelError
        When the network cannot be run in 8 bits here: see `fault_of_int8`.
    """

    def __init__(self, network: nn.Module, ranges: Ranges, group_size: int) -> None:
        fault = fault_of_int8(network)
        if fault is not None:
            raise ModelError(f"precision int8: {fault} (use --precision fp32)")
        self._group_size = group_size
        with torch.no_grad():
            layers = _Layers(network.eval(), ranges)
            self._draw: Draw = (_UNet if isinstance(network, UNet) else _ResNet)(layers)

    @torch.no_grad()
    def __call__(self, tiles: Tensor) -> Tensor:
        """Translate (n, C, S, S) float32 in [-1, 1] to (n, K, S, S) float32."""
        return self._draw(tiles)


def fault_of_int8(network: object) -> str | None:
    """Return why a generator cannot run in 8 bits on this machine, or None when it can."""
    if not isinstance(network, (UNet, ResNet)):
        return "it is for the generators of geop2p"
    if has_attention(network):
        return "self-attention cannot be run in 8 bits"
    if any(isinstance(module, nn.InstanceNorm2d) for module in network.modules()):
        return "a norm by each tile's own statistics cannot be run in 8 bits"
    has_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not (has_onednn and hasattr(torch.ops.onednn, "qconv_pointwise")):
        return f"this torch, {torch.__version__}, has no 8-bit convolutions for this processor"
    return None


def convolutions(network: nn.Module) -> dict[str, nn.Conv2d | nn.ConvTranspose2d]:
    """Return the convolutions of a network by name, in the order in which they run."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d))
    }


class _Layers:
    """A network's convolutions, and the levels of their inputs."""

    def __init__(self, network: nn.Module, ranges: Ranges) -> None:
        self._convolutions = convolutions(network)
        different = self._convolutions.keys() ^ ranges.keys()
        if different:
            raise ModelError(f"precision int8: the ranges do not fit the network: {min(different)}")
        self._ranges = ranges
        self._norms = foldable_norms(network)

    @property
    def names(self) -> list[str]:
        """The convolutions, in the order in which they run."""
        return list(self._convolutions)

    def inner(self, name: str) -> int:
        """Return the input channels of a convolution."""
        return self._convolutions[name].in_channels

    def signed(self, name: str) -> Levels:
        """Return the levels of an input that may be negative."""
        return Levels.of_range(*self._ranges[name])

    def scale(self, name: str) -> float:
        """Return the scale of an input that is rectified: its level 0 means 0."""
        return Levels.of_range(0.0, self._ranges[name][1]).scale

    def convolution(
        self,
        name: str,
        *,
        inputs: Tensor | float,
        padding: int = 0,
        **how: Any,  # noqa: ANN401  each is declared there
    ) -> QuantisedConvolution:
        """Return a convolution in 8 bits; ``how`` is what `QuantisedConvolution` takes."""
        module = self._convolutions[name]
        if module in self._norms:
            fold(module, self._norms.pop(module))
        module = plain(module)
        bias = module.bias if module.bias is not None else torch.zeros(module.out_channels)
        scales = torch.as_tensor(inputs).expand(module.in_channels)
        if isinstance(module, nn.Conv2d):
            weight, geometry = module.weight, (module.stride[0], padding)
        else:
            weight = as_convolution(module.weight)
            bias, geometry = bias.repeat(4), (1, padding)
        module.register_parameter("weight", None)  # it is not needed any more
        made = QuantisedConvolution(weight, bias, inputs=scales, geometry=geometry, **how)
        del weight
        release_freed_memory()
        return made


class _UNet:
    """A U-Net in 8 bits.

    The input of an encoder step is signed, and stands in a buffer whose border is the level of 0.
    The input of a decoder step is rectified, so its padding is level 0.
    """

    def __init__(self, layers: _Layers) -> None:
        depth = len(layers.names) // 2
        downs, ups = layers.names[:depth], layers.names[depth:]
        self._levels = [layers.signed(name) for name in downs]
        self._channels = [layers.inner(name) for name in downs]
        scales = [layers.scale(name) for name in ups]
        self._downs = [
            layers.convolution(name, inputs=levels.scale, zero=levels.zero, outputs=following.scale)
            for name, levels, following in zip(downs, self._levels, self._levels[1:], strict=False)
        ]
        self._innermost = layers.convolution(
            downs[-1],
            inputs=self._levels[-1].scale,
            zero=self._levels[-1].zero,
            outputs=scales[0],
            has_relu=True,
        )
        self._ups = [
            layers.convolution(
                name,
                inputs=self._decoder_scales(depth - step, scales[step]),
                padding=1,
                outputs=scales[step + 1],
                has_relu=True,
            )
            for step, name in enumerate(ups[:-1])
        ]
        self._head = layers.convolution(
            ups[-1], inputs=self._decoder_scales(1, scales[-1]), padding=1
        )
        self._buffers = _Buffers()

    def _decoder_scales(self, level: int, own: float) -> Tensor | float:
        """Return the scales of a decoder step's input: the skipped half's, then its own."""
        if level == len(self._levels):
            return own
        count = self._channels[level]
        skipped = torch.full((count,), self._levels[level].scale)
        return torch.cat([skipped, torch.full((count,), own)])

    def __call__(self, tiles: Tensor) -> Tensor:
        picture = self._kept(tiles / self._levels[0].scale, 0)
        joined = []
        for level, down in enumerate(self._downs, start=1):
            picture = self._kept(leaky_relu(down(picture)), level)
            joined.append(self._joined(picture, level))
        features = self._innermost(picture)
        for up in self._ups:
            both = joined.pop()
            weave(up(features), into=both[:, both.shape[1] // 2 :])
            features = both
        return woven(self._head(features)).tanh_()

    def _kept(self, values: Tensor, level: int) -> Tensor:
        """Return values, in units of the level's scale, as the input of its encoder step."""
        levels = self._levels[level]
        buffer = self._buffers.bordered(f"in {level}", values.shape, border=1, fill=levels.zero)
        store(values, levels, into=_inside(buffer, 1))
        return buffer

    def _joined(self, picture: Tensor, level: int) -> Tensor:
        """Return the input of the decoder step of a level, its first half rectified and filled."""
        inside, zero = _inside(picture, 1), self._levels[level].zero
        count, channels, height, width = inside.shape
        joined = self._buffers.plain(f"join {level}", (count, 2 * channels, height, width))
        half = joined[:, :channels]
        torch.clamp(inside, min=zero, out=half).sub_(zero)
        return joined


class _ResNet:
    """A residual generator in 8 bits; what the blocks add to stays float32."""

    def __init__(self, layers: _Layers) -> None:
        (
            stem,
            *downs,
        ) = layers.names[:3]
        self._first = layers.signed(stem)
        blocks, (*ups, head) = layers.names[3:-3], layers.names[-3:]
        scale = layers.scale
        self._stem = layers.convolution(
            stem,
            inputs=self._first.scale,
            zero=self._first.zero,
            outputs=scale(downs[0]),
            has_relu=True,
        )
        self._downs = (
            layers.convolution(
                downs[0], inputs=scale(downs[0]), padding=1, outputs=scale(downs[1]), has_relu=True
            ),
            layers.convolution(downs[1], inputs=scale(downs[1]), padding=1),
        )
        self._blocks = [
            _Block(layers, first, second)
            for first, second in zip(blocks[::2], blocks[1::2], strict=True)
        ]
        self._middle = layers.signed(ups[0])
        self._ups = (
            layers.convolution(
                ups[0],
                inputs=self._middle.scale,
                zero=self._middle.zero,
                outputs=scale(ups[1]),
                has_relu=True,
            ),
            layers.convolution(
                ups[1], inputs=scale(ups[1]), padding=1, outputs=scale(head), has_relu=True
            ),
        )
        self._head = layers.convolution(head, inputs=scale(head))
        self._buffers = _Buffers()

    def __call__(self, tiles: Tensor) -> Tensor:
        buffers = self._buffers
        picture = buffers.bordered("in", tiles.shape, border=3, fill=0)
        store(tiles / self._first.scale, self._first, into=_inside(picture, 3))
        reflect_border(picture, 3)
        features = self._downs[1](self._downs[0](self._stem(picture))).relu_()
        for block in self._blocks:
            features = block(features, buffers)
        middle = buffers.bordered("middle", features.shape, border=1, fill=self._middle.zero)
        store(features.div_(self._middle.scale), self._middle, into=_inside(middle, 1))
        doubled = woven(self._ups[0](middle))
        phases = self._ups[1](doubled)
        count, _, height, width = doubled.shape
        shape = (count, phases.shape[1] // 4, 2 * height, 2 * width)
        last = buffers.bordered("last", shape, border=3, fill=0)
        weave(phases, into=_inside(last, 3))
        reflect_border(last, 3)
        return self._head(last).tanh_()


class _Block:
    """A residual block: two convolutions in 8 bits, their result added in float32."""

    def __init__(self, layers: _Layers, first: str, second: str) -> None:
        self._levels = layers.signed(first)
        self._first = layers.convolution(
            first,
            inputs=self._levels.scale,
            zero=self._levels.zero,
            outputs=layers.scale(second),
            has_relu=True,
        )
        self._second = layers.convolution(second, inputs=layers.scale(second))

    def __call__(self, features: Tensor, buffers: "_Buffers") -> Tensor:
        picture = buffers.bordered("block", features.shape, border=1, fill=0)
        store(features / self._levels.scale, self._levels, into=_inside(picture, 1))
        reflect_border(picture, 1)
        between = self._first(picture)
        _inside(picture, 1).copy_(between)
        reflect_border(picture, 1)
        return features.add_(self._second(picture))


class _Buffers:
    """Pictures that are written again with every group of tiles; uint8, channels last."""

    def __init__(self) -> None:
        self._kept: dict[str, Tensor] = {}

    def plain(self, name: str, shape: Sequence[int], *, fill: int | None = None) -> Tensor:
        """Return the picture of a name; what it holds is what was left there, at first ``fill``."""
        picture = self._kept.get(name)
        if picture is None or picture.shape != torch.Size(shape):
            picture = torch.empty(
                tuple(shape), dtype=torch.uint8, memory_format=torch.channels_last
            )
            if fill is not None:
                picture.fill_(fill)
            self._kept[name] = picture
        return picture

    def bordered(self, name: str, shape: Sequence[int], *, border: int, fill: int) -> Tensor:
        """Return the picture of a name with room round (N, C, H, W), which holds ``fill``."""
        count, channels, height, width = shape
        size = (count, channels, height + 2 * border, width + 2 * border)
        return self.plain(name, size, fill=fill)


def _inside(picture: Tensor, border: int) -> Tensor:
    return picture[:, :, border:-border, border:-border]
