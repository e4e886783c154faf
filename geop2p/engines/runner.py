"""What every engine looks like from outside, and the making of the one that was chosen."""

from typing import Protocol

from torch import Tensor

from geop2p.engines.choice import Engine
from geop2p.engines.reference import TileFunction, TorchRunner


class Runner(Protocol):
    """Translates one group of tiles on the engine's device."""

    def __call__(self, tiles: Tensor) -> Tensor:
        """Translate (n, C, S, S) float32 in [-1, 1] to (n, K, S, S) float32, on the same device.

        A network's n is the engine's group size, always; after a device has run out of memory it is
        smaller. Another function's n is any up to the batch size.
        """
        ...


def make_runner(function: TileFunction, engine: Engine) -> Runner:
    """Return what runs ``function``; where an engine cannot be made, the reference does."""
    return TorchRunner(function, engine)
