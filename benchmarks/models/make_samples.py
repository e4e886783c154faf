"""Make ``sample_tiles/`` from the raw data: only what no bundled generator was trained on.

python benchmarks/models/make_samples.py DATA_DIR OUT_DIR
"""

import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image

from geop2p.pipelines.prepare import prepare

SCENE = "scene3"
PART = (900, 0, 1924, 1024)
"""Left, top, right, bottom in pixels of the Dubai scene that validates."""
PAIRS_PART = (900, 0, 2044, 572)
"""4 x 2 patches of 286 pixels of the same scene."""
TILE = "18778720"
"""A Massachusetts tile that validates, with a nodata wedge."""


def main(data: Path, out: Path) -> None:
    """Copy or cut every sample into ``out``."""
    for folder in ("dubai", "massachusetts", "kampala"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for name in (f"{TILE}.tif", f"{TILE}_roads.tif"):
        shutil.copyfile(data / "massachusetts" / name, out / "massachusetts" / name)
    for name in ("kampala.tif", "buildings.geojson"):
        shutil.copyfile(data / "kampala" / name, out / "kampala" / name)
    _cut(data, out / "dubai", part=PART)
    _make_pairs(data, out / "pairs")


def _cut(data: Path, folder: Path, *, part: tuple[int, int, int, int]) -> tuple[Path, Path]:
    scene, labels = folder / f"{SCENE}_part.jpg", folder / f"{SCENE}_part_labels.png"
    with Image.open(data / "dubai" / f"{SCENE}.jpg") as picture:
        picture.crop(part).save(scene, quality=90)
    with Image.open(data / "dubai" / f"{SCENE}_labels.png") as picture:
        picture.crop(part).save(labels, optimize=True)
    return scene, labels


def _make_pairs(data: Path, out: Path) -> None:
    """Write 6 pairs that train and 2 that validate."""
    with tempfile.TemporaryDirectory() as folder:
        scene, labels = _cut(data, Path(folder), part=PAIRS_PART)
        prepare([scene], [labels], out, palette="streets", val_fraction=0.25, overwrite=True)
    manifest = out / "manifest.csv"
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace(f"{folder}/", ""), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
