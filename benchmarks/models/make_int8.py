"""Give a generator its int8 form: calibrated on what trains, measured on what is held back.

    python benchmarks/models/make_int8.py DATA_DIR OUT.safetensors [--name NAME] [--model FILE]

DATA_DIR is that of ``make_models.py``, and so are the names. Prints what ``geop2p quantize``
reports, and records it.
"""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

import geop2p

sys.path.append(str(Path(__file__).parents[1]))
from make_models import FILES, LANDSCAPES, scenes_of
from record import record

TILES = {"streets": 24, "roads": 4}
"""Of each scene; they are spread over it."""


def main() -> None:
    """Quantise, measure, record."""
    asked = _parsed()
    landscape = LANDSCAPES[asked.name]
    split = scenes_of(landscape)
    scene, truth = (str(asked.data / pattern) for pattern in FILES[landscape])
    report = geop2p.quantize(
        asked.model or asked.name,
        asked.out,
        calibrate=[scene.format(each) for each in split["train"]],
        scene=[scene.format(each) for each in split["val"]],
        truth=[truth.format(each) for each in split["val"]],
        tiles=TILES[landscape],
    )
    record(f"int8_{asked.name}", asdict(report) | {"path": asked.out.name})


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Give a generator its int8 form.")
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--name", choices=sorted(LANDSCAPES), default="streets")
    parser.add_argument("--model", help="the file; otherwise the bundled one of that name")
    return parser.parse_args()


if __name__ == "__main__":
    main()
