"""The workers of a run: who is there, who is fit, and how one that hangs is sent away."""

import logging
import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread

from distributed import Client, Future, SpecCluster

from geop2p.errors import ClusterError
from geop2p.pipelines.inspection import Needs, inspect

logger = logging.getLogger(__name__)

ANSWER_S = 60
"""Seconds that a scheduler or a worker has to answer."""
_ASK_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """Who does the work.

    Parameters
    ----------
    client : distributed.Client
        Connected.
    place : str
        The scheduler's address, or words for it.
    cluster : SpecCluster or None
        Ours, when the workers are.
    needs : Needs or None
        What a worker must have; None where workers are of our own making.
    can_hang : bool
        Workers are processes, which can be given up.
    """

    client: Client
    place: str
    cluster: SpecCluster | None = None
    needs: Needs | None = None
    can_hang: bool = True

    def workers(self) -> dict[str, int]:
        """Return how many threads each worker has, by its address.

        Raises
        ------
        ClusterError
            When the scheduler is lost.
        """
        if self.client.status != "running":
            raise self.lost()
        try:
            ncores = self.client.scheduler.ncores
            threads: dict[str, int] = self.client.sync(ncores, callback_timeout=ANSWER_S)
        except (OSError, RuntimeError, TimeoutError) as exc:
            raise self.lost() from exc
        return threads

    def lost(self) -> ClusterError:
        """Return the error to raise when the scheduler is lost."""
        return ClusterError(
            f"{self.place}: the scheduler is lost or does not answer; finished strips are kept "
            "(start it again, or work without it, then run the same command again)"
        )

    def inspection(self, worker: str, needs: Needs) -> Future:
        """Ask a worker whether it is fit; the answer is that of `inspect`."""
        return self.client.submit(inspect, needs, workers=[worker], pure=False, priority=100)

    def has_retired(self, worker: str) -> bool:
        """Return whether a worker that is gone had been asked to go, or said that it goes."""
        events = self.client.get_events(worker) or ()
        ends = [event for _, event in events if event.get("action") == "remove-worker"]
        return bool(ends) and bool(ends[-1].get("expected"))

    def dismiss(self, worker: str) -> None:
        """End a worker that hangs; where a nanny minds it, another takes its place."""
        if self.cluster is None:
            Thread(target=self._restart, args=(worker,), daemon=True).start()
            return
        for nanny in list(self.cluster.workers.values()):
            if nanny.worker_address == worker and nanny.pid:
                with suppress(ProcessLookupError):
                    os.kill(nanny.pid, signal.SIGKILL)

    def _restart(self, worker: str) -> None:
        try:
            self.client.restart_workers([worker], timeout=ANSWER_S, raise_for_error=False)
        except (OSError, RuntimeError, TimeoutError, ValueError, KeyError) as exc:
            logger.info("worker %s could not be restarted: %s", worker, exc)


def check_workers(crew: Crew, needs: Needs) -> None:
    """Ask all workers of a cluster whether they are fit, before they are given anything.

    Raises
    ------
    ClusterError
        When there is none, or one does not answer, or lacks something; each is named.
    """
    _wait_for_one(crew)
    asked: dict[str, Future] = {}
    until = time.monotonic() + ANSWER_S
    while time.monotonic() < until:
        present = crew.workers()
        for worker in present.keys() - asked.keys():
            asked[worker] = crew.inspection(worker, needs)
        asked = {worker: future for worker, future in asked.items() if worker in present}
        if asked and all(future.done() for future in asked.values()):
            break
        time.sleep(_ASK_S)
    complaints = [found for worker in asked if (found := complaint(worker, asked[worker]))]
    if complaints:
        raise ClusterError(f"{crew.place}: {_joined(complaints)} (mend or stop these workers)")


def complaint(worker: str, asked: Future) -> str | None:
    """Return what an inspection came to, in words, or None when the worker is fit."""
    if asked.status == "finished":
        found: str | None = asked.result(timeout=ANSWER_S)
        return None if found is None else f"{found} [{worker}]"
    if asked.status == "error":
        exc = asked.exception(timeout=ANSWER_S)
        return f"worker {worker}: cannot be asked: {type(exc).__name__}: {exc}"
    return f"worker {worker}: does not answer within {ANSWER_S} s"


def _wait_for_one(crew: Crew) -> None:
    try:
        crew.client.wait_for_workers(1, timeout=ANSWER_S)
    except (TimeoutError, OSError) as exc:
        raise ClusterError(
            f"{crew.place}: no worker within {ANSWER_S} s (start one: dask worker {crew.place})"
        ) from exc


def _joined(complaints: Iterable[str], most: int = 5) -> str:
    found = list(complaints)
    more = f", and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more
