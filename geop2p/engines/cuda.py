"""The engine for bf16 on a GPU: batch norm folded, weights in bfloat16, launched as one graph.

The body of the network is computed in bfloat16, channels last; the head, with tanh, in float32.
float32 on a GPU is the reference engine's.

A batch of fixed size makes the same kernels run every time. They are recorded once and launched
together, which spares some hundred launches a batch. Where that does not work they are launched one
by one, which draws the same.
"""

import logging
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from geop2p.engines.choice import Engine, one_line
from geop2p.engines.folding import folded
from geop2p.networks import ResNet, UNet

logger = logging.getLogger(__name__)

Draw = Callable[[Tensor], Tensor]
Record = Callable[[Draw, Tensor], Draw]
"""Makes of a function, and an example of what it is given, one that does the same sooner; what it
returns may be overwritten by its next call."""
_WARM_UPS = 3
"""Calls before a graph is recorded, in which libraries choose kernels and take their memory."""


class HalfRunner:
    """Runs a generator with its body in bfloat16; all calls must come from one thread.

    Parameters
    ----------
    network : UNet or ResNet
        It is copied.
    engine : Engine
        Its device is used.
    record : function or None
        How batches are recorded; None: they are not. The default is CUDA's graphs, on a GPU.
    """

    def __init__(
        self, network: UNet | ResNet, engine: Engine, *, record: Record | None = None
    ) -> None:
        device = torch.device(engine.device)
        half = folded(network).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for name, part in half.named_children():
            if name != "head":  # float32 would not get back what bfloat16 lost of its weights
                part.to(torch.bfloat16)
        network = cast("UNet | ResNet", half)
        self._has_relu_first = isinstance(network.head[0], nn.ReLU)
        self._body, self._head = network.body, network.head[int(self._has_relu_first) :]
        self._record = recorded_graph if record is None and device.type == "cuda" else record
        self._runs: dict[tuple[int, ...], Draw] = {}

    def __call__(self, tiles: Tensor) -> Tensor:
        """Translate (n, C, S, S) float32 tiles on the device to (n, K, S, S) float32."""
        shape = tuple(tiles.shape)
        if shape not in self._runs:
            self._runs.clear()  # a graph keeps its memory, and batches are only ever made smaller
            self._runs[shape] = self._prepared(tiles)
        return self._runs[shape](tiles).clone(memory_format=torch.preserve_format)

    def _prepared(self, tiles: Tensor) -> Draw:
        if self._record is None:
            return self._draw
        try:
            return self._record(self._draw, tiles)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as exc:
            logger.warning(
                "batches cannot be recorded (%s): kernels are launched one by one", one_line(exc)
            )
            self._record = None
            return self._draw

    def _draw(self, tiles: Tensor) -> Tensor:
        features = self._body(tiles.to(torch.bfloat16, memory_format=torch.channels_last))
        if self._has_relu_first:  # the head's: the same bits, of numbers of half the size, in place
            features = features.relu_()
        picture: Tensor = self._head(features.float())
        return picture


def recorded_graph(draw: Draw, tiles: Tensor) -> Draw:
    """Record what ``draw`` does with tiles of one shape as a CUDA graph; return what replays it.

    Raises
    ------
    RuntimeError
        When something in it cannot be recorded.

    References
    ----------
    https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
    """
    with torch.cuda.device(tiles.device):  # torch records on a stream of the current device
        given = tiles.clone(memory_format=torch.channels_last)
        beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(_WARM_UPS):
                draw(given)
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        # other threads of this process pin memory meanwhile, which is no part of the recording
        with torch.cuda.graph(graph, stream=beside, capture_error_mode="thread_local"):
            drawn = draw(given)

    def replay(tiles: Tensor) -> Tensor:
        given.copy_(tiles)
        graph.replay()
        return drawn

    return replay
