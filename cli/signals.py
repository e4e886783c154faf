"""What ends a run from outside: Ctrl-C, a scheduler's TERM, a closed terminal.

A first signal leaves through every ``finally``. When that takes longer than `PATIENCE_S`, or at a
second signal, the process removes its temporary files, kills its worker processes and is gone.
Finished strips are on the disk already, whatever the ending.
"""

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

PATIENCE_S = 3.0
"""Seconds for an orderly end, so that any end takes less than five."""
SAME_S = 0.3
"""A signal that comes sooner than this after the first is the same one, sent to the whole group."""
SIGNALS = {
    signal.SIGHUP: "hung up",
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "terminated",
}
GOING_ON = {
    "translate": "the same command goes on",
    "train": "train --resume RUN goes on from its last checkpoint",
}
"""How to go on, of the commands that keep what is finished; of others nothing is kept."""


_told = threading.Event()
_running: list[str] = []


def run_begins(command: str) -> None:
    """Note which command an ending is told of."""
    _running.append(command)


def ending(what: str) -> str:
    """Return what the user is told of an end from outside: ``what``, and how to go on."""
    way = GOING_ON.get(_running[-1] if _running else "")
    return what if way is None else f"{what}; {way}"


class Interruption(BaseException):
    """Raised in the main thread by a signal; ``number`` says which."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def text(self) -> str:
        """What the user is told."""
        return ending(SIGNALS[signal.Signals(self.number)])


@contextmanager
def watched() -> Iterator[None]:
    """Raise `Interruption` for each of `SIGNALS`, and see that the process does end.

    Python runs a handler only between two steps of its own, and a call into GDAL may take minutes.
    So a thread is woken by the signal itself, through a pipe.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    former_fd = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    former = {number: signal.signal(number, _interrupt) for number in _heeded()}
    threading.Thread(target=_guard, args=(reader,), name="geop2p-signals", daemon=True).start()
    is_interrupted = False
    try:
        yield
    except Interruption:
        is_interrupted = True  # the guard stays: threads that still work may not keep the process
        raise
    finally:
        if not is_interrupted:
            signal.set_wakeup_fd(former_fd)
            for number, handler in former.items():
                signal.signal(number, handler)
            os.close(writer)


def _heeded() -> list[signal.Signals]:
    """Return the signals to act on: not the one that ``nohup`` has switched off."""
    return [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    for heeded in _heeded():  # a second one is the guard's: nothing interrupts the clearing up
        signal.signal(heeded, _note)
    raise Interruption(number)


def _note(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the byte in the pipe has woken the guard."""


def _guard(reader: int) -> None:
    """Wait for a signal, then for a second one or the end of patience."""
    first = os.read(reader, 1)
    if not first or first[0] not in list(SIGNALS):  # closed: an end without a signal
        os.close(reader)
        return
    end = time.monotonic() + PATIENCE_S
    time.sleep(SAME_S)
    _drain(reader)
    select.select([reader], [], [], end - time.monotonic())
    _quit_now(first[0])


def _drain(reader: int) -> None:
    while select.select([reader], [], [], 0)[0]:
        os.read(reader, 64)


def _quit_now(number: int) -> NoReturn:
    from geop2p.writing import remove_temporaries

    with suppress(Exception):
        remove_temporaries()
    with suppress(Exception):
        _kill_children()
    with suppress(OSError, ValueError):
        tell(Interruption(number).text)
    os._exit(128 + number)


def tell(text: str) -> None:
    """Print the one line of an ending on stderr, at the first call only."""
    if not _told.is_set():
        _told.set()
        print(f"geop2p: {text}", file=sys.stderr, flush=True)  # noqa: T201


def _kill_children() -> None:
    """Kill every process that this one, or a child of it, has started."""
    import psutil

    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            child.kill()
