"""Which strip is at which worker, and which strips are suspected of ending their workers.

Pure bookkeeping. When a worker is lost, every strip that was there may be the cause. Each of them
is counted once and then tried alone, on a worker that has nothing else to do, so no strip is ever
blamed for what another did: the second and the third count can only be its own.
"""

from collections import Counter, deque
from collections.abc import Iterable

from geop2p.grid import Strip

LOSSES = 3
"""Workers that a strip may cost before it is condemned."""
MOST_CONDEMNED = 3
"""Strips; where so many are condemned, the fault is not the strips'."""


class Roster:
    """Strips that wait, strips that are at workers, and strips that were condemned.

    Parameters
    ----------
    strips : iterable of Strip
        In the order in which they are to be sent.
    """

    def __init__(self, strips: Iterable[Strip]) -> None:
        self.condemned: list[Strip] = []
        self._fresh = deque(strips)
        self._suspects: deque[Strip] = deque()
        self._losses: Counter[Strip] = Counter()
        self._capacity: dict[str, int] = {}
        self._at: dict[str, list[Strip]] = {}
        self._reserved: str | None = None

    @property
    def is_done(self) -> bool:
        """Nothing waits and nothing is under way."""
        return not (self._fresh or self._suspects or any(self._at.values()))

    @property
    def is_hopeless(self) -> bool:
        """So many strips are condemned that the others need not be tried."""
        return len(self.condemned) >= MOST_CONDEMNED

    @property
    def workers(self) -> set[str]:
        """Those that are given work."""
        return set(self._capacity)

    def join(self, worker: str, *, capacity: int) -> None:
        """Give work to a worker, up to ``capacity`` strips at a time."""
        self._capacity[worker] = capacity
        self._at[worker] = []

    def leave(self, worker: str, *, is_fault: bool) -> None:
        """Take a worker's strips back; with ``is_fault`` each of them may be why it was lost."""
        strips = self._at.pop(worker)
        del self._capacity[worker]
        if self._reserved == worker:
            self._reserved = None
        for strip in reversed(strips):
            self._take_back(strip, is_fault=is_fault)

    def lost(self, strip: Strip, worker: str, *, is_fault: bool) -> None:
        """Take one strip back from a worker that stays."""
        self._remove(strip, worker)
        self._take_back(strip, is_fault=is_fault)

    def finished(self, strip: Strip, worker: str) -> None:
        """Note that a strip is done."""
        self._remove(strip, worker)

    def assign(self) -> tuple[str, Strip] | None:
        """Return the next worker and the strip that goes there, or None while there is none.

        Suspects go first, one at a time: the worker with the least to do is reserved, and gets the
        suspect once it has nothing to do.
        """
        if self._suspects and self._reserved is None and self._capacity:
            self._reserved = min(self._at, key=self._load)
        if self._suspects and self._reserved is not None and not self._at[self._reserved]:
            return self._put(self._suspects.popleft(), self._reserved)
        open_to_all = [
            worker
            for worker, strips in self._at.items()
            if worker != self._reserved and len(strips) < self._capacity[worker]
        ]
        if not (self._fresh and open_to_all):
            return None
        return self._put(self._fresh.popleft(), min(open_to_all, key=self._load))

    def _put(self, strip: Strip, worker: str) -> tuple[str, Strip]:
        self._at[worker].append(strip)
        return worker, strip

    def _load(self, worker: str) -> float:
        return len(self._at[worker]) / self._capacity[worker]

    def _remove(self, strip: Strip, worker: str) -> None:
        self._at[worker].remove(strip)
        if worker == self._reserved and not self._at[worker]:
            self._reserved = None

    def _take_back(self, strip: Strip, *, is_fault: bool) -> None:
        self._losses[strip] += is_fault
        if self._losses[strip] >= LOSSES:
            self.condemned.append(strip)
        elif self._losses[strip]:
            self._suspects.append(strip)
        else:
            self._fresh.appendleft(strip)
