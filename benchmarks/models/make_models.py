"""Make the bundled generators from raw data: pairs by ``geop2p prepare``, then ``geop2p train``.

    python benchmarks/models/make_models.py DATA_DIR WORK_DIR [streets|roads ...]

DATA_DIR holds ``dubai/`` and ``massachusetts/`` as docs/models.md describes them; WORK_DIR gets the
pairs and the runs, each with its ``model.safetensors``. Which scenes train and which validate is in
``streets_split.json`` and ``roads_split.json`` beside this file.
"""

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent

PREPARE = {
    "streets": ["--palette", "streets", "--size", "286", "--stride", "240", "--min-variety", "0"],
    "roads": ["--palette", "roads", "--size", "286", "--stride", "150", "--min-variety", "0"],
}
FILES = {
    "streets": ("dubai/{}.jpg", "dubai/{}_labels.png"),
    "roads": ("massachusetts/{}.tif", "massachusetts/{}_roads.tif"),
}
COMMON_RECIPE = [
    *("--arch", "unet_256", "--ngf", "32", "--max-channels", "160"),  # 12 MB in half precision
    *("--ndf", "16"),  # on a CPU most of a step's time is the discriminator's
    *("--batch-size", "4", "--lr", "4e-4"),
    *("--load-size", "0", "--augment", "dihedral"),  # patches keep their ground sample distance
    *("--freeze-norm-epochs", "1", "--save-minutes", "5"),
]
RECIPE = {
    "streets": [*COMMON_RECIPE, "--epochs", "6", "--epochs-decay", "4"],
    "roads": [*COMMON_RECIPE, "--epochs", "100", "--epochs-decay", "100"],  # not tried: for a GPU
}


def main(data: Path, work: Path, names: list[str]) -> None:
    """Make the named generators, or both."""
    for name in names or list(RECIPE):
        make_pairs(name, data=data, pairs=work / f"pairs_{name}")
        train(name, pairs=work / f"pairs_{name}", run=work / f"run_{name}")


def make_pairs(name: str, *, data: Path, pairs: Path) -> None:
    """Cut the pairs of one generator."""
    split = json.loads((HERE / f"{name}_split.json").read_text(encoding="utf-8"))
    scene_name, target_name = FILES[name]
    scenes = sorted(split["train"] + split["val"])
    _run(
        "prepare",
        *(data / scene_name.format(scene) for scene in scenes),
        *("--target", *(data / target_name.format(scene) for scene in scenes)),
        *("--val", *(data / scene_name.format(scene) for scene in split["val"])),
        *PREPARE[name],
        *("--out", pairs),
    )


def train(name: str, *, pairs: Path, run: Path) -> None:
    """Train one generator; its model is ``run/model.safetensors``."""
    card = HERE / f"{name}_card.json"
    _run("train", "--pairs", pairs, "--out", run, "--name", name, "--card", card, *RECIPE[name])


def _run(*words: str | Path) -> None:
    command = [sys.executable, "-m", "geop2p", *map(str, words)]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
