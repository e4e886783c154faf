"""Several scenes: one command for all beside a command for each, in alternating rounds.

    python benchmarks/many.py [SCENE] [--count 4] [--size 2048] [--rounds 2] [--model streets]

The scenes are parts of one real picture, side by side, or the bundled sample, mirrored. ``seconds``
are wall time with start-up: that is part of what one command for all spares. Maps are compared byte
by byte.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import rasterio
from measuring import geop2p_command, measured
from rasterio.windows import Window
from record import record
from scenes import make_scene


def main() -> int:
    """Measure, record; return 1 when a map differs."""
    options = _options()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scenes = _scenes(folder, options)
        runs: dict[str, list[dict[str, float]]] = {"single": [], "one": []}
        for number in range(options.rounds):
            for way in ("single", "one") if number % 2 == 0 else ("one", "single"):
                runs[way].append(_run(way, scenes, folder / way, model=options.model))
                print(way, runs[way][-1], flush=True)
        are_equal = all(
            (folder / "single" / scene.name).read_bytes()
            == (folder / "one" / scene.name).read_bytes()
            for scene in scenes
        )
    best = {way: min(found, key=lambda run: run["seconds"]) for way, found in runs.items()}
    figures: dict[str, Any] = {
        "scenes": options.count,
        "size": options.size,
        "model": options.model,
        "rounds": runs,
        "ratio": round(best["single"]["seconds"] / best["one"]["seconds"], 3),
        "memory_ratio": round(best["one"]["peak_mib"] / best["single"]["peak_mib"], 3),
        "are_maps_equal": are_equal,
    }
    record(options.name, figures)
    return int(not are_equal)


def _scenes(folder: Path, options: argparse.Namespace) -> list[Path]:
    """Cut one wide picture into scenes beside each other."""
    size, whole = options.size, folder / "whole.tif"
    make_scene(whole, height=size, width=size * options.count, source=options.scene)
    scenes = []
    with rasterio.open(whole) as picture:
        for number in range(options.count):
            path = folder / f"part{number}.tif"
            window = Window(number * size, 0, size, size)
            with rasterio.open(path, "w", **picture.profile | {"width": size}) as part:
                part.write(picture.read(window=window))
            scenes.append(path)
    return scenes


def _run(way: str, scenes: list[Path], out: Path, *, model: str) -> dict[str, float]:
    out.mkdir(exist_ok=True)
    for path in out.iterdir():
        path.unlink()
    words = ("translate", "--model", model)
    start = time.perf_counter()
    if way == "one":
        results = [measured(geop2p_command(*words, *scenes, "--out-dir", out))]
    else:
        results = [
            measured(geop2p_command(*words, scene, "--out", out / scene.name)) for scene in scenes
        ]
    return {
        "seconds": round(time.perf_counter() - start, 2),
        "cpu_seconds": round(sum(result.cpu_seconds for result in results), 2),
        "peak_mib": round(max(result.peak_mib for result in results)),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scene", type=Path, nargs="?")
    parser.add_argument("--count", type=int, default=4, help="of scenes")
    parser.add_argument("--size", type=int, default=2048, help="pixels, side of each")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--model", default="streets")
    parser.add_argument("--name", default="many", help="of the file in results/")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
