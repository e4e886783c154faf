"""The exponential moving average of a generator's weights.

Single steps of an adversarial training push the weights to and fro; their average over the last
steps is a generator that does not.

References
----------
Polyak, Juditsky: Acceleration of Stochastic Approximation by Averaging, SIAM Journal on Control and
Optimization 30 (1992).
Yazici et al.: The Unusual Effectiveness of Averaging in GAN Training, ICLR 2019 (arXiv:1806.04498).
The warm-up is that of TensorFlow's ExponentialMovingAverage with ``num_updates``.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class AveragedGenerator:
    """A copy of a generator whose weights follow those of the trained one, slowly.

    After update t, counted from 1, every weight is ``decay_t * average + (1 - decay_t) * weight``,
    ``decay_t = min(decay, (1 + t) / (10 + t))``, so that the first weights are soon forgotten.
    Statistics of batch norm are averaged alike.

    Parameters
    ----------
    generator : torch.nn.Module
        It is copied.
    decay : float
        0 < decay < 1.
    """

    def __init__(self, generator: nn.Module, *, decay: float) -> None:
        self.generator = copy.deepcopy(generator).requires_grad_(requires_grad=False).eval()
        self.decay, self.updates = decay, 0

    @torch.no_grad()
    def update(self, generator: nn.Module) -> None:
        """Take over a share of the trained generator's weights and statistics."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(_weights(self.generator), _weights(generator), 1 - decay)

    @torch.no_grad()
    def take_statistics(self, generator: nn.Module) -> None:
        """Take over the statistics of batch norm as they are: they will not change any more."""
        theirs = dict(generator.named_buffers())
        for name, buffer in self.generator.named_buffers():
            buffer.copy_(theirs[name])

    def state(self) -> dict[str, Any]:
        """Return weights and the number of updates: tensors and plain values only."""
        return {"generator": self.generator.state_dict(), "updates": self.updates}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned."""
        self.generator.load_state_dict(state["generator"])
        self.updates = state["updates"]


def _weights(network: nn.Module) -> list[Tensor]:
    """Return parameters and buffers but counters, always in the same order."""
    buffers = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
    return [*network.parameters(), *buffers]
