"""Invalid pixels of tiles, filled from their valid ones before the generator sees them.

A generator draws an edge where a scene ends in black. Filled smoothly, a collar has no edge.
"""

import torch
from torch import Tensor
from torch.nn import functional


def fill_invalid(pictures: Tensor, valid: Tensor) -> Tensor:
    """Return pictures with invalid pixels replaced by a smooth continuation of the valid ones.

    Valid pixels are unchanged, and every picture is filled from itself alone. The filling is the
    weighted mean of ever larger neighbourhoods: each level of a pyramid averages the valid pixels
    of the level below (pull), and lends its values to the pixels of that level that have none
    (push). Nothing waits for the device.

    Parameters
    ----------
    pictures : (N, C, H, W) float32
        What stands in invalid pixels is not looked at.
    valid : (N, 1, H, W) bool
        With at least one True in each.

    References
    ----------
    Gortler, Grzeszczuk, Szeliski, Cohen: The Lumigraph, SIGGRAPH 1996, section 3.4.2.
    """
    return _pull_push(pictures.where(valid, 0.0), valid)


def _pull_push(pictures: Tensor, valid: Tensor) -> Tensor:
    """Return pictures with every invalid pixel taken from the level above."""
    height, width = pictures.shape[2:]
    if (height, width) == (1, 1):
        return pictures
    coarse, coarse_valid = _halved(pictures, valid)
    above = _doubled(_doubled(_pull_push(coarse, coarse_valid), axis=2), axis=3)
    return torch.where(valid, pictures, above[:, :, :height, :width])


def _halved(pictures: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Return pictures of half the size, (N, C, ceil(H / 2), ceil(W / 2)), and where they are known.

    Each pixel is the mean of the known ones among 4x4, weighted 1 3 3 1 in each direction, so that
    it reaches over the border of its 2x2 block to pixels that are known there.
    """
    weights = valid.float()
    total = _sums(_sums(weights, axis=2), axis=3)
    values = _sums(_sums(pictures * weights, axis=2), axis=3)
    return values / total.clamp(min=1.0), total > 0


def _sums(values: Tensor, *, axis: int) -> Tensor:
    """Sum each pair along an axis and its neighbours with weights 1 3 3 1; zeros lie outside."""
    moved = values.movedim(axis, -1)
    padded = functional.pad(moved, (1, 1 + moved.shape[-1] % 2))
    outer, inner = padded[..., :-2:2] + padded[..., 3::2], padded[..., 1:-1:2] + padded[..., 2::2]
    return (outer + 3.0 * inner[..., : outer.shape[-1]]).movedim(-1, axis)


def _doubled(values: Tensor, *, axis: int) -> Tensor:
    """Return twice as many values along an axis, linear between the given ones."""
    moved = values.movedim(axis, -1)
    before = torch.cat([moved[..., :1], moved[..., :-1]], dim=-1)
    after = torch.cat([moved[..., 1:], moved[..., -1:]], dim=-1)
    pairs = [0.75 * moved + 0.25 * before, 0.75 * moved + 0.25 * after]
    return torch.stack(pairs, dim=-1).flatten(-2).movedim(-1, axis)
