"""Dropout that stays on while a map is drawn, with noise that belongs to places.

Dropout is the only source of randomness in pix2pix. With it, a generator draws another picture at
each pass, and how far these differ says how sure it is. What is dropped is drawn for each tile by
itself, from a seed, the tile's place in the scene, the number of the pass and that of the layer: so
it does not depend on what else is drawn, in which order, or by whom.

References
----------
Isola, Zhu, Zhou, Efros: Image-to-Image Translation with Conditional Adversarial Networks, CVPR 2017
(arXiv:1611.07004), section 3.2: "we provide noise only in the form of dropout".
Gal, Ghahramani: Dropout as a Bayesian Approximation, ICML 2016 (arXiv:1506.02142).
Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011, for Philox.
Welford: Note on a Method for Calculating Corrected Sums of Squares and Products, Technometrics
4 (3), 1962.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from geop2p.engines.choice import Engine
from geop2p.engines.reference import TorchRunner
from geop2p.transfer import sent

Place = tuple[int, int]
"""Row and column of the scene at which a tile begins, in pixels."""
LEVELS = 2**16
"""Steps of a probability: what is drawn for each value is a number of 16 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How many passes, and from which seed.

    Parameters
    ----------
    count : int, at least 2
    seed : int, at least 0
    """

    count: int
    seed: int


class PlacedDropout(nn.Module):
    """Dropout by noise that is told to it, whatever mode the network is in.

    Parameters
    ----------
    probability : float, 0 to 1
        Of a value to be dropped.
    number : int
        Of this layer in its network.

    Attributes
    ----------
    keys : sequence of tuple of int
        One a tile of the next batch; tiles beyond them are left whole.
    """

    def __init__(self, probability: float, *, number: int) -> None:
        super().__init__()
        self.keys: Sequence[tuple[int, ...]] = ()
        self._probability, self._number = probability, number

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, ...) with values dropped, and the others raised so that the mean stays."""
        kept = np.ones(x.shape, np.float32)
        for factors, key in zip(kept, self.keys, strict=False):
            is_kept = kept_values((*key, self._number), x.shape[1:], self._probability)
            factors[:] = is_kept * np.float32(1 / (1 - self._probability))
        return x * sent(kept, x.device).to(x.dtype)


def kept_values(
    key: Sequence[int], shape: Sequence[int], probability: float
) -> npt.NDArray[np.bool_]:
    """Return which values are kept, (shape) bool: the same for the same key, everywhere."""
    count = math.prod(shape)
    bits = np.random.Philox(np.random.SeedSequence(key)).random_raw(-(-count // 4))
    numbers = bits.astype("<u8").view("<u2")[:count]
    return np.asarray(numbers >= round(probability * LEVELS)).reshape(shape)


def has_dropout(function: object) -> bool:
    """Return whether a generator has dropout that can be left on."""
    return isinstance(function, nn.Module) and any(map(_is_dropout, function.modules()))


class Sampler:
    """Draws tiles several times with dropout on, and says how far the pictures differ.

    Norm layers stay in evaluation mode. It is the network as torch runs it: engines that prepare a
    network have its dropout left out.

    Parameters
    ----------
    network : torch.nn.Module
        It is copied.
    engine : Engine
        Its device and threads are used; what runs in 8-bit integers otherwise runs in float32 here.
    sampling : Sampling
    """

    def __init__(self, network: nn.Module, engine: Engine, sampling: Sampling) -> None:
        precision = "bf16" if engine.precision == "bf16" else "fp32"
        plain = replace(engine, name="torch", precision=precision)
        self._runner = TorchRunner(_placed(network), plain)
        copied = self._runner.function
        modules = copied.modules() if isinstance(copied, nn.Module) else ()
        self._layers = [layer for layer in modules if isinstance(layer, PlacedDropout)]
        self._sampling = sampling

    def variance(self, tiles: Tensor, places: Sequence[Place], *, group_size: int) -> Tensor:
        """Return (n, K, S, S) float32: the variance over the passes, 0 where all are equal.

        Parameters
        ----------
        tiles : (n, C, S, S) float32
        places : sequence of (int, int)
            One a tile.
        group_size : int
            Tiles that are computed at a time, always.
        """
        mean, squares = torch.zeros(()), torch.zeros(())
        for number in range(self._sampling.count):
            keys = [(self._sampling.seed, *place, number) for place in places]
            drawn = self._drawn(tiles, keys, group_size)
            if number == 0:
                mean, squares = drawn, torch.zeros_like(drawn)
                continue
            step = drawn - mean
            mean = mean + step / (number + 1)
            squares = squares + step * (drawn - mean)
        return squares / (self._sampling.count - 1)

    def _drawn(self, tiles: Tensor, keys: Sequence[tuple[int, ...]], group_size: int) -> Tensor:
        pictures = []
        for first in range(0, len(tiles), group_size):
            group = tiles[first : first + group_size]
            padded = tiles.new_zeros((group_size, *tiles.shape[1:]))
            padded[: len(group)] = group
            for layer in self._layers:
                layer.keys = keys[first : first + group_size]
            pictures.append(self._runner(padded)[: len(group)])
        return torch.cat(pictures)


def _is_dropout(module: nn.Module) -> bool:
    return isinstance(module, nn.Dropout) and 0 < module.p < 1


def _placed(network: nn.Module) -> nn.Module:
    """Return a copy in which every dropout is one by place."""
    copied = copy.deepcopy(network)
    number = 0
    for parent in list(copied.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Dropout) and _is_dropout(layer):
                setattr(parent, name, PlacedDropout(layer.p, number=number))
                number += 1
    return copied
