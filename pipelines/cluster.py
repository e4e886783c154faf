"""Where strips are worked on: a Dask client in this process, on worker processes, or elsewhere."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import dask
from distributed import Client, Nanny, Scheduler, SpecCluster, Worker

from geop2p.errors import OptionError
from geop2p.generator import torch_left_alone
from geop2p.pipelines.lanes import LanePlugin, LaneSpec, close_lane, open_lane

READERS = 2
"""Threads of a worker beside the lane: while one waits for pictures, the other reads and cuts."""
_SETTINGS = {
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.worker.daemon": True,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """Who does the work.

    Parameters
    ----------
    client : distributed.Client
        Connected.
    slots : int
        How many strips may be worked on at the same time.
    """

    client: Client
    slots: int


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def lane_threads(workers: int) -> int:
    """Return torch's threads in each of ``workers`` worker processes on this machine."""
    return max(1, usable_cores() // max(workers, 1))


@contextmanager
def hired(
    key: str, spec: LaneSpec, *, workers: int = 0, scheduler: str | None = None
) -> Iterator[Crew]:
    """Yield a crew whose workers have a lane ``key``; everything is closed afterwards.

    Parameters
    ----------
    key, spec
        The generator lane, see `geop2p.pipelines.lanes`.
    workers : int
        0: threads of this process. Else that many worker processes on this machine.
    scheduler : str or None
        Address of a running Dask scheduler to use instead.

    Raises
    ------
    OptionError
        When no scheduler answers at that address.
    """
    with dask.config.set(_SETTINGS | _worker_environment(spec.engine.threads)):
        if scheduler is not None:
            with _client_of(scheduler) as client, _plugged(client, key, spec, is_ours=False):
                yield Crew(client=client, slots=max(1, sum(client.nthreads().values())))
        elif workers:
            with _local(workers) as client, _plugged(client, key, spec, is_ours=True):
                yield Crew(client=client, slots=workers * READERS)
        else:
            with torch_left_alone(), _local(0) as client, _opened(key, spec):
                yield Crew(client=client, slots=READERS)


def _worker_environment(threads: int) -> dict[str, int]:
    """Return what a nanny must set: left alone it sets both low, which halves torch's speed."""
    prefix = "distributed.nanny.pre-spawn-environ"
    return {f"{prefix}.OMP_NUM_THREADS": threads, f"{prefix}.MALLOC_TRIM_THRESHOLD_": 2**30}


@contextmanager
def _local(workers: int) -> Iterator[Client]:
    """Start a scheduler and workers: 0 is one worker in this process, else that many processes.

    Nothing listens but on the loopback address, and there is no dashboard. `LocalCluster` cannot be
    told so: without a dashboard's address its web servers listen on the machine's outer one. What
    goes wrong in a task is raised where its result is asked for; distributed need not log it too.
    """
    listen = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
    place = {"host": "127.0.0.1"} if workers else {"protocol": "inproc://"}
    options = {**place, **listen, "nthreads": READERS, "memory_limit": None}
    worker = {
        "cls": Nanny if workers else Worker,
        "options": {**options, "silence_logs": logging.CRITICAL},
    }
    with (
        SpecCluster(
            scheduler={"cls": Scheduler, "options": {**place, **listen, "port": 0}},
            workers=dict.fromkeys(range(max(workers, 1)), worker),
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextmanager
def _client_of(scheduler: str) -> Iterator[Client]:
    try:
        client = Client(scheduler, timeout=10, set_as_default=False)
    except (OSError, ValueError) as exc:
        raise OptionError(
            f"{scheduler}: no Dask scheduler answers: {exc} (check --scheduler)"
        ) from exc
    with client:
        yield client


@contextmanager
def _opened(key: str, spec: LaneSpec) -> Iterator[None]:
    open_lane(key, spec)
    try:
        yield
    finally:
        close_lane(key)


@contextmanager
def _plugged(client: Client, key: str, spec: LaneSpec, *, is_ours: bool) -> Iterator[None]:
    client.register_plugin(LanePlugin(key, spec, is_ours=is_ours))
    try:
        yield
    finally:
        client.unregister_worker_plugin(key)
