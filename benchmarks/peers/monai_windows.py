"""MONAI's sliding windows: the scene as one tensor, batches of four, Gaussian weights.

    python benchmarks/peers/monai_windows.py SCENE MODEL OUT [DEVICE]

`monai.inferers.sliding_window_inference` as its documentation shows it. Memory holds scene, map and
weights in float32. The clock starts when libraries are loaded and the model is open.
"""

import sys

import numpy as np
import rasterio
import torch
from monai.inferers import sliding_window_inference
from stopwatch import Stopwatch

from geop2p import load_model

SIZE, OVERLAP, BATCH = 256, 64, 4


def main(scene: str, model: str, out: str, *, device: str = "cpu") -> None:
    """Translate ``scene`` and print the seconds by stage."""
    network = load_model(model).generator.eval().to(device)
    watch = Stopwatch()
    tiles = 0

    def timed(batch: torch.Tensor) -> torch.Tensor:
        nonlocal tiles
        tiles += len(batch)
        with watch.time("generate"):
            return network(batch)

    with watch.time("read"), rasterio.open(scene) as source:
        profile, native = source.profile, source.read()
    with watch.time("prepare"):
        pixels = torch.from_numpy(native)[None].float().div_(127.5).sub_(1).to(device)
    with watch.time("blend"), torch.no_grad():
        drawn = sliding_window_inference(
            pixels, (SIZE, SIZE), BATCH, timed, overlap=OVERLAP / SIZE, mode="gaussian"
        )
    with watch.time("blend"):
        map_pixels = drawn[0].add_(1).mul_(127.5).round_().cpu().numpy().astype(np.uint8)
    profile.update(driver="GTiff", tiled=True, blockxsize=512, blockysize=512, compress="deflate")
    with watch.time("write"), rasterio.open(out, "w", num_threads="all_cpus", **profile) as target:
        target.write(map_pixels)
    watch.tell(tiles=tiles)


if __name__ == "__main__":
    main(*sys.argv[1:4], device=(sys.argv[4:] or ["cpu"])[0])
