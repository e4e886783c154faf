"""The map begun while its strips are drawn, where a GPU draws them.

There the cores are free, and putting rows together takes longer than drawing them. A thread takes
each strip as soon as it is kept, and writes its rows where the encoder will read them; when the
last strip is there, it goes on to encode and to compare. It is the same code, told of strips one by
one, so the map is the same to the last bit. On a CPU the generator takes every core, and nothing is
gained.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, suppress
from threading import Condition

from geop2p.grid import Strip
from geop2p.parts import Parts, PartStore, StripResult


class GivenUpError(Exception):
    """The map is not wanted any more: ends the thread that writes it."""


class ArrivingParts:
    """Strips of a store, each of them waited for until it is kept.

    Parameters
    ----------
    store : PartStore
        Where they are kept.
    """

    def __init__(self, store: PartStore) -> None:
        self.folder = store.folder
        self._store = store
        self._kept: set[Strip] = set()
        self._is_given_up = False
        self._changed = Condition()

    def add(self, strip: Strip) -> None:
        """Tell that a strip is kept."""
        with self._changed:
            self._kept.add(strip)
            self._changed.notify_all()

    def give_up(self) -> None:
        """Let nobody wait any longer."""
        with self._changed:
            self._is_given_up = True
            self._changed.notify_all()

    def load(self, strip: Strip) -> StripResult | None:
        """Return a strip once it is kept; None when it is damaged.

        Raises
        ------
        GivenUpError
            When no more strips will come.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_given_up or strip in self._kept)
            if self._is_given_up:
                raise GivenUpError
        return self._store.load(strip)


class EarlyMap:
    """A map that a thread writes beside its target, from strips as they are kept.

    Parameters
    ----------
    stage : callable
        From strips to a context: entering it writes and checks the map, leaving it well lets it
        take its name.
    store : PartStore
        Where strips are kept.
    """

    def __init__(
        self, stage: Callable[[Parts], AbstractContextManager[None]], store: PartStore
    ) -> None:
        self._parts = ArrivingParts(store)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="geop2p-early-map")
        self._staged = self._thread.submit(self._enter, stage)
        self._is_over = False

    def add(self, strip: Strip) -> None:
        """Tell that a strip is kept."""
        self._parts.add(strip)

    def finish(self) -> None:
        """Wait for the map, and let it take its name; raises what writing it raised."""
        staged = self._staged.result()
        self._is_over = True
        staged.close()

    def discard(self) -> None:
        """End the writing, and leave nothing of it, unless the map has its name already."""
        self._parts.give_up()
        self._thread.shutdown(wait=True)
        if self._is_over:
            return
        self._is_over = True
        with suppress(Exception):  # why it could not be written is of no interest any more
            self._staged.result().__exit__(GivenUpError, GivenUpError(), None)

    def _enter(self, stage: Callable[[Parts], AbstractContextManager[None]]) -> ExitStack:
        with ExitStack() as stack:
            stack.enter_context(stage(self._parts))
            return stack.pop_all()
