"""Named points round every step that touches the disk, where a test can make it fail.

`around` is passed by each write, sync, rename, removal and making of a folder. Nothing happens
there, until an observer is set: it is told ``before STEP`` and ``after STEP``, and may raise an
error or end the process. Nothing outside a program, no option or variable, can set one.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

Step = Literal[
    "make folder",
    "write state",
    "write part",
    "write file",
    "write map",
    "write blocks",
    "write overviews",
    "seal",
    "sync file",
    "rename",
    "sync folder",
    "remove file",
    "remove folder",
]
"""What `around` is called with."""

Observer = Callable[[str], None]

_observers: list[Observer] = []


@contextmanager
def observed(observer: Observer) -> Iterator[None]:
    """Tell ``observer`` of every point that is reached inside."""
    _observers.append(observer)
    try:
        yield
    finally:
        _observers.remove(observer)


@contextmanager
def around(step: Step) -> Iterator[None]:
    """Mark what happens inside as a `Step`."""
    _reached(f"before {step}")
    yield
    _reached(f"after {step}")


def _reached(point: str) -> None:
    for observer in _observers:
        observer(point)
