"""The packed engine: the same network with its weights laid out once for oneDNN.

torch hands oneDNN a weight in the order of the file, and oneDNN reorders it at every call, 33 MB
for each deep layer of a wide U-Net. Here batch norms are folded, weights are reordered once,
activations are fused into the convolutions or done in place, and the last transposed convolution,
to a few bands, is computed as an ordinary one.

The operators are those that torch's own compiler emits for a frozen network; they are not part of
torch's public interface, so whoever uses them compares the picture with the reference first.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geop2p.allocator import release_freed_memory
from geop2p.engines.doubling import as_convolution, woven
from geop2p.engines.folding import fold, is_foldable, plain
from geop2p.engines.layers import Layer, ResNetLayers, UNetLayers, layers_of
from geop2p.networks import ResNet, UNet, has_attention

FEW_BANDS = 8
"""Up to this many bands, a transposed convolution is computed as an ordinary one: oneDNN's
transposed kernels work on 8 output channels at a time, and the ordinary one has four times as
many."""

_OPERATORS = (
    "_convolution_pointwise",
    "_convolution_transpose_pointwise",
    "_reorder_convolution_transpose_weight",
)

Function = Callable[[Tensor], Tensor]


def is_packable(function: object) -> bool:
    """Return whether this torch has the operators, and ``function`` is made of convolutions."""
    has_operators = all(hasattr(torch.ops.mkldnn, name) for name in _OPERATORS)
    return has_operators and isinstance(function, UNet | ResNet) and not has_attention(function)


def packed(network: nn.Module, shape: tuple[int, ...]) -> Function:
    """Return ``network`` packed for groups of (n, C, S, S); other groups are merely slower.

    The network, in evaluation mode, is used up: each layer's weights go as they are packed, so that
    all of them are never there twice.

    Raises
    ------
    TypeError
        When it is no generator of geop2p's.
    AttributeError, RuntimeError
        When this torch lacks the operators, or they do not take such a network.
    """
    layers = layers_of(network)
    sample = torch.zeros(shape).contiguous(memory_format=torch.channels_last)
    if isinstance(layers, UNetLayers):
        return PackedUNet(layers, sample)
    return PackedResNet(layers, sample)


class PackedUNet:
    """A U-Net's layers, packed for groups like ``sample``."""

    def __init__(self, layers: UNetLayers, sample: Tensor) -> None:
        self._down, self._up = [], []
        skips = [sample]
        for layer in layers.down:
            self._down.append(PackedLayer(layer, skips[-1]))
            skips.append(self._down[-1](skips[-1]))
        x = skips.pop()
        for number, layer in enumerate(layers.up):
            x = _joined(skips.pop(), x) if number else x
            self._up.append(PackedLayer(layer, x))
            x = self._up[-1](x)

    def __call__(self, x: Tensor) -> Tensor:
        """Translate (n, C, S, S) to (n, K, S, S), both float32."""
        skips = []
        for down in self._down:
            x = down(x)
            skips.append(x)
        x = skips.pop()
        for number, up in enumerate(self._up):
            x = up(_joined(skips.pop(), x) if number else x)
        return x


class PackedResNet:
    """A residual generator's layers, packed for groups like ``sample``."""

    def __init__(self, layers: ResNetLayers, sample: Tensor) -> None:
        self._before, x = _packed_chain(layers.before, sample)
        self._blocks = []
        for block in layers.blocks:
            chain, x = _packed_chain(block, x)
            self._blocks.append(chain)
        self._after, _ = _packed_chain(layers.after, x)

    def __call__(self, x: Tensor) -> Tensor:
        """Translate (n, C, S, S) to (n, K, S, S), both float32."""
        x = _run(self._before, x)
        for block in self._blocks:
            x = _run(block, x).add_(x)
        return _run(self._after, x)


class PackedLayer:
    """One layer, packed for pictures like ``sample``; its result is channels last."""

    def __init__(self, layer: Layer, sample: Tensor) -> None:
        self._reflected = (layer.reflected,) * 4 if layer.reflected else None
        norm = layer.norm
        if is_foldable(norm):
            fold(layer.conv, norm)
            norm = None
        self._norm = _tile_norm(norm)
        self._activation = None if norm is None else _in_place(layer.activation)
        fused = None if norm is not None else layer.activation
        self._conv = _packed_conv(plain(layer.conv), fused, self._margined(sample))
        release_freed_memory()  # the weight in its former order

    def __call__(self, x: Tensor) -> Tensor:
        """Return the picture after convolution, norm and activation."""
        x = self._conv(self._margined(x))
        if self._norm is not None:
            x = self._norm(x)
        return x if self._activation is None else self._activation(x)

    def _margined(self, x: Tensor) -> Tensor:
        return x if self._reflected is None else F.pad(x, self._reflected, mode="reflect")


def _packed_chain(layers: tuple[Layer, ...], sample: Tensor) -> tuple[list[PackedLayer], Tensor]:
    chain = []
    for layer in layers:
        chain.append(PackedLayer(layer, sample))
        sample = chain[-1](sample)
    return chain, sample


def _run(chain: list[PackedLayer], x: Tensor) -> Tensor:
    for layer in chain:
        x = layer(x)
    return x


