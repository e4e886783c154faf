"""What a training's objective needs beside the recipe: classes, weighted, and a teacher."""

import torch
from torch import Tensor

from geop2p.batches import PairStore
from geop2p.classification import CLASS_WEIGHTS, ClassTask, class_shares
from geop2p.errors import OptionError
from geop2p.model import Model, load_model
from geop2p.objective import Guidance
from geop2p.palette import Palette
from geop2p.recipe import TrainingConfig
from geop2p.training import to_unit
from geop2p.validation import spread

MOST_COUNTED = 128
"""Training pairs, evenly spread, whose pixels are counted by class."""


def guidance_for(
    config: TrainingConfig, *, palette: Palette | None, store: PairStore, teacher: str
) -> Guidance:
    """Return what the objective of a recipe needs; nothing where it needs nothing.

    Parameters
    ----------
    palette : Palette or None
        The classes of the map.
    store : PairStore
        Training pairs. Those that are counted are the same in every process of a run.
    teacher : str
        Name or file of a model; empty: none.

    Raises
    ------
    PairsError
        When a pair cannot be read.
    ModelError
        When the teacher cannot be read.
    OptionError
        When the teacher is for other scenes or maps, or nothing is asked of it.
    """
    model = _teacher(teacher, config) if teacher else None
    return Guidance(
        task=None if palette is None else _task(config, palette, store),
        teacher=None if model is None else model.generator,
        teacher_sha256="" if model is None else model.sha256,
    )


def _task(config: TrainingConfig, palette: Palette, store: PairStore) -> ClassTask | None:
    if not config.lambda_ce:
        return None
    task = ClassTask.of_palette(palette, config.map)
    if config.class_weights != "none":
        maps = (_unit_map(store, index, config) for index in spread(len(store), MOST_COUNTED))
        task = task.with_weights(CLASS_WEIGHTS[config.class_weights](class_shares(task, maps)))
    return task


def _teacher(name: str, config: TrainingConfig) -> Model:
    if not config.lambda_distill:
        raise OptionError(f"--teacher {name} without --lambda-distill (give a weight, such as 50)")
    model = load_model(name)
    theirs, ours = model.card.generator, config.generator
    found = (theirs.in_bands, model.card.scene, theirs.out_bands, model.card.map)
    if found != (ours.in_bands, config.scene, ours.out_bands, config.map):
        raise OptionError(
            f"--teacher {name}: {theirs.in_bands} bands of {model.card.scene} to "
            f"{theirs.out_bands} of {model.card.map}; the pairs have {ours.in_bands} of "
            f"{config.scene} and {ours.out_bands} of {config.map} "
            "(choose a teacher for such pairs)"
        )
    if config.crop_size % theirs.size_multiple:
        raise OptionError(
            f"--teacher {name}: --crop-size {config.crop_size} does not fit {theirs.arch} "
            f"(it must be a multiple of {theirs.size_multiple})"
        )
    return model


def _unit_map(store: PairStore, index: int, config: TrainingConfig) -> Tensor:
    """Return one pair's map, (1, K, H, W) float32 in [-1, 1]."""
    _scene, drawn = store[index]
    return to_unit(torch.from_numpy(drawn.copy())[None], config.map, device=torch.device("cpu"))
