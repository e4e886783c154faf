"""What it costs to start: `--help`, `--version`, and a scene of 512x512 pixels.

    python benchmarks/startup.py [--repeats 5]

Each command runs in a process of its own; commands alternate, the least of all repeats counts.
Beside the whole translation stands what torch and the model alone would cost.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import rasterio
from rasterio.windows import Window
from record import record

SCENE = Path(__file__).parents[1] / "sample_tiles/kampala/kampala.tif"
SIDE = 512
OPEN_MODEL = (
    "import torch; from geop2p.model import find_model, load_model; "
    "load_model(find_model('streets'))"
)


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as name:
        scene, made = Path(name) / "scene.tif", Path(name) / "map.tif"
        write_small(scene)
        geop2p = ["-m", "geop2p"]
        commands = {
            "python": ["-c", "pass"],
            "help": [*geop2p, "--help"],
            "version": [*geop2p, "--version"],
            "torch": ["-c", "import torch"],
            "torch_and_model": ["-c", OPEN_MODEL],
            "translate": [*geop2p, "translate", str(scene), "--out", str(made), "-q"],
        }
        seconds: dict[str, list[float]] = {key: [] for key in commands}
        for _ in range(repeats):
            for key, words in commands.items():
                made.unlink(missing_ok=True)
                seconds[key].append(wall_seconds(words))
    least = {key: min(found) for key, found in seconds.items()}
    differences = {
        "help_minus_python": least["help"] - least["python"],
        "version_minus_python": least["version"] - least["python"],
        "translate_minus_torch_and_model": least["translate"] - least["torch_and_model"],
    }
    record("startup", {"seconds": least, "side": SIDE, "repeats": repeats} | differences)


def write_small(path: Path) -> None:
    """Write the middle of the sample scene."""
    with rasterio.open(SCENE) as dataset:
        window = Window(1024, 1024, SIDE, SIDE)
        profile = dataset.profile | {
            "height": SIDE,
            "width": SIDE,
            "transform": dataset.window_transform(window),
            "compress": "deflate",
            "photometric": "RGB",
        }
        pixels = dataset.read(window=window)
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(pixels)


def wall_seconds(words: list[str]) -> float:
    """Return how long Python takes to run something."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
