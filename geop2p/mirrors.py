"""Test-time flips: a tile drawn as it is and in its mirror images, and the mean of these pictures.

What a generator draws should not depend on which side is left. Where it does, its pictures of the
mirror images, mirrored back, differ, and their mean is steadier than each of them.
"""

from collections.abc import Callable

import torch
from torch import Tensor

MIRRORS: tuple[tuple[int, ...], ...] = ((), (3,), (2,), (2, 3))
"""Axes of (N, C, S, S) that are turned round: as it is, left to right, upside down, both."""


def mirrored_mean(draw: Callable[[Tensor], Tensor], tiles: Tensor) -> Tensor:
    """Return the mean of the pictures of tiles and of their mirror images, mirrored back.

    Four equal pictures have exactly that picture as their mean, and the mean of a mirrored tile is
    the mirrored mean, to the last bit.

    Parameters
    ----------
    draw : callable
        Maps (n, C, S, S) float32 to (n, K, S, S) float32; it gets all mirror images at once.
    tiles : (n, C, S, S) float32

    References
    ----------
    Krizhevsky, Sutskever, Hinton: ImageNet Classification with Deep Convolutional Neural Networks,
    NIPS 2012, section 4.1, for the mean over reflections at test time.
    """
    images = torch.cat([_mirrored(tiles, axes) for axes in MIRRORS])
    pictures = draw(images.contiguous(memory_format=torch.channels_last))
    plain, across, down, both = (
        _mirrored(part, axes)
        for part, axes in zip(torch.split(pictures, len(tiles)), MIRRORS, strict=True)
    )
    return ((plain + across) + (down + both)) * 0.25


def _mirrored(pictures: Tensor, axes: tuple[int, ...]) -> Tensor:
    return pictures.flip(axes) if axes else pictures
