"""Where strips are worked on: a Dask client in this process, on worker processes, or elsewhere."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import dask
from distributed import Client, LocalCluster
from geop2p.pipelines.lanes import LanePlugin, LaneSpec, close_lane, open_lane

from geop2p.errors import OptionError

READERS = 2
"""Threads of a worker beside the lane: while one waits for pictures, the other reads and cuts."""
_SETTINGS = {
    "distributed.scheduler.http.routes": [],
    "distributed.worker.daemon": True,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
}
_WORKER_ENVIRONMENT = {
    # a nanny sets both of these low, which halves the speed of torch (measured)
    "distributed.nanny.pre-spawn-environ.OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", ""),
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 2**30,
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
    with dask.config.set(_SETTINGS | _WORKER_ENVIRONMENT):
        if scheduler is not None:
            with _client_of(scheduler) as client, _plugged(client, key, spec):
                yield Crew(client=client, slots=max(1, sum(client.nthreads().values())))
        elif workers:
            with _local(workers) as client, _plugged(client, key, spec):
                yield Crew(client=client, slots=workers * READERS)
        else:
            with _in_process() as client, _opened(key, spec):
                yield Crew(client=client, slots=READERS)


@contextmanager
def _in_process() -> Iterator[Client]:
    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=READERS,
            processes=False,
            dashboard_address=None,
            memory_limit=None,
            silence_logs=logging.ERROR,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextmanager
def _local(workers: int) -> Iterator[Client]:
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=READERS,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            worker_dashboard_address=None,
            memory_limit=None,
            silence_logs=logging.ERROR,
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
def _plugged(client: Client, key: str, spec: LaneSpec) -> Iterator[None]:
    client.register_plugin(LanePlugin(key, spec))
    try:
        yield
    finally:
        client.unregister_worker_plugin(key)
