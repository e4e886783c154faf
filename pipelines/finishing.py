"""The end of a training: statistics, scores in every mode, and the model file with its card."""

import copy
import logging
import platform
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from geop2p.card import ModelCard
from geop2p.facts import band_names
from geop2p.metrics import Scores
from geop2p.model import as_stored, bundled_models, save_model
from geop2p.pairs import PairSet, describe_pair
from geop2p.pipelines.training_run import (
    LOG,
    MODEL,
    PLOT,
    Run,
    measure_statistics,
    save_pictures,
)
from geop2p.plots import plot_log
from geop2p.statistics import has_statistics
from geop2p.training import place
from geop2p.validation import MODES, Validator
from geop2p.version import __version__

logger = logging.getLogger(__name__)

CLOSE_DB = 0.05
"""Each tile's own statistics take 1.2x the time of kept ones: they have to gain more than this."""
MODEL_OPTIONS = ("start_from", "teacher")
"""Options that name a model, or its file."""
WORSE_DB = 0.3
"""A model is said to lose in evaluation mode from so many decibels on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The model that a run ended with: where it is, its SHA-256, its card, and what to tell."""

    model_path: Path
    sha256: str
    card: ModelCard
    notes: tuple[str, ...]


def finish(run: Run) -> Finished:
    """Write the model with its card and scores, the last pictures and the plot of the losses.

    Scored are the weights as they come back from a model file, in half precision; the mode of the
    norm layers with the higher PSNR becomes the card's. The training's own state is not touched.

    Raises
    ------
    ModelError
        When a weight is not finite.
    OutputError
        When the run's folder cannot be written to.
    """
    generator = _final_generator(run)
    card = _card(run)
    scores = score_modes(as_stored(generator), run.validator, device=run.trainer.device)
    mode = _better_mode(scores)
    notes = tuple(_notes(scores, mode=mode))
    data_set = "validation" if run.pairs.val else "training_pairs"
    card = replace(card, norm_statistics=mode, scores={data_set: scores})
    sha256 = save_model(run.folder / MODEL, generator, card)
    save_pictures(run, generator, mode=mode)
    if (run.folder / LOG).exists():
        plot_log(run.folder / LOG, run.folder / PLOT)
    return Finished(model_path=run.folder / MODEL, sha256=sha256, card=card, notes=notes)


def score_modes(generator: nn.Module, validator: Validator, *, device: torch.device) -> Scores:
    """Return the scores of a generator by mode of its norm layers, and those of one mean colour."""
    count = len(validator.store)
    place(generator, device)
    indexes = list(range(count))
    modes = MODES if has_statistics(generator) else ("running", "training")
    scores: Scores = {"pairs": count}
    for mode in modes:
        scores[mode] = validator.score(generator, mode=mode, indexes=indexes)
    return scores | {"mean_colour": validator.score_baseline(indexes=indexes)}


def _final_generator(run: Run) -> nn.Module:
    """Return a copy of the generator with the statistics that it will be used with.

    Statistics that were frozen are those that the weights were trained with. Averaged weights were
    trained with none.
    """
    final = copy.deepcopy(run.trainer.result)
    if not run.is_frozen or run.trainer.config.ema:
        measure_statistics(run, final)
    return final


def _better_mode(scores: Scores) -> str:
    """Return the mode of the higher PSNR; ``running``, which is quicker, when they are close."""
    if "tile" not in scores:
        return "running"
    gain = scores["tile"]["psnr_db"] - scores["running"]["psnr_db"]
    return "tile" if gain > CLOSE_DB else "running"


def _notes(scores: Scores, *, mode: str) -> list[str]:
    """Return what to say of the modes of the norm layers, where there are several."""
    if "tile" not in scores:
        return []
    modes = {name: float(scores[name]["psnr_db"]) for name in MODES if name in scores}
    listed = ", ".join(f"{name} {psnr:.2f} dB" for name, psnr in modes.items())
    notes = [f"norm statistics: {listed}; the card holds {mode!r}"]
    lost = modes["tile"] - modes["running"]
    if lost > WORSE_DB:
        notes.append(
            f"with kept statistics the generator is {lost:.2f} dB worse than with each tile's own "
            "(a batch of 8 or more, or --freeze-norm-epochs, brings them together)"
        )
    return notes


def _card(run: Run) -> ModelCard:
    config, facts = run.trainer.config, run.facts
    return ModelCard(
        name=facts.name or run.folder.resolve().name,
        generator=config.generator,
        tile=config.crop_size,
        scene_bands=band_names(facts.scene_bands, config.generator.in_bands),
        map_bands=band_names(facts.map_bands, config.generator.out_bands),
        scene=config.scene,
        map=config.map,
        gsd_m=_trained_gsd(run),
        palette=facts.palette,
        description=facts.description,
        data=facts.data,
        licence=facts.licence,
        limits=facts.limits,
        training=_recipe(run),
    )


def _trained_gsd(run: Run) -> float | None:
    """Return the ground sample distance that the generator saw: after resizing to the load size."""
    load_size, gsd_m = run.trainer.config.load_size, run.facts.gsd_m
    if gsd_m is None or not load_size:
        return gsd_m
    spec, _map_spec = describe_pair(run.pairs.train[0])
    return round(gsd_m * spec.height / load_size, 4)


def _recipe(run: Run) -> dict[str, Any]:
    """Return how the generator was made: every option, how far it came, and on what."""
    options = {name: value for name, value in run.settings.items() if name != "pairs"}
    return {
        "options": options | {name: _told_elsewhere(str(options[name])) for name in MODEL_OPTIONS},
        "epochs_done": run.position.epoch,
        "steps": run.position.total_steps,
        "hours": round(run.seconds_trained / 3600, 3),
        "has_frozen_norm": run.is_frozen,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": _machine(run.trainer.device),
        "geop2p": __version__,
        "torch": torch.__version__,
    } | _sources(run.pairs)


def _told_elsewhere(model: str) -> str:
    """Return a model's name, or its file and the folder that this is in: no path of this machine.

    A model file is mostly called ``model.safetensors``; its folder tells whose it is.
    """
    if not model or model in bundled_models():
        return model
    return "/".join(Path(model).absolute().parts[-2:])


def _sources(pairs: PairSet) -> dict[str, Any]:
    """Return what trained and what validated: the scenes where they are known, else the pairs."""
    counts = {"pairs": {"train": len(pairs.train), "validation": len(pairs.val)}}
    if pairs.train_scenes:
        scenes = {"train": list(pairs.train_scenes), "validation": list(pairs.val_scenes)}
        return counts | {"scenes": scenes}
    names = {"train": [pair.name for pair in pairs.train]}
    return counts | {"names": names | {"validation": [pair.name for pair in pairs.val]}}


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{platform.machine()} CPU, {threads} thread{'s' * (threads != 1)}"
