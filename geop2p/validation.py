"""Validation: a generator's maps of pairs that it was not trained on, and their scores.

The same weights are scored in three modes of the norm layers, because they can differ much:

- ``running``: statistics kept from training, no dropout;
- ``tile``: each tile's own statistics, no dropout;
- ``training``: each tile's own statistics and dropout, the way pix2pix was tested in its paper.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from geop2p.batches import PairStore, ViewRule, stack, take_pair
from geop2p.card import Scaling
from geop2p.metrics import Scorer, Scores, mean_picture
from geop2p.model import use_tile_statistics
from geop2p.palette import Palette
from geop2p.recipe import TrainingConfig
from geop2p.training import from_unit, to_unit

BATCH = 4
"""Pictures generated at once; results do not depend on it, but for the last bits."""


def _running(generator: nn.Module) -> nn.Module:
    return generator.eval()


def _tile(generator: nn.Module) -> nn.Module:
    use_tile_statistics(generator)
    return generator.eval()


def _training(generator: nn.Module) -> nn.Module:
    use_tile_statistics(generator)
    return generator.train()


MODES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "running": _running,
    "tile": _tile,
    "training": _training,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Validator:
    """The pairs that generators are scored on, and how.

    Parameters
    ----------
    store : PairStore
        Pairs; their centres are looked at.
    config : TrainingConfig
        Gives the side of the view and the native values.
    palette : Palette or None
        Classes to score as well.
    """

    store: PairStore
    config: TrainingConfig
    palette: Palette | None = None

    def score(self, generator: nn.Module, *, mode: str, indexes: Sequence[int]) -> Scores:
        """Return the scores of ``generator`` in a mode of `MODES` on the pairs of ``indexes``."""
        scorer = Scorer(self.config.map, palette=self.palette)
        for _scene, generated, truth in self.generate(generator, mode=mode, indexes=indexes):
            scorer.add(generated, truth)
        return scorer.scores()

    def score_baseline(self, *, indexes: Sequence[int]) -> Scores:
        """Return the scores of one colour everywhere: the mean of the true maps themselves."""
        scorer = Scorer(self.config.map, palette=self.palette)
        truth = torch.cat([drawn.float() for _scene, drawn in self._batches(indexes)])
        mean = mean_picture(truth)
        for first in range(0, len(truth), BATCH):
            scorer.add(mean[first : first + BATCH], truth[first : first + BATCH])
        return scorer.scores()

    def generate(
        self, generator: nn.Module, *, mode: str, indexes: Sequence[int]
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield scenes, generated maps and true maps in native values, float32, on the CPU."""
        network = MODES[mode](copy.deepcopy(generator))
        device = next(network.parameters()).device
        torch.manual_seed(self.config.seed)  # only mode training draws from it
        for scene, truth in self._batches(indexes):
            with torch.no_grad():
                generated = network(to_unit(scene, self.config.scene, device=device))
            yield scene.float(), from_unit(generated, self.config.map).cpu(), truth.float()

    def _batches(self, indexes: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
        rule = ViewRule(augment="none", size=self.config.crop_size, seed=0)
        for first in range(0, len(indexes), BATCH):
            part = indexes[first : first + BATCH]
            yield stack([take_pair(self.store, i, rule=rule, epoch=0) for i in part])


def spread(count: int, most: int) -> list[int]:
    """Return at most ``most`` of the indexes 0 to count - 1, evenly spread."""
    if count <= most:
        return list(range(count))
    return [index * count // most for index in range(most)]


def as_rgb(picture: Tensor, scaling: Scaling) -> npt.NDArray[np.uint8]:
    """Return (C, H, W) native values as (H, W, 3) uint8: three bands, or the first one in grey."""
    grey_levels = (picture - scaling.low) * (255 / (scaling.high - scaling.low))
    bands = grey_levels[:3] if len(grey_levels) >= 3 else grey_levels[:1].expand(3, -1, -1)
    return bands.round().clamp(0, 255).byte().permute(1, 2, 0).numpy()  # (3, H, W) -> (H, W, 3)
