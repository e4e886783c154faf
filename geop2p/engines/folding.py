"""Folding: a batch norm's scale and shift become part of the convolution before it."""

import copy
from itertools import pairwise
from typing import TypeGuard

import torch
from torch import Tensor, nn

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def folded(network: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode that draws the same, without its batch norms.

    A batch norm that stands right after a convolution in a `torch.nn.Sequential`, and that uses the
    statistics kept in training, is folded into it and replaced by `torch.nn.Identity`. Everything
    else is left as it is. The names of modules stay.

    References
    ----------
    Jacob et al.: Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference, CVPR 2018 (arXiv:1712.05877), section 3.2, equation 14.
    """
    bare = copy.deepcopy(network).eval()
    for sequence in [each for each in bare.modules() if isinstance(each, nn.Sequential)]:
        for (_, conv), (name, norm) in pairwise(list(sequence.named_children())):
            if isinstance(conv, CONVOLUTIONS) and _is_foldable(norm):
                _fold(conv, norm)
                setattr(sequence, name, nn.Identity())
    return bare


def _is_foldable(norm: nn.Module) -> TypeGuard[nn.BatchNorm2d]:
    """Return whether ``norm`` is a fixed scale and shift, whatever the picture."""
    return isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None


@torch.no_grad()
def _fold(conv: nn.Conv2d | nn.ConvTranspose2d, norm: nn.BatchNorm2d) -> None:
    """Change the weight and bias of ``conv``; in float64, since it is done once."""
    mean, variance = (_known(each).double() for each in (norm.running_mean, norm.running_var))
    scale = (variance + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight.double()
    shift = -mean * scale
    if norm.affine:
        shift = shift + norm.bias.double()
    if conv.bias is not None:
        shift = shift + conv.bias.double() * scale
    outputs = (1, -1, 1, 1) if isinstance(conv, nn.ConvTranspose2d) else (-1, 1, 1, 1)
    dtype = conv.weight.dtype
    conv.weight = nn.Parameter((conv.weight.double() * scale.view(outputs)).to(dtype))
    conv.bias = nn.Parameter(shift.to(dtype))


def _known(statistics: Tensor | None) -> Tensor:
    if statistics is None:
        raise ValueError("a batch norm without statistics of its own")
    return statistics
