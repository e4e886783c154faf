"""What every engine looks like from outside, and the making of the one that was chosen."""

import copy
import logging
from collections.abc import Callable
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from geop2p.allocator import release_freed_memory
from geop2p.engines.choice import Engine, one_line
from geop2p.engines.cuda import HalfRunner
from geop2p.engines.int8 import Int8Runner, Ranges
from geop2p.engines.packed import packed
from geop2p.engines.reference import TileFunction, TorchRunner
from geop2p.errors import OptionError
from geop2p.networks import ResNet, UNet

logger = logging.getLogger(__name__)

Maker = Callable[[nn.Module, tuple[int, ...]], TileFunction]
"""Makes a network ready for groups of one shape, (n, C, S, S)."""
MAKERS: dict[str, Maker] = {"packed": packed}
"""Engines other than the reference, which draw the same in float32. They use the network up."""
Remake = Callable[[], nn.Module]
"""Makes a network anew, with the weights that it had."""
TOLERANCE = 1 / 255
"""In units of [-1, 1], half a grey level: an engine further from the reference is wrong. A network
that saturates can magnify the rounding of float32 to a third of that, in the reference too."""
_UNMADE = (ImportError, AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError)


class Runner(Protocol):
    """Translates one group of tiles on the engine's device."""

    def __call__(self, tiles: Tensor) -> Tensor:
        """Translate (n, C, S, S) float32 in [-1, 1] to (n, K, S, S) float32, on the same device.

        A network's n is the engine's group size, always; after a device has run out of memory it is
        smaller. Another function's n is any up to the batch size.
        """
        ...


def make_runner(
    function: TileFunction,
    engine: Engine,
    *,
    ranges: Ranges | None = None,
    remake: Remake | None = None,
) -> Runner:
    """Return what runs ``function``; where an engine cannot be made, the reference does.

    Parameters
    ----------
    function : torch.nn.Module or callable
        What maps tiles to pictures. Functions that are no modules are run as they are.
    engine : Engine
        How.
    ranges : mapping of str to (float, float) or None
        What precision int8 needs: those of the model's card.
    remake : callable or None
        With it, ``function`` is a module that nobody else needs, which is used up instead of
        copied, and made anew by this where it has to be. None: it is left as it is.

    Raises
    ------
    OptionError
        For precision int8 without ranges.
    ModelError
        For precision int8 and a network that cannot be run so.
    """
    if isinstance(function, (UNet, ResNet)) and (engine.kind, engine.precision) == ("cuda", "bf16"):
        return HalfRunner(function, engine)
    if not isinstance(function, nn.Module):
        return TorchRunner(function, engine)
    if remake is None:
        remake = partial(copy.deepcopy, function)
        function = remake()
    if engine.kind == "cpu":
        if engine.precision == "int8":
            if ranges is None:
                raise OptionError("precision int8 without the ranges of a model's card")
            return Int8Runner(function, ranges, engine.group_size)
        if engine.precision == "fp32" and engine.name in MAKERS:
            return PreparedRunner(function, engine, remake=remake)
    return TorchRunner(function, engine)


class PreparedRunner:
    """An engine that is made at the first group, for its shape, and compared with the reference.

    Where it cannot be made, or draws something else, the reference takes its place, and a warning
    says so once.

    Parameters
    ----------
    network : torch.nn.Module
        It is used up.
    engine : Engine
        Its name is a key of `MAKERS`.
    remake : callable
        Makes the network anew, for the reference.
    """

    def __init__(self, network: nn.Module, engine: Engine, *, remake: Remake) -> None:
        self._network: nn.Module | None = network.eval()
        self._engine, self._remake = engine, remake
        self._run: TileFunction | None = None

    def __call__(self, tiles: Tensor) -> Tensor:
        """Translate (n, C, S, S) float32 tiles to (n, K, S, S) float32."""
        if self._run is None:
            self._run = self._prepared(tuple(tiles.shape))
        return self._run(tiles)

    def _prepared(self, shape: tuple[int, ...]) -> TileFunction:
        network, self._network = self._network, None
        if network is None:
            raise RuntimeError("an engine that failed is called again")
        try:
            tile = _noise(shape)
            expected = network(tile)
            run = MAKERS[self._engine.name](network, shape)
            fault = _fault(run(tile.expand(shape))[:1], expected)
        except _UNMADE as exc:
            fault = one_line(exc)
        release_freed_memory()
        if fault is None:
            return run
        logger.warning("engine %s: %s; the torch engine is used", self._engine.name, fault)
        return TorchRunner(self._remake(), self._engine)


def _noise(shape: tuple[int, ...]) -> Tensor:
    """Return one tile, the same at every call."""
    random = torch.Generator().manual_seed(0)
    return torch.rand((1, *shape[1:]), generator=random) * 2 - 1


def _fault(drawn: Tensor, expected: Tensor) -> str | None:
    """Return how the picture of one tile is not the network's, or None where it is."""
    if drawn.shape != expected.shape:
        return f"its pictures are {tuple(drawn.shape)}, not {tuple(expected.shape)}"
    if torch.allclose(drawn, expected, rtol=0, atol=TOLERANCE, equal_nan=True):
        return None
    return f"its picture is off by up to {float((drawn - expected).abs().max()):.2g}"
