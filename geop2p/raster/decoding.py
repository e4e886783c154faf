"""Large windows of a scene, decoded by several threads side by side.

GDAL's own threads are of no use here: with them it tells of damaged blocks no more (GDAL 3.10). So
each thread has the scene open for itself, and reads columns, or rows, of whole blocks.
"""

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import pairwise

import numpy as np

from geop2p.errors import SceneError
from geop2p.raster.scene import Mask, Pixels, Scene, SceneSource, Span, open_source

MOST_THREADS = 8
LEAST_VALUES = 2**19
"""Values that are worth a thread's while."""


class Decoder:
    """A thread that has a scene open; GDAL's settings belong to a thread.

    Parameters
    ----------
    source : SceneSource
        The scene; it is opened at the first read.
    """

    def __init__(self, source: SceneSource) -> None:
        self._source = source
        self._stack = ExitStack()
        self._scene: Scene | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="geop2p-decoder")

    def read(self, rows: Span, cols: Span) -> "Future[tuple[Pixels, Mask]]":
        """Return what will be what `Scene.read` returns."""
        return self._thread.submit(self._read, rows, cols)

    def _read(self, rows: Span, cols: Span) -> tuple[Pixels, Mask]:
        if self._scene is None:
            self._scene = self._stack.enter_context(open_source(self._source))
        return self._scene.read(rows=rows, cols=cols)

    def close(self) -> None:
        """Close the scene; what is under way is finished first."""
        self._thread.submit(self._stack.close)
        self._thread.shutdown(wait=True)


class DividedScene(Scene):
    """A scene whose large windows are read in parts, by several decoders.

    What it reads is what the scene itself reads, to the last bit. After the first part that cannot
    be read, the scene is asked itself, and tells what there is to tell.

    Parameters
    ----------
    scene : Scene
        Its rows can be read in any order.
    decoders : sequence of Decoder
        Of the same scene.
    """

    def __init__(self, scene: Scene, decoders: list[Decoder]) -> None:
        self.source, self.spec, self.unreadable = scene.source, scene.spec, scene.unreadable
        self._whole, self._decoders = scene, decoders

    def read(self, *, rows: Span, cols: Span | None = None) -> tuple[Pixels, Mask]:
        """Read a window; see `Scene.read`."""
        cols = cols or (0, self.spec.width)
        parts = self._parts(rows, cols)
        if len(parts) > 1:
            try:
                return self._joined(parts, rows, cols)
            except SceneError:
                self._decoders = self._decoders[:1]
        return self._whole.read(rows=rows, cols=cols)

    def shrunk(self, shape: tuple[int, int]) -> tuple[Pixels, Mask]:
        """Read the whole scene at the size (h, w)."""
        return self._whole.shrunk(shape)

    def _joined(
        self, parts: list[tuple[Span, Span]], rows: Span, cols: Span
    ) -> tuple[Pixels, Mask]:
        shape = rows[1] - rows[0], cols[1] - cols[0]
        pixels = np.empty((self.spec.count, *shape), self.spec.dtype)
        valid = np.empty(shape, bool)
        reads = [decoder.read(*part) for decoder, part in zip(self._decoders, parts, strict=False)]
        for read, part in zip(reads, parts, strict=True):
            inside = tuple(
                slice(span[0] - whole[0], span[1] - whole[0])
                for span, whole in zip(part, (rows, cols), strict=True)
            )
            pixels[:, *inside], valid[inside] = read.result()
        return pixels, valid

    def _parts(self, rows: Span, cols: Span) -> list[tuple[Span, Span]]:
        """Return (rows, cols) of as many parts as are worth it, at most one a decoder."""
        values = (rows[1] - rows[0]) * (cols[1] - cols[0]) * self.spec.count
        count = min(len(self._decoders), values // LEAST_VALUES)
        across = _pieces(cols, block=self.spec.block[1], count=count)
        if len(across) > 1:
            return [(rows, piece) for piece in across]
        return [(piece, cols) for piece in _pieces(rows, block=self.spec.block[0], count=count)]


def _pieces(span: Span, *, block: int, count: int) -> list[Span]:
    """Cut a span at borders of blocks into ``count`` pieces of about the same size, or fewer."""
    first, last = span[0] // block, -(-span[1] // block)
    count = max(1, min(count, last - first))
    inner = [(first + (last - first) * number // count) * block for number in range(1, count)]
    borders = [span[0], *inner, span[1]]
    return list(pairwise(borders))


@contextmanager
def open_divided(source: SceneSource, *, threads: int | None = None) -> Iterator[Scene]:
    """Open a scene whose large windows are decoded by several threads where its form allows it.

    Parameters
    ----------
    source : SceneSource
        The scene.
    threads : int, optional
        How many; None: as many as there are cores, at most 8.

    Raises
    ------
    SceneError
        What `geop2p.raster.scene.open_source` raises.
    """
    threads = threads or min(MOST_THREADS, len(os.sched_getaffinity(0)))
    with open_source(source) as scene:
        if threads == 1 or source.size or source.allow_network or scene.spec.is_sequential:
            yield scene
            return
        decoders = [Decoder(replace(source, on_read_error="fail")) for _ in range(threads)]
        try:
            yield DividedScene(scene, decoders)
        finally:
            for decoder in decoders:
                decoder.close()
