"""Transposed convolutions of stride 2 as ordinary ones.

The picture that comes out is twice as large. Each of its 2 x 2 phases is an ordinary convolution of
the small picture, so one with four times the outputs makes them all, and they are woven together.
"""

import torch
from torch import Tensor
from torch.nn import functional


def as_convolution(weight: Tensor) -> Tensor:
    """Return the convolution that does what a transposed one does, as (4 O, I, 2, 2).

    Its padding is 1, and it gives for each place the 2 x 2 pixels of the doubled picture, phase by
    phase: see `weave`. Pixel ``2 i + phase`` of a row gets ``x[j] * w[2 i + phase + 1 - 2 j]``; the
    window of phase 0 is x[i - 1], x[i], that of phase 1 is x[i], x[i + 1]. So place ``p`` of the
    window meets ``w[3 - phase - 2 p]``, which is 0 where the kernel has 3.

    Parameters
    ----------
    weight : (I, O, k, k) float32
        Of a transposed convolution of stride 2 and padding 1, k = 3 or 4.

    Returns
    -------
    (4 O, I, 2, 2) float32
        Output channels are ordered by phase: (row, col) 00, 01, 10, 11.
    """
    inner, outer, side = weight.shape[:3]
    taps = functional.pad(weight, (0, 4 - side, 0, 4 - side)).flip(2, 3)
    windows = taps.view(inner, outer, 2, 2, 2, 2)  # (I, O, place, phase, place, phase)
    return windows.permute(3, 5, 1, 0, 2, 4).reshape(4 * outer, inner, 2, 2)


def weave(phases: Tensor, *, into: Tensor) -> None:
    """Put (N, 4 O, H + 1, W + 1) phases into their places of (N, O, 2 H, 2 W)."""
    count, quadruple, rows, cols = phases.shape
    height, width = rows - 1, cols - 1
    parts = phases.permute(0, 2, 3, 1).reshape(count, rows, cols, 2, 2, quadruple // 4)
    places = into.permute(0, 2, 3, 1)  # (N, 2 H, 2 W, O)
    for a in (0, 1):
        for b in (0, 1):
            part = parts[:, a : a + height, b : b + width, a, b]
            places[:, a::2, b::2].copy_(part)


def woven(phases: Tensor) -> Tensor:
    """Return the (N, O, 2 H, 2 W) picture, channels last, of (N, 4 O, H + 1, W + 1) phases."""
    count, quadruple, rows, cols = phases.shape
    picture = torch.empty(
        (count, quadruple // 4, 2 * rows - 2, 2 * cols - 2),
        dtype=phases.dtype,
        memory_format=torch.channels_last,
    )
    weave(phases, into=picture)
    return picture
