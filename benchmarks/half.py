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
from collections import Counter
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
from geop2p.engines.choice import Engine
from geop2p.engines.cuda import HalfRunner
from geop2p.model import Model, load_model
from geop2p.palette import Palette

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
    """Return of each way the means over the valid pixels of all scenes."""
    model = load_model(name)
    sums: dict[str, Counter[str]] = {way: Counter() for way in WAYS}
    for scene, labels, valid in _scenes(name, data):
        maps = {way: _drawn(scene, name, way, model=model) for way in WAYS}
        reference = maps["float32"]
        for way, picture in maps.items():
            sums[way].update(_distance(picture, reference, model.card.palette, valid=valid))
            sums[way].update(_errors(picture, labels, model.card.palette, valid=valid))
    return {way: _means(found) for way, found in sums.items()}


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


def _distance(
    picture: Pixels, reference: Pixels, palette: Palette, *, valid: Mask
) -> dict[str, float]:
    """Return sums of what lies between two maps."""
    apart = np.abs(picture.astype(np.int16) - reference)[:, valid]
    return {
        "pixels": float(valid.sum()),
        "levels": float(apart.mean(axis=0).sum()),
        "squares": _squares(picture, reference, valid=valid),
        "other_class": float((palette.nearest(picture) != palette.nearest(reference))[valid].sum()),
    }


def _errors(picture: Pixels, labels: Labels, palette: Palette, *, valid: Mask) -> dict[str, float]:
    """Return sums of what lies between a map and the labels."""
    scored = [each.index for each in palette.classes if each.is_scored]
    counted = np.isin(labels, scored) & valid
    return {
        "squares_to_labels": _squares(picture, palette.draw(labels), valid=valid),
        "scored": float(counted.sum()),
        "right": float((palette.nearest(picture) == labels)[counted].sum()),
    }


def _squares(one: Pixels, other: Pixels, *, valid: Mask) -> float:
    squares = np.square(one.astype(np.float32) - other).mean(axis=0)
    return float(squares[valid].sum(dtype=np.float64))


def _means(sums: Counter[str]) -> dict[str, float]:
    pixels = sums["pixels"]
    return {
        "mean_grey_levels": sums["levels"] / pixels,
        "psnr_db": _decibels(sums["squares"] / pixels),
        "share_of_another_class": sums["other_class"] / pixels,
        "psnr_to_labels_db": _decibels(sums["squares_to_labels"] / pixels),
        "accuracy": sums["right"] / sums["scored"],
    }


def _decibels(mean_square: float) -> float:
    return float(10 * np.log10(255**2 / max(mean_square, 1e-9)))


if __name__ == "__main__":
    main()
