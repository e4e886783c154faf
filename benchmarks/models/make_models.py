"""Make the bundled generators: pairs by ``geop2p prepare``, ``geop2p train``, ``geop2p evaluate``.

    python benchmarks/models/make_models.py WORK_DIR [streets|streets-exact|roads ...]
        [--data DATA_DIR] [--device auto]

WORK_DIR holds ``pairs_streets`` and ``pairs_roads``, or gets them from DATA_DIR, which holds
``dubai/`` and ``massachusetts/`` as docs/models.md describes them. It gets the runs, each with its
``model.safetensors``; a run that was stopped goes on. Scores are printed: of the pairs that
validate, and with DATA_DIR of whole scenes that do. Which scenes train and which validate is in
``streets_split.json`` and ``roads_split.json`` beside this file. ``streets-exact`` has the pairs of
``streets``.

A model that is to ship then gets its int8 form by ``make_int8.py``, and a place among those that
ship by ``bundle.py``.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from geop2p.checkpoint import has_checkpoint
from geop2p.pipelines.training_run import MODEL

HERE = Path(__file__).parent

PREPARE = {
    "streets": ["--palette", "streets", "--size", "286", "--stride", "240", "--min-variety", "0"],
    "roads": ["--palette", "roads", "--size", "286", "--stride", "150", "--min-variety", "0"],
}
FILES = {
    "streets": ("dubai/{}.jpg", "dubai/{}_labels.png"),
    "roads": ("massachusetts/{}.tif", "massachusetts/{}_roads.tif"),
}
LANDSCAPES = {"streets": "streets", "streets-exact": "streets", "roads": "roads"}
"""Whose pairs and scenes each generator has."""
STAGES = {
    "streets": {"run_streets": ["--recipe", "best", "--epochs", "6", "--epochs-decay", "4"]},
    "streets-exact": {
        "run_streets-exact": [
            *("--recipe", "best", "--epochs", "6", "--epochs-decay", "4", "--lambda-gan", "0"),
            *("--arch", "resnet_6blocks", "--ngf", "11"),
        ]
    },
    "roads": {
        "run_roads_classes": ["--recipe", "best", "--epochs", "6", "--epochs-decay", "3"],
        "run_roads": [
            *("--recipe", "best", "--epochs", "1", "--epochs-decay", "1", "--lr", "2e-4"),
            *("--lambda-gan", "0", "--lambda-ce", "5", "--ce-temperature", "0.5"),
        ],
    },
}
"""Runs of each generator, and the options of each: one begins with the model of the one before."""
BLENDS = {"streets": "cosine", "streets-exact": "exact", "roads": "cosine"}
"""By which whole scenes are drawn to be scored."""


def main(arguments: Sequence[str]) -> None:
    """Make the named generators and print what they score."""
    asked = _parsed(arguments)
    for name in asked.names:
        pairs = asked.work / f"pairs_{LANDSCAPES[name]}"
        if not pairs.is_dir():
            make_pairs(LANDSCAPES[name], data=asked.data, pairs=pairs)
        model = train(name, pairs=pairs, work=asked.work, device=asked.device)
        show_scores(name, pairs=pairs, model=model, data=asked.data)


def make_pairs(landscape: str, *, data: Path | None, pairs: Path) -> None:
    """Cut the pairs of one landscape."""
    if data is None:
        sys.exit(f"{pairs}: not there (prepare it, or name the raw data with --data DIR)")
    split = scenes_of(landscape)
    scene_name, target_name = FILES[landscape]
    scenes = sorted(split["train"] + split["val"])
    _run(
        "prepare",
        *(data / scene_name.format(scene) for scene in scenes),
        *("--target", *(data / target_name.format(scene) for scene in scenes)),
        *("--val", *(data / scene_name.format(scene) for scene in split["val"])),
        *PREPARE[landscape],
        *("--out", pairs),
    )


def train(name: str, *, pairs: Path, work: Path, device: str) -> Path:
    """Train one generator stage by stage, each from its last checkpoint; return its model."""
    card = HERE / f"{name}_card.json"
    started: tuple[str | Path, ...] = ()
    for folder, options in STAGES[name].items():
        run = work / folder
        if (run / MODEL).exists():
            print(f"{run / MODEL}: is there, not trained again")
        elif has_checkpoint(run):
            _run("train", "--resume", run, "--device", device)
        else:
            known = ("--pairs", pairs, "--out", run, "--name", name, "--card", card)
            _run("train", *known, *options, *started, "--device", device)
        started = ("--start-from", run / MODEL)
    return run / MODEL


def show_scores(name: str, *, pairs: Path, model: Path, data: Path | None) -> None:
    """Print the scores of the pairs that validate, and of the scenes where they are at hand."""
    _run("evaluate", "--pairs", pairs, "--model", model)
    if data is None:
        return
    landscape, way = LANDSCAPES[name], ("--blend", BLENDS[name], "--precision", "fp32")
    scene_name, target_name = FILES[landscape]
    for scene in scenes_of(landscape)["val"]:
        files = (data / scene_name.format(scene), "--truth", data / target_name.format(scene))
        _run("evaluate", "--scene", *files, "--model", model, *way)


def scenes_of(landscape: str) -> dict[str, list[str]]:
    """Return which scenes of a landscape train, and which validate."""
    split: dict[str, list[str]] = json.loads((HERE / f"{landscape}_split.json").read_text("utf-8"))
    return split


def _run(*words: str | Path) -> None:
    command = [sys.executable, "-m", "geop2p", *map(str, words)]
    subprocess.run(command, check=True)


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Make the bundled generators.")
    parser.add_argument("work", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", default=list(STAGES))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--device", default="auto")
    asked = parser.parse_args(arguments)
    unknown = set(asked.names) - set(STAGES)
    if unknown:
        parser.error(f"no recipe {', '.join(sorted(unknown))} (choose from {', '.join(STAGES)})")
    return asked


if __name__ == "__main__":
    main(sys.argv[1:])
