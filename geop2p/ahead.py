"""Work done ahead: a thread makes the next item while the last one is used.

Reading, hashing and GDAL let other threads run, so two steps that follow each other for every item
take the time of the longer one, and one more item of memory.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def ahead(items: Iterable[Item], *, depth: int = 1) -> Iterator[Item]:
    """Yield ``items`` in order, up to ``depth`` of them made before they are asked for.

    All are made by one thread, none after the caller stops. What making one raises is raised where
    it is asked for.
    """
    source = iter(items)
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="geop2p-ahead") as thread:
        made: deque[Future[Item | object]] = deque()
        try:
            for _ in range(depth):
                made.append(thread.submit(next, source, end))
            while True:
                made.append(thread.submit(next, source, end))
                item = made.popleft().result()
                if item is end:
                    return
                yield item  # type: ignore[misc]  # it is not the end
        finally:
            thread.shutdown(wait=True, cancel_futures=True)
