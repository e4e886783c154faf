"""A scene that a process keeps open: its strips overlap, and no block is decoded twice.

One thread opens the scene, reads and closes it, since GDAL's settings belong to a thread. It reads
whole rows of blocks, and keeps those that the next strip begins with; where a GPU draws, each of
several decoders reads a part of them.
"""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import rasterio

from geop2p.raster.decoding import open_divided
from geop2p.raster.scene import Mask, OrderedRows, Pixels, SceneSource, Span
from geop2p.raster.scene_thread import SceneThread

Rows = tuple[Pixels, Mask, tuple[int, ...]]


class SceneReader:
    """A scene that any thread may read; it is opened at the first read.

    Parameters
    ----------
    source : SceneSource
        The scene.
    threads : int or None
        That decode its large windows; see `geop2p.raster.decoding.open_divided`.
    """

    def __init__(self, source: SceneSource, *, threads: int | None = 1) -> None:
        self._thread = SceneThread(partial(_ordered, source, threads), name="geop2p-reader")

    def read(self, *, rows: Span) -> Rows:
        """Return (C, h, W) pixels, (h, W) valid, and the first row of each unreadable block.

        Raises
        ------
        SceneError
            When the scene cannot be opened or read.
        """
        return self._thread.ask(
            lambda ordered: (*ordered.read(rows=rows), ordered.unreadable_rows(rows))
        ).result()

    def close(self) -> None:
        """Close the scene; what is under way is finished first."""
        self._thread.close()


@contextmanager
def _ordered(source: SceneSource, threads: int | None) -> Iterator[OrderedRows]:
    with (
        open_divided(source, threads=threads) as scene,
        rasterio.Env(GDAL_CACHEMAX=scene.spec.ordered_cache),
    ):
        yield OrderedRows(scene)


KEPT = 2
"""Scenes of one key that are open at a time: the last strip of one may still be under way when the
next one's first is read."""
_READERS: defaultdict[str, dict[str, SceneReader]] = defaultdict(dict)
_LOCK = threading.Lock()


def find_reader(key: str, source: SceneSource, *, threads: int | None = 1) -> SceneReader:
    """Return this process's reader of a scene under that key; it is made at the first call.

    ``threads`` decode, see `SceneReader`. With the third scene under a key, the first is closed.
    """
    former, name = None, repr(source)  # not the source itself: a nodata value of NaN has no equal
    with _LOCK:
        readers = _READERS[key]
        if name not in readers:
            if len(readers) == KEPT:
                former = readers.pop(next(iter(readers)))
            readers[name] = SceneReader(source, threads=threads)
        reader = readers[name]
    if former is not None:
        former.close()
    return reader


def close_reader(key: str) -> None:
    """Close this process's readers of that key, if there are any."""
    with _LOCK:
        readers = _READERS.pop(key, {})
    for reader in readers.values():
        reader.close()
