"""Convolutions of 8-bit integers on a CPU, by oneDNN's kernels, and what stands between them.

A picture in 8 bits is uint8, channels last, with `Levels`: the value of ``q`` is
``scale * (q - zero)``. Weights are int8, symmetric, with one scale an output channel.

Processors without dot products of bytes (VNNI) add two products of a uint8 and an int8 in 16 bits,
which saturate. Weights are scaled so that this cannot happen, so results do not depend on it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

MOST_LEVEL = 254
"""The highest level in use: with 255, a scene of 8 bits would meet a tie of rounding everywhere."""
LEAST_SPAN = 1e-6
"""A range is at least this wide; a layer that never fires has none of its own."""
MOST_WEIGHT = 127
MOST_PAIR = 127
"""Bound of the sum of two weights that meet, before rounding: 128 x 255 is below 2**15."""
OUTPUTS = 16
"""Output channels of a weight that are rounded at a time."""
GROUP = 4
"""Input channels that a 32-bit lane holds: only weights within such a group meet in 16 bits."""
_ROUNDING = 2.0**23
"""Float32 has no fraction from here to 2**24: adding it rounds, and leaves the integer in the low
byte of the number's bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """What 8-bit numbers mean: ``scale * (q - zero)``, where q is 0 to `MOST_LEVEL`."""

    scale: float
    zero: int

    @classmethod
    def of_range(cls, low: float, high: float) -> "Levels":
        """Return levels that hold 0 exactly and span ``low`` to ``high``."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max(high - low, LEAST_SPAN) / MOST_LEVEL
        return cls(scale=scale, zero=round(-low / scale))


class QuantisedConvolution:
    """One convolution of 8-bit pictures.

    Parameters
    ----------
    weight : (O, I, kh, kw) float32
    bias : (O,) float32
    inputs : (I,) float32
        Scale of each input channel.
    zero : int
        Level of the input that means 0. Padding is by level 0, so where this is another level the
        picture must come with its border, and the padding be 0.
    geometry : (int, int)
        Stride and padding.
    outputs : float
        Results are divided by this: the scale of what comes next.
    has_relu : bool
        Results are uint8 from 0, negative ones become 0; otherwise they are float32.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        *,
        inputs: Tensor,
        zero: int = 0,
        geometry: tuple[int, int] = (1, 0),
        outputs: float = 1.0,
        has_relu: bool = False,
    ) -> None:
        self.weight, self.scales, total = quantised_weight(weight, inputs)
        self.bias = ((bias - zero * self.scales * total) / outputs).float()
        self.scales = self.scales / outputs
        self.geometry, self.has_relu = geometry, has_relu
        self._zeros = torch.zeros(len(bias), dtype=torch.int32)
        self._packed: dict[tuple[int, ...], Tensor] = {}

    def __call__(self, x: Tensor) -> Tensor:
        """Convolve (N, I, H, W) uint8, channels last; return uint8 or float32, channels last."""
        stride, padding = self.geometry
        geometry = [stride] * 2, [padding] * 2, [1, 1], 1
        shape = tuple(x.shape)
        if shape not in self._packed:
            self._packed = {
                shape: torch.ops.onednn.qconv_prepack(
                    self.weight, self.scales, 1.0, 0, *geometry, list(shape)
                )
            }
        result: Tensor = torch.ops.onednn.qconv_pointwise(
            x,
            1.0,
            0,
            self._packed[shape],
            self.scales,
            self._zeros,
            self.bias,
            *geometry,
            1.0,
            0,
            torch.uint8 if self.has_relu else torch.float32,
            "relu" if self.has_relu else "none",
            [],
            "",
        )
        return result


def quantised_weight(weight: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return (O, I, kh, kw) int8, the (O,) float32 scales that undo it, and its (O,) sums.

    ``weight`` is multiplied by the scale of each input channel, ``inputs``, (I,), first. Whatever
    the uint8, no two products that are added in 16 bits can overflow.
    """
    levels = torch.empty_like(weight, dtype=torch.int8, memory_format=torch.contiguous_format)
    scales, totals = [], []
    # some outputs at a time stay in the processor's cache, and take little memory
    for part, into in zip(torch.split(weight, OUTPUTS), torch.split(levels, OUTPUTS), strict=True):
        rounded, scale = _rounded(part * inputs.view(1, -1, 1, 1))
        into.copy_(rounded)
        scales.append(scale)
        totals.append(rounded.sum(dim=(1, 2, 3)))  # whole numbers below 2**24: exact
    return levels, torch.cat(scales), torch.cat(totals)


def _rounded(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return whole numbers, float32, and the scale of each output that undoes them."""
    scales = torch.maximum(
        weight.abs().amax(dim=(1, 2, 3)) / MOST_WEIGHT, _largest_pair(weight) / MOST_PAIR
    )
    scales = scales.clamp(min=torch.finfo(torch.float32).tiny)
    return torch.round(weight / scales.view(-1, 1, 1, 1)), scales.float()


def _largest_pair(weight: Tensor) -> Tensor:
    """Return for each output channel the largest sum of two weights of one sign that may meet."""
    outer, inner = weight.shape[:2]
    if inner % GROUP:
        groups = weight.reshape(outer, 1, -1)
    else:
        groups = weight.view(outer, inner // GROUP, GROUP, -1).transpose(2, 3)
        groups = groups.reshape(outer, -1, GROUP)  # (O, groups, what may meet)
    return torch.maximum(
        *(_two_largest(part.clamp(min=0)).amax(dim=1) for part in (groups, -groups))
    )


def _two_largest(groups: Tensor) -> Tensor:
    """Return the sum of the two largest of each group, (O, groups, n) to (O, groups)."""
    if groups.shape[2] != GROUP:
        return groups.topk(2, dim=2).values.sum(dim=2)
    a, b, c, d = groups.unbind(2)  # a topk of four takes ten times as long
    return torch.maximum(torch.maximum(a, b) + torch.maximum(c, d), torch.maximum(a + b, c + d))


def store(values: Tensor, levels: Levels, *, into: Tensor) -> None:
    """Write float32 ``values``, in units of the scale, as levels; ``values`` are used up."""
    values.add_(_ROUNDING + levels.zero).clamp_(_ROUNDING, _ROUNDING + MOST_LEVEL)
    into.copy_(values.view(torch.int32))  # a conversion to uint8 keeps the low byte


def reflect_border(picture: Tensor, border: int) -> None:
    """Fill a border of (N, C, H, W) by reflection of what it surrounds, in place."""
    for axis in (2, 3):
        last = picture.shape[axis] - 1
        for i in range(border):
            source = 2 * border - i
            picture.select(axis, i).copy_(picture.select(axis, source))
            picture.select(axis, last - i).copy_(picture.select(axis, last - source))


def leaky_relu(values: Tensor) -> Tensor:
    """Return ``values`` with negative ones times 0.2, in place."""
    return functional.leaky_relu_(values, 0.2)
