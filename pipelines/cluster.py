"""Where strips are worked on: a Dask client in this process, on worker processes, or elsewhere."""

import logging
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import dask
from distributed import Client, Nanny, Scheduler, SpecCluster, Worker

from geop2p.allocator import ARENAS
from geop2p.cores import usable_cores
from geop2p.errors import ClusterError
from geop2p.generator import torch_left_alone
from geop2p.pipelines.connection import connected, dask_kept_quiet
from geop2p.pipelines.crew import ANSWER_S, Crew, check_workers
from geop2p.pipelines.inspection import needs_of
from geop2p.pipelines.lanes import LanePlugin, LaneSpec, close_lane, open_lane
from geop2p.pipelines.request import Request
from geop2p.pipelines.strips import StripJob

READERS = {"cpu": 2, "cuda": 3}
"""Threads of a worker beside the lane: while one waits for its strip, another has the next one
read. A GPU has two strips at a time, so that copies overlap with computing."""
CLUSTER_THREADS = 4
"""torch's threads in workers of a cluster. A fixed number, since bits depend on it: the map must
not depend on the machines that the cluster happens to have."""
_SETTINGS = {
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.worker.daemon": True,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
}


def lane_threads(workers: int, *, is_elsewhere: bool = False) -> int:
    """Return torch's threads in each of ``workers`` processes here, or in a worker elsewhere."""
    return CLUSTER_THREADS if is_elsewhere else max(1, usable_cores() // max(workers, 1))


@contextmanager
def hired(
    request: Request, *, job: StripJob, lane: LaneSpec, reads_scene: bool = True
) -> Iterator[Crew]:
    """Yield a crew whose workers have the job's lane; everything is closed afterwards.

    Parameters
    ----------
    request : Request
        Says where: threads of this process, worker processes, or a running scheduler.
    job, lane
        What is to be done, and the generator, see `geop2p.pipelines.lanes`.
    reads_scene : bool
        Workers read the scene themselves.

    Raises
    ------
    OptionError
        When no scheduler answers at the address that was given.
    ClusterError
        When workers cannot be started, or one elsewhere is not fit for the work.
    """
    settings = _SETTINGS | _worker_environment(lane.engine.threads)
    threads = READERS[lane.engine.kind]
    with dask_kept_quiet(), dask.config.set(settings):
        if request.scheduler is not None:
            needs = needs_of(
                device=lane.engine.device,
                scene=job.source.path if reads_scene else None,
                model=lane.model_path,
            )
            with connected(request) as client:
                crew = Crew(client=client, place=client.scheduler.address, needs=needs)
                check_workers(crew, needs)
                with _plugged(client, job.lane, lane, owner=None):
                    yield crew
        elif request.workers:
            place = f"{request.workers} worker processes"
            with (
                _processes(request.workers, threads=threads) as (cluster, client),
                _plugged(client, job.lane, lane, owner=os.getpid()),
            ):
                yield Crew(client=client, place=place, cluster=cluster)
        else:
            with (
                torch_left_alone(),
                _local(0, threads=threads) as (_, client),
                _opened(job.lane, lane),
            ):
                yield Crew(client=client, place="this process", can_hang=False)


def end_if_started_by_spawn() -> None:
    """End this process, without a word, if it is a worker that runs its owner's program again.

    Worker processes import the program that started them. One that starts work without asking for
    its name (``if __name__ == "__main__"``) would do so in each of them, and they in others.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        os._exit(1)


def _worker_environment(threads: int) -> dict[str, int | None]:
    """Return what a nanny must set: its own values halve torch's speed.

    Any threshold at which memory is trimmed, were it a high one, has the C library map every block
    of 128 KiB anew, page by page; without one it learns from what is freed.
    """
    settings = {"OMP_NUM_THREADS": threads, "MALLOC_TRIM_THRESHOLD_": None, ARENAS: 1}
    return {f"distributed.nanny.pre-spawn-environ.{name}": to for name, to in settings.items()}


@contextmanager
def _processes(workers: int, *, threads: int) -> Iterator[tuple[SpecCluster, Client]]:
    """Start worker processes; none is left when this ends, and none is waited for."""
    with _local(workers, threads=threads) as (cluster, client):
        try:
            yield cluster, client
        finally:
            _kill(cluster)


def _kill(cluster: SpecCluster) -> None:
    """End worker processes at once: they hold nothing that is needed, and asking takes seconds."""
    for nanny in list(cluster.workers.values()):
        nanny.auto_restart = False
        if pid := nanny.pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def _local(workers: int, *, threads: int) -> Iterator[tuple[SpecCluster, Client]]:
    """Start a scheduler and workers: 0 is one worker in this process, else that many processes.

    Nothing listens but on the loopback address, and there is no dashboard. `LocalCluster` cannot be
    told so: without a dashboard's address its web servers listen on the machine's outer one. What
    goes wrong in a task is raised where its result is asked for; distributed need not log it too.
    """
    listen = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
    place = {"host": "127.0.0.1"} if workers else {"protocol": "inproc://"}
    options = {**place, **listen, "nthreads": threads, "memory_limit": None}
    worker = {
        "cls": Nanny if workers else Worker,
        "options": {**options, "silence_logs": logging.CRITICAL},
    }
    with (
        _started(
            scheduler={"cls": Scheduler, "options": {**place, **listen, "port": 0}},
            workers=dict.fromkeys(range(max(workers, 1)), worker),
        ) as cluster,
        Client(cluster) as client,
    ):
        yield cluster, client


def _started(**spec: object) -> SpecCluster:
    try:
        return SpecCluster(**spec, silence_logs=logging.CRITICAL)
    except (RuntimeError, OSError):
        raise ClusterError(
            "worker processes ended while they started (in a program of your own, call translate "
            'under if __name__ == "__main__":, since workers import it; else try --workers 0)'
        ) from None


@contextmanager
def _opened(key: str, spec: LaneSpec) -> Iterator[None]:
    open_lane(key, spec)
    try:
        yield
    finally:
        close_lane(key)


@contextmanager
def _plugged(client: Client, key: str, spec: LaneSpec, *, owner: int | None) -> Iterator[None]:
    client.register_plugin(LanePlugin(key, spec, owner=owner))
    try:
        yield
    finally:
        if owner is None and client.status == "running":
            # a worker that hangs would hold up the end: it forgets its lane when it is restarted
            with suppress(OSError, RuntimeError, TimeoutError):
                unregister = client.scheduler.unregister_worker_plugin
                client.sync(unregister, name=key, callback_timeout=ANSWER_S / 6)