def _joined(skip: Tensor, x: Tensor) -> Tensor:
    """Return both pictures' channels, those of ``skip`` rectified, in one write of each."""
    n, wide, height, width = skip.shape
    both = torch.empty(
        (n, wide + x.shape[1], height, width), memory_format=torch.channels_last, dtype=x.dtype
    )
    torch.clamp_min(skip, 0, out=both[:, :wide])
    both[:, wide:] = x
    return both


def _tile_norm(norm: nn.Module | None) -> Function | None:
    """Return a norm; one by each tile's own statistics in place, in the order of the memory.

    torch's kernel copies the channels of a channels-last picture apart and back together.
    """
    if not isinstance(norm, nn.InstanceNorm2d) or norm.track_running_stats:
        return norm
    eps, weight, bias = norm.eps, norm.weight, norm.bias

    def normed(x: Tensor) -> Tensor:
        flat = x.permute(0, 2, 3, 1).flatten(1, 2)  # (n, h * w, C)
        flat.sub_(flat.mean(1, keepdim=True))
        scale = flat.square().mean(1, keepdim=True).add_(eps).rsqrt_()  # (n, 1, C)
        if norm.affine:
            return _as_picture(flat.mul_(scale * weight).add_(bias), x)
        return _as_picture(flat.mul_(scale), x)

    return normed


def _as_picture(flat: Tensor, like: Tensor) -> Tensor:
    """Return (n, h * w, C) as (n, C, h, w), channels last."""
    n, channels, height, width = like.shape
    return flat.view(n, height, width, channels).permute(0, 3, 1, 2)


def _in_place(activation: nn.Module | None) -> Function | None:
    if isinstance(activation, nn.LeakyReLU):
        slope = activation.negative_slope
        return lambda x: F.leaky_relu_(x, slope)
    if activation is None:
        return None
    return torch.tanh_ if isinstance(activation, nn.Tanh) else torch.relu_


def _attribute(activation: nn.Module | None) -> tuple[str, list[float]]:
    """Return oneDNN's name of an activation that follows a convolution, and its parameters."""
    if isinstance(activation, nn.LeakyReLU):
        return "leaky_relu", [activation.negative_slope]
    if activation is None:
        return "none", []
    return ("tanh" if isinstance(activation, nn.Tanh) else "relu"), []


def _packed_conv(
    conv: nn.Conv2d | nn.ConvTranspose2d, activation: nn.Module | None, sample: Tensor
) -> Function:
    """Return a convolution and the activation after it, packed for pictures like ``sample``."""
    if isinstance(conv, nn.Conv2d):
        return _ordinary(conv, activation, sample)
    if conv.out_channels <= FEW_BANDS and _is_doubling(conv):
        return _woven(conv, activation, sample)
    return _transposed(conv, activation, sample)


def _ordinary(conv: nn.Conv2d, activation: nn.Module | None, sample: Tensor) -> Function:
    place = (_pair(conv.padding), _pair(conv.stride), _pair(conv.dilation), conv.groups)
    reorder: Any = torch._C._nn.mkldnn_reorder_conv2d_weight  # noqa: SLF001  its stub lags behind
    weight = reorder(_taken(conv).to_mkldnn(), *place, list(sample.shape))
    bias = _bias(conv)
    name, parameters = _attribute(activation)
    run = torch.ops.mkldnn._convolution_pointwise  # noqa: SLF001
    return lambda x: run(x, weight, bias, *place, name, parameters, None)


def _transposed(conv: nn.ConvTranspose2d, activation: nn.Module | None, sample: Tensor) -> Function:
    padding, stride, dilation = _pair(conv.padding), _pair(conv.stride), _pair(conv.dilation)
    place = (padding, _pair(conv.output_padding), stride, dilation, conv.groups)
    weight = torch.ops.mkldnn._reorder_convolution_transpose_weight(  # noqa: SLF001
        _taken(conv), *place, list(sample.shape)
    )
    bias = _bias(conv)
    name, parameters = _attribute(activation)
    run = torch.ops.mkldnn._convolution_transpose_pointwise  # noqa: SLF001
    return lambda x: run(x, weight, bias, *place, name, parameters, None)


def _woven(conv: nn.ConvTranspose2d, activation: nn.Module | None, sample: Tensor) -> Function:
    """Return a doubling convolution as an ordinary one whose four phases are interleaved."""
    ordinary = nn.Conv2d(conv.in_channels, 4 * conv.out_channels, 2, padding=1)
    ordinary.weight = nn.Parameter(as_convolution(_taken(conv)))
    ordinary.bias = nn.Parameter(_bias(conv).repeat(4))
    run = _ordinary(ordinary, activation, sample)
    return lambda x: woven(run(x))


def _taken(conv: nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    """Take a weight out of its layer, so that it goes when it is packed."""
    weight = conv.weight.detach().contiguous()
    conv.register_parameter("weight", None)
    return weight


def _is_doubling(conv: nn.ConvTranspose2d) -> bool:
    """Return whether it is the 4x4 transposed convolution of stride 2 that doubles a picture."""
    geometry = (conv.kernel_size, conv.stride, conv.padding, conv.output_padding, conv.dilation)
    return geometry == ((4, 4), (2, 2), (1, 1), (0, 0), (1, 1)) and conv.groups == 1


def _bias(conv: nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    return torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()


def _pair(value: object) -> list[int]:
    if not isinstance(value, tuple):
        raise TypeError(f"a convolution with {value!r} in place of a pair of numbers")
    return list(value)
