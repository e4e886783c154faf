"""Peak memory does not grow with the scene: 2,000 and 20,000 rows of the same width.

    python benchmarks/memory.py [MODEL]

Each scene is translated by a process of its own; the figure is that process's largest resident
size. Exits with 1 when the two differ by more than 15 %.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.windows import Window
from record import geop2p, record

WIDTH = 3000
HEIGHTS = (2000, 20_000)
MOST = 1.15


def main(model: str) -> int:
    """Measure, record, compare; return the exit status."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peaks = {height: _peak(folder, height, model) for height in HEIGHTS}
    ratio = peaks[HEIGHTS[1]] / peaks[HEIGHTS[0]]
    figures = {f"peak_mib_of_{height}_rows": round(peak) for height, peak in peaks.items()}
    record("memory", figures | {"ratio": round(ratio, 3), "width": WIDTH, "model": model})
    return 0 if max(ratio, 1 / ratio) <= MOST else 1


def _peak(folder: Path, height: int, model: str) -> float:
    scene = folder / f"{height}.tif"
    _write_scene(scene, height)
    report = geop2p("translate", scene, "--out", folder / f"{height}_map.tif", "--model", model)
    return float(report["peak_memory_mib"])


def _write_scene(path: Path, height: int) -> None:
    """Write smooth colours, 256 rows at a time."""
    random = np.random.default_rng(0)
    profile = {
        "driver": "GTiff",
        "height": height,
        "width": WIDTH,
        "count": 3,
        "dtype": "uint8",
        "tiled": True,
        "compress": "deflate",
        "crs": "EPSG:32633",
        "transform": Affine(1, 0, 5e5, 0, -1, 5e6),
    }
    with rasterio.open(path, "w", **profile) as dataset:
        for top in range(0, height, 256):
            rows = min(256, height - top)
            coarse = random.integers(0, 256, (3, 17, WIDTH // 16 + 1), np.uint8)
            pixels = coarse.repeat(16, axis=1).repeat(16, axis=2)[:, :rows, :WIDTH]
            dataset.write(pixels, window=Window(0, top, WIDTH, rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "streets"))
