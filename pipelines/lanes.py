"""Generator lanes: the one thread of a worker that runs torch, with all the cores it was given.

Dask's threads read strips and pack results; they hand each strip to the lane and wait. One lane
means one model in memory and no two networks fighting for the same cores.
"""

import ctypes
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import torch
from distributed import Worker
from distributed.diagnostics.plugin import WorkerPlugin
from torch import nn

from geop2p.engines.choice import Engine
from geop2p.engines.reference import TileFunction
from geop2p.generator import ReadyGenerator, use_exact_kernels
from geop2p.mirrors import MIRRORS
from geop2p.model import Model, load_model
from geop2p.raster.reader import close_reader
from geop2p.sampling import Sampling

Result = TypeVar("Result")
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


class Handover:
    """A model that is there already, for the first who asks; nothing of it goes to other processes.

    Parameters
    ----------
    model : Model or None
        Whoever takes it may use it up.
    """

    def __init__(self, model: Model | None = None) -> None:
        self._model = model

    def take(self) -> Model | None:
        """Return the model, at the first call only."""
        model, self._model = self._model, None
        return model

    def __reduce__(self) -> tuple[type["Handover"], tuple[()]]:
        """Leave the model behind when this is sent."""
        return Handover, ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneSpec:
    """What a lane runs: a model by its file, or a function; one of the two is None.

    ``is_mirrored`` says whether each tile's mirror images are drawn, too; ``sampling`` how often
    each tile is drawn with dropout, None: never. ``opened`` may have the model of that file.
    """

    engine: Engine
    model_path: str | None = None
    function: TileFunction | None = None
    is_mirrored: bool = False
    sampling: Sampling | None = None
    opened: Handover = field(default_factory=Handover, compare=False, repr=False)

    @property
    def passes(self) -> int:
        """Return how often each tile is drawn."""
        samples = 0 if self.sampling is None else self.sampling.count
        return (len(MIRRORS) if self.is_mirrored else 1) + samples

    def load(self) -> ReadyGenerator:
        """Return the generator, on its device, which the calling thread works with from now on."""
        make_current(torch.device(self.engine.device))
        use_exact_kernels()
        function: Any = self.function
        ranges, remake = None, None
        if self.model_path is not None:
            model = self.opened.take() or load_model(self.model_path)
            function, remake = model.generator, partial(_network, self.model_path)
            ranges = None if model.card.int8 is None else model.card.int8.ranges
        return ReadyGenerator(
            function,
            self.engine,
            ranges=ranges,
            remake=remake,
            is_mirrored=self.is_mirrored,
            sampling=self.sampling,
        )


def _network(path: str) -> nn.Module:
    return load_model(path).generator


class Lane:
    """One thread that owns a generator; it begins to load it at once.

    Parameters
    ----------
    spec : LaneSpec
        What to load.
    """

    def __init__(self, spec: LaneSpec) -> None:
        self.device = torch.device(spec.engine.device)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="geop2p-lane")
        self._generator = self._thread.submit(spec.load)

    def run(self, work: Callable[[ReadyGenerator], Result]) -> Result:
        """Return what ``work`` makes of the generator, in the lane's thread, after what came first.

        Raises
        ------
        Exception
            What loading the generator, or the work, raised.
        """
        return self._thread.submit(lambda: work(self._generator.result())).result()

    def close(self) -> None:
        """Let the thread end and the model go."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._generator = Future()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()  # others may want what this process would keep for later


_LANES: dict[str, Lane] = {}
_LOCK = threading.Lock()


def open_lane(key: str, spec: LaneSpec) -> None:
    """Give this process a lane under ``key``."""
    with _LOCK:
        _LANES[key] = Lane(spec)


def find_lane(key: str) -> Lane:
    """Return this process's lane of that key; `KeyError` when it was never opened."""
    with _LOCK:
        return _LANES[key]


def close_lane(key: str) -> None:
    """Close this process's lane of that key, if there is one, and the scene that it drew."""
    close_reader(key)
    with _LOCK:
        lane = _LANES.pop(key, None)
    if lane is not None:
        lane.close()


def depend_on(owner: int) -> None:
    """Make this worker process end with the process ``owner``, however that ends.

    Linux kills it, even where it is stopped or deep in native code. A terminal sends Ctrl-C to all:
    it is ignored here, the owner ends the others.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != owner:  # it ended before it was asked for
        os._exit(1)


def make_current(device: torch.device) -> None:
    """Let the calling thread work on a GPU that is named by number; any other is current already.

    What is made there without a word of where, such as a graph, is made on the current one.
    """
    if device.index is not None and device.type == "cuda":
        torch.cuda.set_device(device)


def device_of_worker(device: str, name: object) -> str:
    """Return where one of several worker processes of a machine computes: they share its GPUs out.

    Only GPUs of one kind are, since bits depend on the kind, and only where none of them was named.

    Parameters
    ----------
    device : str
        As in `Engine`.
    name : int, or its digits
        The worker's, counted from 0.
    """
    if device != "cuda" or not str(name).isdigit():
        return device
    count = torch.cuda.device_count()
    kinds = {torch.cuda.get_device_name(number) for number in range(count)}
    return f"cuda:{int(str(name)) % count}" if len(kinds) == 1 else device


class LanePlugin(WorkerPlugin):  # type: ignore[misc]  # distributed has no types
    """Opens a lane in every worker, also in those that join later.

    Parameters
    ----------
    key, spec
        The lane.
    owner : int or None
        Process that started the workers and that they must not outlive; None for a cluster's.
    """

    def __init__(self, key: str, spec: LaneSpec, *, owner: int | None) -> None:
        self.name = key
        self._spec, self._owner = spec, owner

    def setup(self, worker: Worker) -> None:
        """Open the lane."""
        spec = self._spec
        if self._owner is not None:
            depend_on(self._owner)
            device = device_of_worker(spec.engine.device, worker.name)
            spec = replace(spec, engine=replace(spec.engine, device=device))
        open_lane(self.name, spec)

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002
        """Close the lane."""
        close_lane(self.name)
