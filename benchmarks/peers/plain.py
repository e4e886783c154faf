"""The plain script: a window per tile, one tile at a time, a weighted sum in numpy.

    python benchmarks/peers/plain.py SCENE MODEL OUT [DEVICE]

What most people write first. Memory holds the whole map and its weights in float32. The clock
starts when libraries are loaded and the model is open.
"""

import sys

import numpy as np
import rasterio
import torch
from rasterio.windows import Window
from stopwatch import Stopwatch

from geop2p import load_model

SIZE, OVERLAP = 256, 64


def starts(length: int) -> list[int]:
    """Return where tiles start along one axis; the last one ends at the scene's edge."""
    return [*range(0, length - SIZE, SIZE - OVERLAP), length - SIZE]


def tile_weights() -> np.ndarray:
    """Return the weights of a tile, (SIZE, SIZE) float32, which fall towards its edges."""
    ramp = (np.arange(OVERLAP) + 0.5) / OVERLAP
    one = np.ones(SIZE, np.float32)
    one[:OVERLAP], one[-OVERLAP:] = ramp, ramp[::-1]
    return np.outer(one, one)


def main(scene: str, model: str, out: str, *, device: str = "cpu") -> None:
    """Translate ``scene`` and print the seconds by stage."""
    network = load_model(model).generator.eval().to(device)
    watch = Stopwatch()
    weights = tile_weights()
    tiles = 0
    with rasterio.open(scene) as source:
        profile = source.profile
        total = np.zeros((3, source.height, source.width), np.float32)
        weight = np.zeros((source.height, source.width), np.float32)
        for top in starts(source.height):
            for left in starts(source.width):
                with watch.time("read"):
                    native = source.read(window=Window(left, top, SIZE, SIZE))
                with watch.time("prepare"):
                    tile = torch.from_numpy(native.astype(np.float32) / 127.5 - 1)[None]
                with watch.time("generate"), torch.no_grad():
                    picture = network(tile.to(device))[0].cpu().numpy()
                with watch.time("blend"):
                    total[:, top : top + SIZE, left : left + SIZE] += picture * weights
                    weight[top : top + SIZE, left : left + SIZE] += weights
                tiles += 1
    with watch.time("blend"):
        pixels = np.rint((total / weight + 1) * 127.5).astype(np.uint8)
    profile.update(driver="GTiff", tiled=True, blockxsize=512, blockysize=512, compress="deflate")
    with watch.time("write"), rasterio.open(out, "w", num_threads="all_cpus", **profile) as target:
        target.write(pixels)
    watch.tell(tiles=tiles)


if __name__ == "__main__":
    main(*sys.argv[1:4], device=(sys.argv[4:] or ["cpu"])[0])
