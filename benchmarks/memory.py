"""Peak memory does not grow with the scene: 2,000 and 20,000 rows of the same width.

    python benchmarks/memory.py [MODEL]

Each scene, the bundled sample mirrored, is translated by a process of its own; the figure is its
largest resident size, child processes included. Exits with 1 when the two differ by more than 15 %.
"""

import sys
import tempfile
from pathlib import Path

from measuring import geop2p_command, measured
from record import record
from scenes import make_scene

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
    scene, out = folder / f"{height}.tif", folder / f"{height}_map.tif"
    make_scene(scene, height=height, width=WIDTH)
    return measured(geop2p_command("translate", scene, "--out", out, "--model", model)).peak_mib


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "streets"))
