"""The recipe: the plain values of a training that decide, beside the networks, which weights come.

An option of the recipe is a field here, with its choices or its range in the tables below it, and
a line of the command's help. `geop2p.recipe.TrainingConfig` and the settings of the workflow
inherit the fields, the command reads the tables. Nothing here imports torch.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from geop2p.errors import OptionError


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeValues:
    """Values that losses, views, order and rates follow from. The defaults are the paper's.

    Parameters
    ----------
    epochs, epochs_decay : int
        Epochs at the full rate, then epochs in which it falls to zero.
    batch_size : int, pairs
    lr : float
        Adam's rate.
    schedule : str
        A key of `SCHEDULES`: how the rate falls.
    lambda_l1, lambda_gan : float
        Weights of L1 and of the adversarial loss; without the latter there is no discriminator.
    gan_mode : str
        A key of `geop2p.losses.GAN_LOSSES`.
    lambda_fm : float
        Weight of feature matching (0: none): how far the discriminator's features of the generated
        pair are from those of the true one.
    diffaug : str
        What the discriminator sees is changed by, as `geop2p.disguise.draw_disguise` takes it.
    lambda_distill : float
        Weight of L1 to the picture of a teacher, a model that is trained already (0: none).
    lambda_ce, ce_temperature : float
        Weight of the cross-entropy of classes (0: none), and its temperature.
    class_weights : str
        A key of `geop2p.classification.CLASS_WEIGHTS`.
    augment : str
        A key of `geop2p.augmentation.AUGMENTATIONS`.
    jitter_scale : float
        Views show up to 1 + this times their side of the ground, or as much less.
    jitter_colour : float
        Largest change of the scene's brightness, contrast and saturation, see `geop2p.colours`.
    sampling : str
        ``uniform``: every pair once an epoch; ``balanced``: see `geop2p.balance`.
    load_size, crop_size : int, pixels
        Side that pairs are resized to (0: their own), and side of the view taken from that.
    freeze_norm_epochs : int
        The last epochs, which train with the statistics that translation will use.
    ema : float
        Decay of the average of the generator's weights that is validated and saved; 0: the weights
        themselves are.
    seed : int
        At least 0.
    amp : bool
        Bodies of the networks in bfloat16 (float16 on a GPU without it).
    """

    epochs: int = 100
    epochs_decay: int = 100
    batch_size: int = 1
    lr: float = 2e-4
    schedule: str = "linear"
    lambda_l1: float = 100.0
    lambda_gan: float = 1.0
    gan_mode: str = "vanilla"
    lambda_fm: float = 0.0
    diffaug: str = "none"
    lambda_distill: float = 0.0
    lambda_ce: float = 0.0
    ce_temperature: float = 0.02
    class_weights: str = "none"
    augment: str = "paper"
    jitter_scale: float = 0.0
    jitter_colour: float = 0.0
    sampling: str = "uniform"
    load_size: int = 286
    crop_size: int = 256
    freeze_norm_epochs: int = 0
    ema: float = 0.0
    seed: int = 0
    amp: bool = False

    @property
    def total_epochs(self) -> int:
        """Epochs at the full rate and after it."""
        return self.epochs + self.epochs_decay

    @property
    def is_adversarial(self) -> bool:
        """Whether there is a discriminator at all."""
        return self.lambda_gan > 0

    def learning_rate(self, epoch: int) -> float:
        """Return Adam's rate in ``epoch``, counted from 0: constant, then falling to zero."""
        past = max(0, epoch + 1 - self.epochs)
        return self.lr * SCHEDULES[self.schedule](past / (self.epochs_decay + 1))

    def is_frozen(self, epoch: int) -> bool:
        """Return whether ``epoch`` trains with frozen norm statistics."""
        return epoch >= self.total_epochs - self.freeze_norm_epochs

    def check(self) -> None:
        """Refuse a recipe that cannot be followed.

        Raises
        ------
        OptionError
            For an unknown choice, a number out of its range, or values that contradict each other.
        """
        for name, choices in CHOICES.items():
            found = getattr(self, name)
            if found not in choices:
                raise OptionError(f"{option(name)} {found!r} (choose from {', '.join(choices)})")
        for name, bounds in RANGES.items():
            if not bounds.holds(getattr(self, name)):
                raise OptionError(f"{option(name)} {getattr(self, name)} ({bounds})")
        self._check_objective()
        if not self.total_epochs:
            raise OptionError("--epochs 0 and --epochs-decay 0 (one of them must be at least 1)")
        if not 0 <= self.freeze_norm_epochs < self.total_epochs:
            raise OptionError(
                f"--freeze-norm-epochs {self.freeze_norm_epochs} (0 to {self.total_epochs - 1})"
            )
        if self.load_size and self.load_size < self.crop_size:
            raise OptionError(f"--load-size {self.load_size} is below --crop-size {self.crop_size}")

    def _check_objective(self) -> None:
        if not self.lambda_l1 + self.lambda_gan + self.lambda_ce + self.lambda_distill:
            raise OptionError("--lambda-l1 0 and --lambda-gan 0 (the generator is asked nothing)")
        if not self.is_adversarial and (self.lambda_fm or self.diffaug != "none"):
            raise OptionError(
                "--lambda-gan 0 has no discriminator (with it go --lambda-fm 0 and --diffaug none)"
            )


