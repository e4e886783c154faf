"""Doubling a picture: a transposed convolution, or nearest neighbour and a convolution.

The kernel of a transposed convolution meets some pixels more often than others, which can show as a
checkerboard until training has undone it. A picture that is doubled by nearest neighbour first, and
then convolved, has no such pattern to begin with.

Of the 3x3 weights that stand over a doubled picture, those over one pixel of the small picture can
be added first. So both steps together are a transposed convolution of 4x4, stride 2, whose sixteen
weights are sums of nine, at the cost of the U-Net's own: nothing is drawn large and convolved.

References
----------
Odena, Dumoulin, Olah: Deconvolution and Checkerboard Artifacts, Distill 2016
(https://distill.pub/2016/deconv-checkerboard/).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

UPSAMPLINGS = ("transposed", "resize")


class ResizeConvolution(nn.ConvTranspose2d):
    """Nearest neighbour x 2, then a 3x3 convolution with a margin of zeros, as one.

    Its weight is (I, O, 3, 3): that of the convolution, inputs first.
    """

    def __init__(self, inner: int, outer: int, *, bias: bool) -> None:
        super().__init__(inner, outer, 3, stride=2, padding=1, bias=bias)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:  # noqa: ARG002
        """Return (N, O, 2 H, 2 W) of (N, I, H, W); the size follows from the input."""
        return F.conv_transpose2d(x, self.transposed_weight(), self.bias, stride=2, padding=1)

    def transposed_weight(self) -> Tensor:
        """Return the weight of the transposed convolution that does the same, (I, O, 4, 4)."""
        return _spread(_spread(self.weight, 2), 3)

    def as_transposed(self) -> nn.ConvTranspose2d:
        """Return the plain transposed convolution that does the same."""
        plain = nn.ConvTranspose2d(self.in_channels, self.out_channels, 4, stride=2, padding=1)
        plain.weight = nn.Parameter(self.transposed_weight().detach().contiguous())
        plain.bias = None if self.bias is None else nn.Parameter(self.bias.detach())
        return plain


def _spread(weight: Tensor, axis: int) -> Tensor:
    """Return the four weights of an axis that three over a doubled picture come to.

    Pixel 2 i of the large picture sees pixels i - 1, i, i of the small one, pixel 2 i + 1 sees
    i, i, i + 1; a transposed convolution gives pixel t the small pixel j times ``w[t + 1 - 2 j]``.
    """
    first, second, third = weight.unbind(axis)
    return torch.stack([third, second + third, first + second, first], dim=axis)
