"""What a training's objective needs beside the recipe: the classes, weighted by the pairs."""

import torch
from torch import Tensor

from geop2p.batches import PairStore
from geop2p.classification import CLASS_WEIGHTS, ClassTask, class_shares
from geop2p.objective import Guidance
from geop2p.palette import Palette
from geop2p.recipe import TrainingConfig
from geop2p.training import to_unit
from geop2p.validation import spread

MOST_COUNTED = 128
"""Training pairs, evenly spread, whose pixels are counted by class."""


def guidance_for(config: TrainingConfig, *, palette: Palette | None, store: PairStore) -> Guidance:
    """Return what the objective of a recipe needs; nothing where it needs nothing.

    Parameters
    ----------
    palette : Palette or None
        The classes of the map.
    store : PairStore
        Training pairs. Those that are counted are the same in every process of a run.

    Raises
    ------
    PairsError
        When a pair cannot be read.
    """
    if not config.lambda_ce or palette is None:
        return Guidance()
    task = ClassTask.of_palette(palette, config.map)
    if config.class_weights != "none":
        maps = (_unit_map(store, index, config) for index in spread(len(store), MOST_COUNTED))
        task = task.with_weights(CLASS_WEIGHTS[config.class_weights](class_shares(task, maps)))
    return Guidance(task=task)


def _unit_map(store: PairStore, index: int, config: TrainingConfig) -> Tensor:
    """Return one pair's map, (1, K, H, W) float32 in [-1, 1]."""
    _scene, drawn = store[index]
    return to_unit(torch.from_numpy(drawn)[None], config.map, device=torch.device("cpu"))
