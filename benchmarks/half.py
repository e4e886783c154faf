"""What bfloat16 costs a map: how far it is from the float32 map, and how near to the labels.

    python benchmarks/half.py DATA_DIR [--models streets ...]

DATA_DIR is that of ``models/make_models.py``. The scenes that validate each bundled model are drawn
in float32, by ``--precision bf16`` as a CPU has it, and by the arithmetic of the engine for GPUs
(norms folded, the body in bfloat16, the head in float32), computed on the CPU. A processor without
bfloat16 emulates it, slowly.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from record import record
from scenes import Pixels, read_picture

import geop2p
from geop2p.card import ModelCard
from geop2p.engines.choice import Engine
from geop2p.engines.cuda import HalfRunner
from geop2p.model import Model, load_model
from geop2p.scores import Counter, Floats, Patch, figures

sys.path.append(str(Path(__file__).parent / "models"))
from make_models import BLENDS, FILES, LANDSCAPES, scenes_of

HALF = Engine(precision="bf16", batch_size=4)
Labels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
WAYS = ("float32", "bf16", "bf16 of GPUs")


def main() -> None:
    """Draw, compare, record."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", nargs="*", default=list(LANDSCAPES))
    asked = parser.parse_args()
    record("half", {name: measure(name, asked.data) for name in asked.models})


def measure(name: str, data: Path) -> dict[str, Any]:
    """Return of each way the scores over all scenes, against float32 and against labels."""
    model = load_model(name)
    scored: dict[str, list[Floats]] = {way: [] for way in WAYS}
    for scene, labels, valid in _scenes(name, data):
        maps = {way: _drawn(scene, name, way, model=model) for way in WAYS}
        for way, made in maps.items():
            from_reference = _sums(made, maps["float32"], model.card, valid=valid)
            truth = model.card.palette.draw(labels)
            from_truth = _sums(made, truth, model.card, valid=valid, classes=labels)
            scored[way].append(np.stack([from_reference, from_truth]))
    return {way: _figures(np.sum(found, axis=0), model.card) for way, found in scored.items()}


def _scenes(name: str, data: Path) -> Iterator[tuple[Path, Labels, Mask]]:
    """Yield the scenes that validate, their labels and where they are valid, (H, W)."""
    scene, labels = FILES[LANDSCAPES[name]]
    for each in scenes_of(LANDSCAPES[name])["val"]:
        path = data / scene.format(each)
        with rasterio.open(path) as dataset, rasterio.open(data / labels.format(each)) as truth:
            yield path, truth.read(1), dataset.dataset_mask() > 0


def _drawn(scene: Path, name: str, way: str, *, model: Model) -> Pixels:
    if way == "bf16 of GPUs":
        runner = HalfRunner(model.generator.eval(), HALF)
        runner.field_radius = model.card.field_radius  # type: ignore[attr-defined]
        draw = partial(geop2p.translate, generator=runner)
    else:
        precision = "fp32" if way == "float32" else "bf16"
        draw = partial(geop2p.translate, model=name, precision=precision, engine="torch")
    with tempfile.TemporaryDirectory(prefix="geop2p-half-") as folder:
        out = Path(folder) / "map.tif"
        draw(scene, out, blend=BLENDS[name])
        return read_picture(out)


def _sums(
    made: Pixels, real: Pixels, card: ModelCard, *, valid: Mask, classes: Labels | None = None
) -> Floats:
    """Return what scores are made of, as `geop2p.evaluate` counts it."""
    rows, cols = ((0, length) for length in valid.shape)
    patch = Patch(made=made, real=real, valid=valid, classes=classes, rows=rows, cols=cols)
    return Counter(card.map, palette=card.palette, scales=1).count(patch)


def _figures(sums: Floats, card: ModelCard) -> dict[str, float]:
    """Return the figures of two rows of sums: against float32, and against labels."""
    found = figures(sums, scaling=card.map, palette=card.palette)
    return {
        "mean_grey_levels": found["l1"][0],
        "psnr_db": found["psnr_db"][0],
        "share_of_another_class": 1 - found["accuracy"][0],
        "psnr_to_labels_db": found["psnr_db"][1],
        "accuracy": found["accuracy"][1],
    }


if __name__ == "__main__":
    main()
