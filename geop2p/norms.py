"""The norm layers of both networks."""

from torch import nn

NORMS = ("batch", "instance")
NORM_EPS = 1e-5
"""Added to every variance; torch's default, which pix2pix was published with."""


def norm_layer(name: str, width: int) -> nn.Module:
    """Return the norm layer; instance norm has no weights, as in pix2pix's published code."""
    return (
        nn.BatchNorm2d(width, eps=NORM_EPS)
        if name == "batch"
        else nn.InstanceNorm2d(width, eps=NORM_EPS)
    )


def has_bias(norm: str) -> bool:
    """Return whether a convolution before ``norm`` needs a bias; batch norm brings its own."""
    return norm == "instance"
