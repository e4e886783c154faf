"""Dask's `map_overlap`: chunks with a margin, a thread a core, one torch thread each.

    python benchmarks/peers/dask_overlap.py SCENE MODEL OUT [DASK_THREADS TORCH_THREADS]

Chunks of 192 pixels with a margin of 32 are tiles of 256 that share 64; the margin is cut off, so
nothing is blended. Chunks are read and written as they come, under a lock: GDAL's files are not for
several threads. The clock starts when libraries are loaded and the model is open.
"""

import os
import sys
import threading
from collections.abc import Callable

import dask
import dask.array as da
import numpy as np
import rasterio
import torch
from rasterio.windows import Window
from stopwatch import Stopwatch

from geop2p import load_model

SIZE, OVERLAP = 256, 64
CHUNK = SIZE - OVERLAP


class Rows:
    """An open raster as an array of (C, H, W) that Dask can cut and fill."""

    def __init__(self, dataset: rasterio.DatasetBase, watch: Stopwatch, stage: str) -> None:
        self._dataset, self._watch, self._stage = dataset, watch, stage
        self._lock = threading.Lock()
        self.shape = (dataset.count, dataset.height, dataset.width)
        self.dtype, self.ndim = np.dtype(np.uint8), 3

    def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
        with self._lock, self._watch.time(self._stage):
            return self._dataset.read(window=_window(index))

    def __setitem__(self, index: tuple[slice, ...], pixels: np.ndarray) -> None:
        with self._lock, self._watch.time(self._stage):
            self._dataset.write(pixels, window=_window(index))


def _window(index: tuple[slice, ...]) -> Window:
    _, rows, cols = index
    return Window(cols.start, rows.start, cols.stop - cols.start, rows.stop - rows.start)


def draw_all(native: Rows, draw: Callable[[np.ndarray], np.ndarray]) -> da.Array:
    """Return the map, not yet computed; the scene is continued so that every tile is whole."""
    empty = np.empty((0, 0, 0), np.uint8)
    scene = da.from_array(native, chunks=(3, CHUNK, CHUNK), meta=empty)
    missing = [(0, -length % CHUNK) for length in native.shape[1:]]
    padded = da.pad(scene, [(0, 0), *missing], mode="reflect").rechunk((3, CHUNK, CHUNK))
    depth = (0, OVERLAP // 2, OVERLAP // 2)
    drawn = da.map_overlap(draw, padded, depth=depth, boundary="reflect", meta=empty)
    return drawn[:, : native.shape[1], : native.shape[2]]


def main(scene: str, model: str, out: str, *, workers: int, torch_threads: int = 1) -> None:
    """Translate ``scene`` and print the seconds by stage."""
    network = load_model(model).generator.eval()
    torch.set_num_threads(torch_threads)
    watch = Stopwatch()
    tiles = []

    def draw(native: np.ndarray) -> np.ndarray:
        tile = torch.from_numpy(native.astype(np.float32) / 127.5 - 1)[None]
        with watch.time("generate"), torch.no_grad():
            picture = network(tile)[0]
        tiles.append(1)
        return picture.add_(1).mul_(127.5).round_().numpy().astype(np.uint8)

    with rasterio.open(scene) as source:
        profile = source.profile | {"driver": "GTiff", "compress": "deflate"}
        profile |= {"tiled": True, "blockxsize": 512, "blockysize": 512}
        drawn = draw_all(Rows(source, watch, "read"), draw)
        with (
            rasterio.open(out, "w", num_threads="all_cpus", **profile) as target,
            dask.config.set(scheduler="threads", num_workers=workers),
        ):
            da.store(drawn, Rows(target, watch, "write"), lock=False)
    watch.tell(tiles=len(tiles), threads=workers)


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[4:]] or [os.cpu_count() or 1, 1]
    main(*sys.argv[1:4], workers=numbers[0], torch_threads=numbers[1])
