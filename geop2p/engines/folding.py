"""Folding: a batch norm's scale and shift become part of the convolution before it."""

import copy
from itertools import pairwise
from typing import TypeGuard

import torch
from torch import Tensor, nn

from geop2p.upsampling import ResizeConvolution

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
CHANNELS = 64


def folded(network: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode that draws the same, without its batch norms.

    A batch norm that stands right after a convolution in a `torch.nn.Sequential`, and that uses the
    statistics kept in training, is folded into it and replaced by `torch.nn.Identity`. A
    `ResizeConvolution` becomes the plain transposed convolution that does the same. Everything else
    is left as it is. The names of modules stay.

    References
    ----------
    Jacob et al.: Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference, CVPR 2018 (arXiv:1712.05877), section 3.2, equation 14.
    """
    bare = copy.deepcopy(network).eval()
    _make_all_plain(bare)
    for sequence in [each for each in bare.modules() if isinstance(each, nn.Sequential)]:
        for (_, conv), (name, norm) in pairwise(list(sequence.named_children())):
            if isinstance(conv, CONVOLUTIONS) and is_foldable(norm):
                fold(conv, norm)
                setattr(sequence, name, nn.Identity())
    return bare


def plain(conv: nn.Conv2d | nn.ConvTranspose2d) -> nn.Conv2d | nn.ConvTranspose2d:
    """Return a convolution that torch knows: a `ResizeConvolution` gives up its weight for one."""
    if not isinstance(conv, ResizeConvolution):
        return conv
    known = conv.as_transposed()
    conv.register_parameter("weight", None)
    return known


def _make_all_plain(network: nn.Module) -> None:
    for name, child in list(network.named_children()):
        if isinstance(child, CONVOLUTIONS):
            setattr(network, name, plain(child))
        else:
            _make_all_plain(child)


def foldable_norms(network: nn.Module) -> dict[nn.Module, nn.BatchNorm2d]:
    """Return the batch norms that `folded` folds, by the convolution before each.

    For engines that fold one layer after the other, and so never hold all weights twice.
    """
    return {
        conv: norm
        for sequence in network.modules()
        if isinstance(sequence, nn.Sequential)
        for conv, norm in pairwise(sequence)
        if isinstance(conv, CONVOLUTIONS) and is_foldable(norm)
    }


def is_foldable(norm: nn.Module | None) -> TypeGuard[nn.BatchNorm2d]:
    """Return whether ``norm`` is a fixed scale and shift, whatever the picture."""
    return isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None


@torch.no_grad()
def fold(conv: nn.Conv2d | nn.ConvTranspose2d, norm: nn.BatchNorm2d) -> None:
    """Change the weight, in place, and bias of ``conv``; in float64, since it is done once."""
    mean, variance = (_known(each).double() for each in (norm.running_mean, norm.running_var))
    scale = (variance + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight.double()
    shift = -mean * scale
    if norm.affine:
        shift = shift + norm.bias.double()
    if conv.bias is not None:
        shift = shift + conv.bias.double() * scale
    by_output = conv.weight.transpose(0, 1) if isinstance(conv, nn.ConvTranspose2d) else conv.weight
    # some channels at a time: all of a deep layer in float64 are as large as a small network
    for part, factor in zip(
        torch.split(by_output, CHANNELS), torch.split(scale, CHANNELS), strict=True
    ):
        part.copy_(part.double().mul_(factor.view(-1, 1, 1, 1)))
    conv.bias = nn.Parameter(shift.to(conv.weight.dtype))


def _known(statistics: Tensor | None) -> Tensor:
    if statistics is None:
        raise ValueError("a batch norm without statistics of its own")
    return statistics
