"""Seconds by stage, so that every peer is timed by the same clock."""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Adds up wall time by stage, over all threads; a stage inside a stage counts once, inside."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._lock = threading.Lock()
        self._open = threading.local()

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Add the time spent inside to a stage."""
        outer, self._open.stage = getattr(self._open, "stage", None), stage
        start = time.perf_counter()
        try:
            yield
        finally:
            elapsed = time.perf_counter() - start
            self._open.stage = outer
            with self._lock:
                self._seconds[stage] += elapsed
                if outer is not None:
                    self._seconds[outer] -= elapsed

    def tell(self, **facts: object) -> None:
        """Print ``facts`` and the seconds as one line of JSON, ``total`` since the start."""
        total = time.perf_counter() - self._start
        print(json.dumps({**facts, "seconds": {**self._seconds, "total": total}}))
