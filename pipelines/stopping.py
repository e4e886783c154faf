"""Signals held back while something is computed that had better be finished first."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SAME_S = 0.3
"""Seconds; a signal that comes sooner after the first is the same one, sent to the whole group."""

Handler = Callable[[int, FrameType | None], Any]


class Pending:
    """A signal that has come and waits, if one has.

    A second one is not held back: who sends it does not want to wait.
    """

    def __init__(self, former: dict[int, Handler]) -> None:
        self._former = former
        self._number: int | None = None
        self._since = 0.0

    @property
    def has_come(self) -> bool:
        """Return whether a signal waits."""
        return self._number is not None

    def deliver(self) -> None:
        """Call the handler that waits, which normally raises; nothing when none does."""
        number, self._number = self._number, None
        if number is not None:
            self._former[number](number, None)

    def note(self, number: int, frame: FrameType | None) -> None:
        """Keep a signal, the handler that is installed meanwhile."""
        if self._number is None:
            self._number, self._since = number, time.monotonic()
        elif time.monotonic() - self._since > SAME_S:
            self._former[number](number, frame)


@contextmanager
def signals_held_back() -> Iterator[Pending]:
    """Hold back what would end the work, where a handler of Python's is set for it.

    What waits at the end is delivered then. In another thread than the main one nothing is held
    back, and nothing comes.
    """
    former = _handlers() if threading.current_thread() is threading.main_thread() else {}
    pending = Pending(former)
    note = pending.note
    for number in former:
        signal.signal(number, note)
    try:
        yield pending
    finally:
        for number, handler in former.items():
            if signal.getsignal(number) == note:  # else the delivered one has set another
                signal.signal(number, handler)
    pending.deliver()


def _handlers() -> dict[int, Handler]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    found = {number: signal.getsignal(number) for number in numbers}
    return {int(number): handler for number, handler in found.items() if callable(handler)}
