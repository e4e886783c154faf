"""Train the recipes of `variants` on the same pairs for as many pictures, and score them alike.

    python benchmarks/models/compare.py PAIRS RUNS [--held-back SCENE TRUTH] [--epochs 2 1]
        [--variants NAME ...] [--seeds 1] [--device auto] [--score-only] [--name recipes]

PAIRS comes from ``geop2p prepare``; its pairs that validate are those to choose by. A variant with
pairs of its own takes them from a folder beside it, PAIRS512 for views of 512 pixels. RUNS gets a
folder a run: one that is complete is not trained again, one that was stopped goes on. The held-back
scene is scored once a finished run. Figures go to ``benchmarks/results/NAME.json`` as they come, of
comparisons of other variants at the same time too; ``python benchmarks/page.py`` puts those of
``recipes``, ``recipes_roads`` and ``recipes_roads_choose`` into docs/models.md.
"""

import argparse
import hashlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

import geop2p
from geop2p.checkpoint import has_checkpoint
from geop2p.locking import lock_path
from geop2p.model import read_card
from geop2p.networks import build_generator
from geop2p.pipelines.training_run import MODEL

sys.path.append(str(Path(__file__).parents[1]))
from record import RESULTS, provenance, record, recorded
from variants import VARIANTS, Variant
from weights import flop_of

SCORES = ("l1", "psnr_db", "ssim", "accuracy", "mean_iou")
SEAMS = ("gradient_ratio", "gradient_ratio_of_truth", "overlap_rms", "shift_rms", "shift_changed")
Figures = dict[str, Any]


def main(arguments: Sequence[str], *, variants: Sequence[Variant] = VARIANTS) -> None:
    """Train and score what was asked for; what is known already is kept."""
    asked = _parsed(arguments)
    unknown = set(asked.variants or ()) - {variant.name for variant in variants}
    if unknown:
        sys.exit(f"no variant {', '.join(sorted(unknown))} (they are in variants.py)")
    chosen = [v for v in variants if not asked.variants or v.name in asked.variants]
    for variant, seed, folder in _runs(chosen, asked):
        if not (asked.score_only or variant.trained_as):
            train(variant, folder, seed=seed, asked=asked)
        if is_finished(folder):
            found = score(variant, folder, seed=seed, asked=asked)
            keep(found, variant.name, seed=seed, asked=asked)


def train(variant: Variant, folder: Path, *, seed: int, asked: argparse.Namespace) -> None:
    """Train one variant, from its last checkpoint where there is one; end when it was stopped."""
    if is_finished(folder):
        return
    if has_checkpoint(folder):
        geop2p.train(resume=folder, device=asked.device)
    else:
        epochs, epochs_decay = asked.epochs
        geop2p.train(
            Path(f"{asked.pairs}{variant.pairs}"),
            folder,
            **variant.options,
            **_taught(variant, seed=seed, asked=asked),
            epochs=epochs,
            epochs_decay=epochs_decay,
            seed=seed,
            palette=asked.palette,
            device=asked.device,
            save_every=1,
        )
    if not is_finished(folder):
        sys.exit(f"{folder} was stopped before its last epoch; the same command goes on")


def _taught(variant: Variant, *, seed: int, asked: argparse.Namespace) -> dict[str, str]:
    """Return the option that names the teacher's model, where there is one."""
    if not variant.teacher:
        return {}
    folder = asked.runs / f"{variant.teacher}-{seed}"
    if not is_finished(folder):
        sys.exit(f"{variant.name} is taught by {folder}, which is not finished: run it first")
    return {"teacher": str(folder / MODEL)}


def is_finished(folder: Path) -> bool:
    """Return whether a run did every epoch and left its model."""
    if not (folder / MODEL).exists():
        return False
    training = read_card(folder / MODEL).training
    options = training["options"]
    done: int = training["epochs_done"]
    return done >= options["epochs"] + options["epochs_decay"]


def score(variant: Variant, folder: Path, *, seed: int, asked: argparse.Namespace) -> Figures:
    """Return the figures of a finished run: where it stands among others, and what it took."""
    model = folder / MODEL
    known = known_figures(variant.name, seed=seed, asked=asked)
    with model.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    found = known if known.get("sha256") == digest else facts(model) | {"sha256": digest}
    if not variant.trained_as:  # pairs are drawn one tile at a time
        found["choosing"] = chosen_by(model)
    if asked.held_back and "held_back" not in found:
        scene, truth = asked.held_back
        found["held_back"] = _scored(
            scene=scene,
            truth=truth,
            model=model,
            device=asked.device,
            precision="fp32",
            **variant.drawn,
        )
    return found


def facts(model: Path) -> Figures:
    """Return what a run took and what its network costs, from its card."""
    card = read_card(model)
    training, options = card.training, card.training["options"]
    return {
        "options": options,
        "steps": training["steps"],
        "pictures": training["pairs"]["train"] * training["epochs_done"],
        "batch_size": options["batch_size"],
        "hours": training["hours"],
        "trained_on": training["machine"],
        "megabytes": model.stat().st_size / 1e6,
        "gflop_a_tile": flop_of(build_generator(card.generator)) / 1e9,
    }


def chosen_by(model: Path) -> Figures:
    """Return the scores of the pairs that validate, from its card."""
    card = read_card(model)
    scores = card.scores["validation"]
    return {
        "items": scores["pairs"],
        "statistics": card.norm_statistics,
        "scores": {key: scores[card.norm_statistics][key] for key in (*SCORES, "classes")},
    }


def keep(found: Figures, name: str, *, seed: int, asked: argparse.Namespace) -> None:
    """Put the figures of one run beside those that are known, of other comparisons too."""
    asked.results.mkdir(parents=True, exist_ok=True)
    with FileLock(lock_path(asked.results / f"{asked.name}.json")):
        content = recorded(asked.name, folder=asked.results) or {"figures": {}}
        figures = content["figures"]
        figures.setdefault(name, {})[str(seed)] = found
        record(asked.name, figures, folder=asked.results, is_shown=False)


def known_figures(name: str, *, seed: int, asked: argparse.Namespace) -> Figures:
    """Return what was kept of a run, or nothing."""
    content = recorded(asked.name, folder=asked.results) or {"figures": {}}
    found: Figures = content["figures"].get(name, {}).get(str(seed), {})
    return found


def _scored(**asked: Any) -> Figures:  # noqa: ANN401  options of `geop2p.evaluate`
    """Return the scores of one evaluation with their intervals, seams, and where they come from."""
    report = geop2p.evaluate(modes=False, **asked)
    found: Figures = {
        "items": report.items,
        "statistics": report.statistics,
        "scores": {key: report.scores[key] for key in (*SCORES, "classes")},
        "intervals": {key: report.intervals[key] for key in SCORES},
    }
    if report.seams:
        found["seams"] = {key: report.seams["model"][key] for key in SEAMS}
    return found | provenance()


def _runs(
    chosen: Sequence[Variant], asked: argparse.Namespace
) -> Iterator[tuple[Variant, int, Path]]:
    """Yield each run: every variant with the first seed, then with the next."""
    for seed in range(asked.seeds):
        for variant in chosen:
            yield variant, seed, asked.runs / f"{variant.run_name}-{seed}"


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare recipes.")
    parser.add_argument("pairs", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--held-back", nargs=2, metavar=("SCENE", "TRUTH"))
    parser.add_argument("--variants", nargs="*", metavar="NAME")
    parser.add_argument("--epochs", nargs=2, type=int, default=(2, 1), metavar=("FULL", "DECAY"))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--palette", default="streets")
    parser.add_argument("--score-only", action="store_true")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--name", default="recipes")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
