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
    each level of a pyramid averages the valid pixels of the level below, and lends its values to
    the pixels of that level that have none (pull and push).

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
    weights = valid.astype(np.float32)
    known = np.where(valid, picture, np.float32(0))
    return _pull_push(known, weights)


def _pull_push(picture: Floats, weights: Floats) -> Floats:
    """Return the picture with every pixel of weight 0 taken from the level above."""
    if weights.all():
        return picture
    coarse, coarse_weights = _halved(picture, weights)
    above = _pull_push(coarse, coarse_weights)
    _, height, width = picture.shape
    doubled = above.repeat(2, axis=1).repeat(2, axis=2)[:, :height, :width]
    return np.where(weights > 0, picture, doubled)


def _halved(picture: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return the mean of the known pixels of each 2x2 block, and whether there was one."""
    height, width = weights.shape
    pad = ((0, height % 2), (0, width % 2))
    weights = np.pad(weights, pad)
    weighted = np.pad(picture * weights[:height, :width], ((0, 0), *pad))
    total = _block_sums(weights[np.newaxis])
    mean = _block_sums(weighted) / np.maximum(total, np.float32(1e-9))
    return mean.astype(np.float32), (total[0] > 0).astype(np.float32)


def _block_sums(values: Floats) -> Floats:
    """Sum each 2x2 block: (C, 2h, 2w) to (C, h, w)."""
    rows = values[:, 0::2] + values[:, 1::2]
    return np.asarray(rows[:, :, 0::2] + rows[:, :, 1::2])