class Range(NamedTuple):
    """Numbers from ``least`` to ``most``, both among them unless they are said to be open."""

    least: float
    most: float = math.inf
    is_least_open: bool = False
    is_most_open: bool = False

    def holds(self, number: float) -> bool:
        """Return whether ``number`` is in the range; NaN is in none."""
        is_above = number > self.least if self.is_least_open else number >= self.least
        is_below = number < self.most if self.is_most_open else number <= self.most
        return is_above and is_below and number < math.inf

    def __str__(self) -> str:
        """Return the range in words."""
        words = f"{'above' if self.is_least_open else 'at least'} {self.least}"
        if self.most == math.inf:
            return words
        return f"{words}, {'below' if self.is_most_open else 'at most'} {self.most}"


SCHEDULES: dict[str, Callable[[float], float]] = {
    "linear": lambda passed: 1 - passed,
    "cosine": lambda passed: (1 + math.cos(math.pi * passed)) / 2,
}
"""Part of the rate that is left when a part of the falling epochs has passed."""

CHOICES: dict[str, tuple[str, ...]] = {
    "gan_mode": ("vanilla", "lsgan", "hinge"),
    "diffaug": (
        "none",
        "colour",
        "translation",
        "cutout",
        "colour+translation",
        "colour+cutout",
        "translation+cutout",
        "colour+translation+cutout",
    ),
    "class_weights": ("none", "inverse-sqrt"),
    "schedule": tuple(SCHEDULES),
    "sampling": ("uniform", "balanced"),
    "augment": ("none", "paper", "dihedral"),
}
"""Fields that are one of several words: a test compares these with the tables that they open."""

RANGES: dict[str, Range] = {
    "epochs": Range(0),
    "epochs_decay": Range(0),
    "batch_size": Range(1),
    "lr": Range(0, is_least_open=True),
    "lambda_l1": Range(0),
    "lambda_gan": Range(0),
    "lambda_fm": Range(0),
    "lambda_distill": Range(0),
    "lambda_ce": Range(0),
    "ce_temperature": Range(0, is_least_open=True),
    "ema": Range(0, 1, is_most_open=True),
    "jitter_scale": Range(0, 1),
    "jitter_colour": Range(0, 1),
    "load_size": Range(0),
    "crop_size": Range(1),
    "freeze_norm_epochs": Range(0),
    "seed": Range(0),
}
"""Fields that are numbers, and what they may be."""


def option(name: str) -> str:
    """Return how a field is given to the command: ``--lambda-l1``."""
    return f"--{name.replace('_', '-')}"
