"""The reference engine: the network as torch runs it. Other engines are measured against it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from geop2p.engines.choice import Engine
from geop2p.networks import ResNet, UNet

TileFunction = Callable[[Tensor], Tensor]
"""(N, C, H, W) float32 in [-1, 1] to (N, K, H, W) in [-1, 1]."""


class TorchRunner:
    """Runs a module, or any other function, as it is.

    Parameters
    ----------
    function : torch.nn.Module or callable
        A module is put on the device, in evaluation mode, channels last.
    engine : Engine
        Its device and precision are used.
    """

    def __init__(self, function: TileFunction, engine: Engine) -> None:
        self._device = torch.device(engine.device)
        self._precision = engine.precision
        if isinstance(function, nn.Module):
            function = function.eval().to(self._device)
            function.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.function = function

    def __call__(self, tiles: Tensor) -> Tensor:
        """Translate (n, C, S, S) float32 tiles on the device to (n, K, S, S) float32."""
        x = tiles.contiguous(memory_format=torch.channels_last)
        return self._run(x).float()

    def _run(self, x: Tensor) -> Tensor:
        if self._precision != "bf16":
            return self.function(x)
        with torch.autocast(self._device.type, dtype=torch.bfloat16):
            if not isinstance(self.function, (UNet, ResNet)):
                return self.function(x)
            features = self.function.body(x)
        picture: Tensor = self.function.head(features.float())
        return picture
