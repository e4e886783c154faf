"""Pixels to a device and back, so that copies and computing overlap; on a CPU nothing is copied.

Every strip goes over once in its own type, through pinned memory on a stream of its own, and its
result comes back once. Only `Returning.wait` waits for the device.
"""

import time
from collections import defaultdict, deque
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Pixels = npt.NDArray[Any]


def staged(pixels: Pixels, device: torch.device) -> Tensor:
    """Return pixels as a tensor that `Bus.send` can copy without waiting; any thread may ask."""
    return _pinned(_as_tensor(pixels), device)


def sent(values: Pixels | Tensor, device: torch.device) -> Tensor:
    """Return what is in this process's memory on a device, for what is queued there from now on.

    Nothing waits, as it would for a copy out of memory that the system may move. On a CPU nothing
    is copied.
    """
    tensor = values if isinstance(values, Tensor) else _as_tensor(values)
    return _pinned(tensor, device).to(device, non_blocking=True)


def _as_tensor(array: Pixels) -> Tensor:
    writeable = array if array.flags.writeable else array.copy()  # torch knows no other arrays
    return torch.from_numpy(writeable)


def _pinned(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.contiguous().pin_memory() if device.type == "cuda" else tensor


class Bus:
    """The way between this process and a device. All calls must come from one thread.

    Parameters
    ----------
    device : torch.device
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._streams = (_stream(device), _stream(device)) if device.type == "cuda" else None
        self._under_way: deque[torch.cuda.Event] = deque()

    def send(self, tensor: Tensor) -> Tensor:
        """Return a staged tensor on the device, for what is queued there from now on."""
        if self._streams is None:
            return tensor
        with torch.cuda.stream(self._streams[0]):
            there = tensor.to(self._device, non_blocking=True)
        queue = torch.cuda.current_stream(self._device)
        queue.wait_stream(self._streams[0])
        there.record_stream(queue)
        return there

    def fetch(self, tensors: Sequence[Tensor]) -> "Returning":
        """Begin to bring tensors back, as they will be when what is queued is done.

        Where another fetching is under way, that is waited for, so that no more than two are.
        """
        if self._streams is None:
            return Returning(tensors, None)
        back = self._streams[1]
        back.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(back):
            here = []
            for tensor in tensors:
                room = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
                here.append(room.copy_(tensor, non_blocking=True))
                tensor.record_stream(back)
            done = _event(blocking=True)  # who waits sleeps: files are packed on the same cores
            done.record(back)
        self._under_way.append(done)
        if len(self._under_way) > 1:
            self._under_way.popleft().synchronize()
        return Returning(here, done)


class Returning:
    """Tensors on their way back."""

    def __init__(self, tensors: Sequence[Tensor], done: torch.cuda.Event | None) -> None:
        self._tensors, self._done = tensors, done

    def wait(self) -> list[Pixels]:
        """Return them as arrays, once they are here; any thread may wait."""
        if self._done is not None:
            self._done.synchronize()
        return [np.asarray(tensor.numpy()) for tensor in self._tensors]


class Timeline:
    """Seconds between marks, in the order of what is queued on a device.

    On a CPU they are read from the clock; on a GPU from events, when all is done, so that nothing
    waits.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._marks: list[tuple[str, Any]] = []
        self.mark("")

    def mark(self, stage: str) -> None:
        """Give the time since the last mark to ``stage``; no name: to none."""
        if self._device.type == "cuda":
            moment: Any = _event(enable_timing=True)
            moment.record(torch.cuda.current_stream(self._device))
        else:
            moment = time.perf_counter()
        self._marks.append((stage, moment))

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each stage; everything that was marked must be done."""
        sums: defaultdict[str, float] = defaultdict(float)
        for (_, before), (stage, after) in pairwise(self._marks):
            if stage:
                sums[stage] += (
                    after - before
                    if isinstance(after, float)
                    else before.elapsed_time(after) / 1000.0
                )
        return dict(sums)


def _stream(device: torch.device) -> torch.cuda.Stream:
    stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return stream


def _event(**options: bool) -> torch.cuda.Event:
    return torch.cuda.Event(**options)  # type: ignore[no-untyped-call]
