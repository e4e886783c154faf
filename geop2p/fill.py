"""Invalid pixels of a tile, filled from its valid ones before the generator sees them.

A generator draws an edge where a scene ends in black. Filled smoothly, a collar has no edge.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


def fill_invalid(picture: Floats, valid: Mask) -> Floats:
    """Return the picture with invalid pixels replaced by a smooth continuation of the valid ones.

    Valid pixels are unchanged. The filling is the weighted mean of ever larger neighbourhoods:
    each level of a pyramid averages the valid pixels of the level below (pull), and lends its
    values to the pixels of that level that have none (push).

    Parameters
    ----------
    picture : (C, H, W) float32
        What stands in invalid pixels is not looked at.
    valid : (H, W) bool
        With at least one True.

    References
    ----------
    Gortler, Grzeszczuk, Szeliski, Cohen: The Lumigraph, SIGGRAPH 1996, section 3.4.2.
    """
    if valid.all():
        return picture
    return _pull_push(np.where(valid, picture, np.float32(0)), valid)


def _pull_push(picture: Floats, valid: Mask) -> Floats:
    """Return the picture with every invalid pixel taken from the level above."""
    if valid.all():
        return picture
    _, height, width = picture.shape
    coarse, coarse_valid = _halved(picture, valid)
    above = _doubled(_doubled(_pull_push(coarse, coarse_valid), axis=1), axis=2)
    return np.where(valid, picture, above[:, :height, :width])


def _halved(picture: Floats, valid: Mask) -> tuple[Floats, Mask]:
    """Return a picture of half the size, (C, ceil(H / 2), ceil(W / 2)), and where it is known.

    Each of its pixels is the mean of the known ones among 4x4, weighted 1 3 3 1 in each direction,
    so that it reaches over the border of its 2x2 block to pixels that are known there.
    """
    weights = valid.astype(np.float32)[np.newaxis]
    total = _sums(_sums(weights, axis=1), axis=2)
    values = _sums(_sums(picture * weights, axis=1), axis=2)
    mean = np.asarray(values / np.maximum(total, np.float32(1)), np.float32)
    return mean, np.asarray(total[0] > 0)


def _sums(values: Floats, *, axis: int) -> Floats:
    """Sum each pair along an axis and its neighbours with weights 1 3 3 1; zeros lie outside."""
    pad = [(0, 0)] * values.ndim
    pad[axis] = (1, 1 + values.shape[axis] % 2)
    padded = np.moveaxis(np.pad(values, pad), axis, -1)
    outer, inner = padded[..., :-2:2] + padded[..., 3::2], padded[..., 1:-1:2] + padded[..., 2::2]
    return np.moveaxis(outer + np.float32(3) * inner[..., : outer.shape[-1]], -1, axis)


def _doubled(values: Floats, *, axis: int) -> Floats:
    """Return twice as many values along an axis, linear between the given ones."""
    moved = np.moveaxis(values, axis, -1)
    near, far = np.float32(0.75), np.float32(0.25)
    before = np.concatenate([moved[..., :1], moved[..., :-1]], axis=-1)
    after = np.concatenate([moved[..., 1:], moved[..., -1:]], axis=-1)
    pairs = [near * moved + far * before, near * moved + far * after]
    doubled: Floats = np.stack(pairs, axis=-1)
    return np.moveaxis(doubled.reshape(*moved.shape[:-1], -1), -1, axis)
