"""A thread that has a scene open: GDAL's settings belong to the thread that opens."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from typing import Generic, TypeVar

Opened = TypeVar("Opened")
Answer = TypeVar("Answer")


class SceneThread(Generic[Opened]):
    """Opens something at the first question, answers one after the other, closes it.

    Parameters
    ----------
    opening : callable
        Gives the context of what is asked.
    name : str
        The thread's.
    """

    def __init__(self, opening: Callable[[], AbstractContextManager[Opened]], *, name: str) -> None:
        self._opening = opening
        self._stack = ExitStack()
        self._opened: Opened | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    def ask(self, question: Callable[[Opened], Answer]) -> "Future[Answer]":
        """Return what will be the answer; its errors are those of opening, too."""
        return self._thread.submit(self._answer, question)

    def _answer(self, question: Callable[[Opened], Answer]) -> Answer:
        if self._opened is None:
            self._opened = self._stack.enter_context(self._opening())
        return question(self._opened)

    def close(self) -> None:
        """Close what is open; what is under way is finished first."""
        self._thread.submit(self._stack.close)
        self._thread.shutdown(wait=True)
