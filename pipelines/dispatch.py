"""Strips sent to the crew, a bounded number at a time, and their results as they are ready.

Each strip is sent to one worker by name, so that it is known here which strips a worker had when it
ended, hung or retired; `geop2p.pipelines.roster` draws the conclusions. Dask never moves or repeats
a strip by itself.
"""

import logging
import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue

from distributed import Future, KilledWorker

from geop2p.errors import ClusterError, OutOfMemoryError
from geop2p.generator import is_of_memory
from geop2p.grid import Strip
from geop2p.memory import peak_memory_mib
from geop2p.parts import StripResult
from geop2p.pipelines.crew import ANSWER_S, Crew, complaint
from geop2p.pipelines.planning import Plan, strip_bytes
from geop2p.pipelines.roster import LOSSES, Roster
from geop2p.pipelines.strips import (
    Stopwatch,
    StripJob,
    StripRows,
    needed_rows,
    read_span,
    translate_strip,
)
from geop2p.raster.scene import OrderedRows, open_source

logger = logging.getLogger(__name__)

POLL_S = 0.25
"""How often the scheduler is asked who is there."""
WORKER_BYTES = 3 * 2**29
"""Memory that the strips of one worker may take together, by `strip_bytes`."""
LEAST_TIMEOUT_S = 600.0
TILE_TIMEOUT_S = 10.0
"""Seconds that a strip may take by default: at least the first, the second a tile. A tile of the
largest network takes a tenth of a second on two cores."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A strip's result, and the largest size that the process which made it has had."""

    result: StripResult
    peak_memory_mib: float


@dataclass(eq=False, slots=True)
class _Attempt:
    strip: Strip
    worker: str
    future: Future
    until: float


def do_strip(job: StripJob, strip: Strip, rows: StripRows | None = None) -> Finished:
    """Translate one strip on a worker.

    Raises
    ------
    OutOfMemoryError
        When the worker has no memory for it.
    Geop2pError
        What `translate_strip` raises.
    """
    try:
        result = translate_strip(job, strip, rows)
    except (MemoryError, RuntimeError) as exc:
        if not is_of_memory(exc):
            raise
        raise OutOfMemoryError(
            f"{job.source.path}: no memory for a strip of {strip.last - strip.first} rows of tiles "
            "(try --strip-rows 1, fewer --workers)"
        ) from None
    return Finished(result, peak_memory_mib())


def strip_results(
    plan: Plan, strips: Sequence[Strip], crew: Crew, *, watch: Stopwatch
) -> Iterator[StripResult]:
    """Yield strip results as they are ready, with a bounded number in flight.

    ``watch`` is told the time spent reading here and ``peak_memory_mib_workers``, the largest size
    of a process that did strips.

    Raises
    ------
    ClusterError
        When a strip cost `LOSSES` workers (the others are done first), no worker is left, or the
        scheduler is lost.
    Geop2pError
        What `translate_strip` raises, from whatever worker.
    """
    with ExitStack() as stack:
        sender = _Sender(plan, crew, watch=watch, stack=stack)
        dispatcher = Dispatcher(plan, strips, crew, sender=sender)
        stack.callback(dispatcher.close)
        for finished in dispatcher.results():
            peak = max(watch.counts["peak_memory_mib_workers"], finished.peak_memory_mib)
            watch.counts["peak_memory_mib_workers"] = peak
            yield finished.result


