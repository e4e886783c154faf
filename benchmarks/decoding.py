"""Reading a scene by strips: decoded by one thread, and by several.

    python benchmarks/decoding.py [SCENE] [--width 10980] [--height 4096] [--rounds 5]

The scene is written once as 512 x 512 blocks and once as strips of 16 rows, DEFLATE, and read whole
by strips of 512 rows, as a translation reads it, without a generator. Counts take turns; the
quickest round of each counts, the median stands beside it. What is read is compared.
"""

import argparse
import hashlib
import os
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import rasterio
import rasterio.shutil
from record import record
from scenes import make_scene

from geop2p.raster.decoding import open_divided
from geop2p.raster.scene import OrderedRows, SceneSource

STRIP_ROWS = 512


def main() -> None:
    """Measure both forms of the scene and record."""
    options = _options()
    counts = sorted({1, 2, min(4, os.cpu_count() or 1), min(8, os.cpu_count() or 1)})
    figures: dict[str, Any] = {"cores": os.cpu_count(), "rounds": options.rounds, "forms": {}}
    with tempfile.TemporaryDirectory() as name:
        tiles, strips = Path(name) / "tiles.tif", Path(name) / "strips.tif"
        figures["scene"] = make_scene(
            tiles, height=options.height, width=options.width, source=options.scene
        )
        with rasterio.Env(GDAL_NUM_THREADS="ALL_CPUS"):
            rasterio.shutil.copy(
                tiles, strips, driver="GTiff", blockysize=16, compress="deflate", tiled=False
            )
        for form, path in (("512 x 512 blocks", tiles), ("strips of 16 rows", strips)):
            figures["forms"][form] = compared(path, counts, rounds=options.rounds)
    record("decoding", figures)


def compared(path: Path, counts: list[int], *, rounds: int) -> dict[str, Any]:
    """Return seconds and throughput of each count of threads, in turns."""
    seconds: defaultdict[int, list[float]] = defaultdict(list)
    sums = set()
    for number in range(rounds):
        for count in counts if number % 2 == 0 else reversed(counts):
            taken, digest = read_whole(path, threads=count)
            seconds[count].append(taken)
            sums.add(digest)
    if len(sums) > 1:
        raise SystemExit(f"{path.name}: threads read different pixels")
    with rasterio.open(path) as dataset:
        megabytes = dataset.height * dataset.width * dataset.count / 1e6
    return {
        str(count): {
            "seconds": min(found),
            "seconds_median": statistics.median(found),
            "megabytes_per_second": megabytes / min(found),
            "times_one": min(seconds[1]) / min(found),
            "times_one_median": statistics.median(seconds[1]) / statistics.median(found),
        }
        for count, found in seconds.items()
    }


def read_whole(path: Path, *, threads: int) -> tuple[float, str]:
    """Read a scene by strips; return the seconds of reading, and a checksum of the pixels."""
    digest = hashlib.blake2b()
    taken = 0.0
    with open_divided(SceneSource(path=str(path)), threads=threads) as scene:
        rows = OrderedRows(scene)
        for first in range(0, scene.spec.height, STRIP_ROWS):
            start = time.perf_counter()
            pixels, _ = rows.read(rows=(first, min(first + STRIP_ROWS, scene.spec.height)))
            taken += time.perf_counter() - start
            digest.update(pixels.tobytes())
    return taken, digest.hexdigest()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("scene", nargs="?", type=Path)
    parser.add_argument("--width", type=int, default=10980)
    parser.add_argument("--height", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
