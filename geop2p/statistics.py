"""The statistics of batch norm, measured again when the weights are final.

References
----------
Wu, Johnson: Rethinking "Batch" in BatchNorm, 2021 (arXiv:2105.07576), section 3: statistics
averaged over many samples instead of an exponential average of the last few.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

LEAST_BATCH = 16
"""Pictures in a batch that statistics are measured on, at least."""


def has_statistics(network: nn.Module) -> bool:
    """Return whether the network has batch norm at all."""
    return any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def reestimate_statistics(network: nn.Module, scenes: Iterable[Tensor]) -> None:
    """Replace the running statistics of ``network`` by averages over ``scenes``, in place.

    Dropout is off, every batch counts the same, and each batch is normalised by itself. Afterwards
    the network is in evaluation mode.

    Parameters
    ----------
    scenes : iterable of (N, C, H, W) float32
        In [-1, 1], on the network's device, batches of `LEAST_BATCH` or more.
    """
    network.eval()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's sign for a cumulative average
        norm.train()
    with torch.no_grad():
        for scene in scenes:
            network(scene)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()
