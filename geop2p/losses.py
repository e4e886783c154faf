"""The losses of pix2pix: an adversarial one and L1.

References
----------
Isola et al. 2017, section 3.1: the objective, with L1 weighted 100; appendix 6.2: "we divide the
objective by 2 while optimizing D".
Mao et al.: Least Squares Generative Adversarial Networks, ICCV 2017 (arXiv:1611.04076), for lsgan.
Lim, Ye: Geometric GAN, 2017 (arXiv:1705.02894), for hinge, in the form of Miyato et al.: Spectral
Normalization for Generative Adversarial Networks, ICLR 2018 (arXiv:1802.05957), equations 16, 17.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def _hinge(logits: Tensor, target: Tensor) -> Tensor:
    return F.relu(1 - (2 * target - 1) * logits).mean()


GAN_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "vanilla": F.binary_cross_entropy_with_logits,
    "lsgan": F.mse_loss,
    "hinge": _hinge,
}
"""``vanilla``: binary cross-entropy of logits; ``lsgan``: squared distance to 1 or 0; ``hinge``:
what is missing to 1 or -1."""


def adversarial_loss(logits: Tensor, *, is_real: bool, mode: str) -> Tensor:
    """Return how far the discriminator's ``logits`` are from saying real, or generated.

    Parameters
    ----------
    logits : (N, 1, h, w) float
        Any shape will do; the loss is their mean, in float32.
    mode : str
        A key of `GAN_LOSSES`.
    """
    logits = logits.float()
    target = torch.ones_like(logits) if is_real else torch.zeros_like(logits)
    return GAN_LOSSES[mode](logits, target)


def deceiving_loss(logits: Tensor, *, mode: str) -> Tensor:
    """Return how far the discriminator is from being deceived by the generator's picture.

    As `adversarial_loss` for a real one, but that ``hinge`` is not cut off: the generator minimises
    minus the logits.
    """
    if mode == "hinge":
        return -logits.float().mean()
    return adversarial_loss(logits, is_real=True, mode=mode)


def l1_loss(generated: Tensor, truth: Tensor) -> Tensor:
    """Return the mean absolute difference, in float32; 2 is the whole range of [-1, 1]."""
    return F.l1_loss(generated.float(), truth.float())


def feature_loss(generated: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Return how far a discriminator's features of a generated pair are from those of the true one.

    The sum over layers of the mean absolute difference, in float32.

    References
    ----------
    Wang et al.: High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs,
    CVPR 2018 (arXiv:1711.11585), equation 4.
    """
    return torch.stack([l1_loss(a, b) for a, b in zip(generated, real, strict=True)]).sum()
