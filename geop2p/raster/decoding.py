"""Large windows of a scene, decoded by several threads side by side.

GDAL's own threads are of no use here: with them it tells of damaged blocks no more (GDAL 3.10). So
each thread has the scene open for itself, and reads columns, or rows, of whole blocks.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np

from geop2p.cores import usable_cores
from geop2p.errors import SceneError
from geop2p.raster.scene import Mask, Pixels, Scene, SceneSource, Span, inside, open_source
from geop2p.raster.scene_thread import SceneThread

MOST_THREADS = 8
LEAST_VALUES = 2**19
"""Values that are worth a thread's while."""


class DividedScene(Scene):
    """A scene whose large windows are read in parts, by several decoders.

    What it reads is what the scene itself reads, to the last bit. After the first part that cannot
    be read, the scene is asked itself, and tells what there is to tell.

    Parameters
    ----------
    scene : Scene
        Its rows can be read in any order.
    decoders : list of SceneThread
        Each has the same scene open.
    """

    def __init__(self, scene: Scene, decoders: list[SceneThread[Scene]]) -> None:
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

        def reading(part: tuple[Span, Span]) -> Callable[[Scene], None]:
            place = inside(part, (rows, cols))

            def read(scene: Scene) -> None:
                pixels[:, *place], valid[place] = scene.read(rows=part[0], cols=part[1])

            return read

        reads = [
            decoder.ask(reading(part)) for decoder, part in zip(self._decoders, parts, strict=False)
        ]
        for read in reads:
            read.result()
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
    threads = threads or min(MOST_THREADS, usable_cores())
    with open_source(source) as scene:
        if threads == 1 or source.size or source.allow_network or scene.spec.is_sequential:
            yield scene
            return
        opening = partial(open_source, replace(source, on_read_error="fail"))
        decoders = [SceneThread(opening, name="geop2p-decoder") for _ in range(threads)]
        try:
            yield DividedScene(scene, decoders)
        finally:
            for decoder in decoders:
                decoder.close()
