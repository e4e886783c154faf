"""Give a bundled generator its int8 form: calibrated on what trains, measured on what is held back.

    python benchmarks/models/make_int8.py DATA_DIR OUT.safetensors

DATA_DIR is that of ``make_models.py``. Prints what ``geop2p quantize`` reports, and records it.
"""

import sys
from dataclasses import asdict
from pathlib import Path

import geop2p
from geop2p.documents import read_json

sys.path.append(str(Path(__file__).parents[1]))
from record import record

HERE = Path(__file__).parent
NAME = "streets"
TILES = 24
"""Of each scene; they are spread over it."""


def main(data: Path, out: Path) -> None:
    """Quantise, measure, record."""
    split = read_json(HERE / f"{NAME}_split.json")
    folder = data / "dubai"
    report = geop2p.quantize(
        NAME,
        out,
        calibrate=[folder / f"{scene}.jpg" for scene in split["train"]],
        scene=[folder / f"{scene}.jpg" for scene in split["val"]],
        truth=[folder / f"{scene}_labels.png" for scene in split["val"]],
        tiles=TILES,
    )
    record(f"int8_{NAME}", asdict(report) | {"path": out.name})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