class Dispatcher:
    """Sends strips, watches workers, and fetches one result at a time."""

    def __init__(
        self, plan: Plan, strips: Sequence[Strip], crew: Crew, *, sender: "_Sender"
    ) -> None:
        self._plan, self._crew, self._sender = plan, crew, sender
        self._roster = Roster(strips)
        self._attempts: set[_Attempt] = set()
        self._ready: SimpleQueue[_Attempt] = SimpleQueue()
        self._fetching = ThreadPoolExecutor(1, thread_name_prefix="geop2p-fetch")
        self._asked: dict[str, Future] = {}
        self._given_up: set[str] = set()
        self._looked = self._had_workers = time.monotonic()

    def results(self) -> Iterator[Finished]:
        """Yield what comes back; see `strip_results`."""
        self._look()
        while not (self._roster.is_done or self._roster.is_hopeless):
            self._send()
            attempt = self._next()
            if attempt is not None and (finished := self._fetched(attempt)) is not None:
                yield finished
            self._look_again()
        if self._roster.condemned:
            raise ClusterError(self._blame())

    def close(self) -> None:
        """Cancel what is under way."""
        for attempt in list(self._attempts):
            self._drop(attempt)
        self._fetching.shutdown(wait=False, cancel_futures=True)

    def _send(self) -> None:
        """Send strips as long as a worker takes one."""
        while (assigned := self._roster.assign()) is not None:
            worker, strip = assigned
            future = self._sender.send(strip, worker)
            if future is None:  # the worker is not reached: whether it is lost is seen soon
                self._roster.lost(strip, worker, is_fault=False)
                time.sleep(POLL_S)
                return
            attempt = _Attempt(strip, worker, future, time.monotonic() + self._timeout(strip))
            self._attempts.add(attempt)
            future.add_done_callback(lambda _, attempt=attempt: self._ready.put(attempt))

    def _capacity(self, threads: int) -> int:
        """Return how many strips a worker has at a time: one waits, unless they are very wide."""
        return max(1, min(threads + 1, WORKER_BYTES // strip_bytes(self._plan)))

    def _timeout(self, strip: Strip) -> float:
        if not self._crew.can_hang:
            return math.inf
        tiles = (strip.last - strip.first) * self._plan.job.grid.tile_cols
        default = max(LEAST_TIMEOUT_S, TILE_TIMEOUT_S * tiles * self._plan.lane.passes)
        return self._plan.request.worker_timeout or default

    def _next(self) -> _Attempt | None:
        try:
            attempt = self._ready.get(timeout=POLL_S)
        except Empty:
            return None
        return attempt if attempt in self._attempts else None

    def _fetched(self, attempt: _Attempt) -> Finished | None:
        """Return what an attempt came to, or None when it has to be made again."""
        fetching = self._fetching.submit(attempt.future.result)
        while not wait_for([fetching], timeout=POLL_S).done:
            self._look_again()
            if attempt not in self._attempts:  # given up meanwhile, which ends the fetching too
                return None
        if attempt not in self._attempts:
            return None
        exc = fetching.exception()
        if exc is None:
            self._roster.finished(attempt.strip, attempt.worker)
            self._drop(attempt)
            finished: Finished = fetching.result()
            return finished
        if attempt.future.status == "error" and not isinstance(exc, KilledWorker):
            raise exc
        if not isinstance(exc, CancelledError | OSError | KilledWorker):
            raise exc
        self._look()  # a lost scheduler cancels everything: that is told here
        if attempt in self._attempts:
            self._roster.lost(attempt.strip, attempt.worker, is_fault=True)
            self._drop(attempt)
        return None

    def _drop(self, attempt: _Attempt) -> None:
        self._attempts.discard(attempt)
        if attempt.future.status == "pending" and self._crew.client.status == "running":
            attempt.future.cancel(force=True)
        attempt.future.release()

    def _look_again(self) -> None:
        if time.monotonic() - self._looked >= POLL_S:
            self._look()

    def _look(self) -> None:
        """See which workers came, which are gone, and which take too long."""
        threads = self._crew.workers()
        now = self._looked = time.monotonic()
        for worker in self._roster.workers - threads.keys():
            self._lose(worker, is_fault=not self._crew.has_retired(worker))
        self._given_up &= threads.keys()
        for worker in threads.keys() - self._roster.workers - self._given_up:
            if self._is_fit(worker):
                self._roster.join(worker, capacity=self._capacity(threads[worker]))
        for worker in {attempt.worker for attempt in self._attempts if attempt.until < now}:
            logger.warning("worker %s hangs: it is given up, its strips are done again", worker)
            self._given_up.add(worker)
            self._lose(worker, is_fault=True)
            self._crew.dismiss(worker)
        if self._roster.workers:
            self._had_workers = now
        elif now - self._had_workers > ANSWER_S:
            raise ClusterError(
                f"{self._crew.place}: no worker is left; finished strips are kept (start workers, "
                "then run the same command again)"
            )

    def _lose(self, worker: str, *, is_fault: bool) -> None:
        self._roster.leave(worker, is_fault=is_fault)
        for attempt in [attempt for attempt in self._attempts if attempt.worker == worker]:
            self._drop(attempt)

    def _is_fit(self, worker: str) -> bool:
        """Return whether a worker that came may be given work; it is asked first."""
        if self._crew.needs is None:
            return True
        if worker not in self._asked:
            self._asked[worker] = self._crew.inspection(worker, self._crew.needs)
        asked = self._asked[worker]
        if not asked.done():
            return False
        found = complaint(worker, asked)
        del self._asked[worker]
        if found is not None:
            logger.warning("%s: it is given no work", found)
            self._given_up.add(worker)
        return found is None

    def _blame(self) -> str:
        """Return what to say of the strips that cost their workers."""
        condemned = sorted(self._roster.condemned, key=lambda strip: strip.first)
        spans = [self._plan.job.grid.own_rows(strip) for strip in condemned]
        rows = ", ".join(f"{start} to {stop - 1}" for start, stop in spans)
        others = (
            "other strips were not tried"
            if self._roster.is_hopeless
            else "all other strips are finished"
        )
        return (
            f"{self._plan.spec.path}: raster rows {rows}: {LOSSES} workers ended or hung over them "
            f"(memory? a damaged block? try --strip-rows 1, fewer --workers, or --workers 0); "
            f"{others}, and the same command goes on from what is finished"
        )


class _Sender:
    """Submits strips. Where workers cannot read rows by themselves, they are read here and sent.

    Rows are read once and in order; only those of a strip that has to be made again, once more.
    """

    def __init__(self, plan: Plan, crew: Crew, *, watch: Stopwatch, stack: ExitStack) -> None:
        self._client, self._watch = crew.client, watch
        self._job = plan.job
        if crew.needs is not None and Path(plan.job.source.path).exists():
            # workers elsewhere have other working folders
            path = str(Path(plan.job.source.path).absolute())
            self._job = replace(plan.job, source=replace(plan.job.source, path=path))
        self._ordered: OrderedRows | None = None
        if plan.spec.is_sequential:
            self._ordered = OrderedRows(stack.enter_context(open_source(plan.job.source)))

    def send(self, strip: Strip, worker: str) -> Future | None:
        """Send a strip to a worker; None when it cannot be reached."""
        place = {"workers": [worker], "allow_other_workers": False, "pure": False}
        if self._ordered is None:
            return self._client.submit(do_strip, self._job, strip, **place)
        span = needed_rows(self._job.grid, strip)
        with self._watch.time("read"):
            rows = read_span(self._ordered, span)
        try:
            sent = self._client.scatter(rows, workers=[worker], hash=False, timeout=ANSWER_S)
        except (OSError, ValueError, KeyError, RuntimeError, TimeoutError):
            return None
        return self._client.submit(do_strip, self._job, strip, sent, **place)
