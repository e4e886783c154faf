"""Wall time of a whole translation, by stage.

    python benchmarks/translate.py [SCENE [MODEL]]

Without arguments it is the sample scene of Dubai by the default model. Stages from read to blend
are sums over strips, which overlap in time; keep, write and total are wall time.
"""

import sys
import tempfile
from pathlib import Path

from record import geop2p, record

SAMPLE = Path(__file__).parents[1] / "sample_tiles/dubai/scene3_part.jpg"


def main(scene: Path, model: str) -> None:
    """Translate once in a process of its own and record what it reports."""
    with tempfile.TemporaryDirectory() as folder:
        report = geop2p("translate", scene, "--out", Path(folder) / "map.tif", "--model", model)
    kept = ("height", "width", "tiles", "batch_size", "seconds", "peak_memory_mib", "model")
    figures = {name: report[name] for name in kept}
    figures["ms_per_tile_generate"] = round(
        1000 * report["seconds"]["generate"] / max(report["tiles"], 1), 1
    )
    record(f"translate_{scene.stem}", figures)


if __name__ == "__main__":
    main(
        Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLE,
        sys.argv[2] if len(sys.argv) > 2 else "streets",
    )
