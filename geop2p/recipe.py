"""The recipe: every choice of a training that decides which weights come out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from geop2p.augmentation import AUGMENTATIONS
from geop2p.card import Scaling
from geop2p.errors import OptionError
from geop2p.losses import GAN_LOSSES
from geop2p.networks import DiscriminatorConfig, GeneratorConfig

LEAST_SIDE = 16
"""Pixels; smaller views have no SSIM, whose window is 11 wide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """The recipe: everything that decides which weights come out. The defaults are the paper's.

    Parameters
    ----------
    generator, discriminator
        The two networks.
    scene, map : Scaling
        Native values of the generator's input and output.
    epochs, epochs_decay : int
        Epochs at the full rate, then epochs in which it falls to zero.
    batch_size : int, pairs
    lr : float
        Adam's rate.
    lambda_l1 : float
        Weight of L1 beside the adversarial loss.
    gan_mode : str
        A key of `GAN_LOSSES`.
    augment : str
        A key of `AUGMENTATIONS`.
    load_size, crop_size : int, pixels
        Side that pairs are resized to (0: their own), and side of the view taken from that.
    freeze_norm_epochs : int
        The last epochs, which train with the statistics that translation will use.
    seed : int
        At least 0.
    amp : bool
        Bodies of the networks in bfloat16 (float16 on a GPU without it).
    """

    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    scene: Scaling = field(default_factory=Scaling)
    map: Scaling = field(default_factory=Scaling)
    epochs: int = 100
    epochs_decay: int = 100
    batch_size: int = 1
    lr: float = 2e-4
    lambda_l1: float = 100.0
    gan_mode: str = "vanilla"
    augment: str = "paper"
    load_size: int = 286
    crop_size: int = 256
    freeze_norm_epochs: int = 0
    seed: int = 0
    amp: bool = False

    def __post_init__(self) -> None:
        """Refuse a recipe that cannot be followed.

        Raises
        ------
        OptionError
            For an unknown choice, a number out of its range, or a view that does not fit.
        """
        _check_choice("--gan-mode", self.gan_mode, GAN_LOSSES)
        _check_choice("--augment", self.augment, AUGMENTATIONS)
        _check_least(1, batch_size=self.batch_size, epochs=self.total_epochs)
        _check_least(0, epochs=self.epochs, epochs_decay=self.epochs_decay, seed=self.seed)
        _check_least(0, lr=self.lr, lambda_l1=self.lambda_l1)
        if not 0 <= self.freeze_norm_epochs < self.total_epochs:
            raise OptionError(
                f"--freeze-norm-epochs {self.freeze_norm_epochs} (0 to {self.total_epochs - 1})"
            )
        multiple = self.generator.size_multiple
        if self.crop_size < LEAST_SIDE or self.crop_size % multiple:
            raise OptionError(
                f"--crop-size {self.crop_size} does not fit {self.generator.arch} "
                f"(it must be a multiple of {multiple}, at least {LEAST_SIDE})"
            )
        if self.load_size and self.load_size < self.crop_size:
            raise OptionError(f"--load-size {self.load_size} is below --crop-size {self.crop_size}")

    @property
    def total_epochs(self) -> int:
        """Epochs at the full rate and after it."""
        return self.epochs + self.epochs_decay

    def learning_rate(self, epoch: int) -> float:
        """Return Adam's rate in ``epoch``, counted from 0: constant, then straight to zero."""
        past = max(0, epoch + 1 - self.epochs)
        return self.lr * (1 - past / (self.epochs_decay + 1))

    def is_frozen(self, epoch: int) -> bool:
        """Return whether ``epoch`` trains with frozen norm statistics."""
        return epoch >= self.total_epochs - self.freeze_norm_epochs


def _check_choice(option: str, found: str, choices: Mapping[str, Any]) -> None:
    if found not in choices:
        raise OptionError(f"{option} {found!r} (choose from {', '.join(choices)})")


def _check_least(least: int, **numbers: float) -> None:
    for name, number in numbers.items():
        if not number >= least:
            raise OptionError(f"--{name.replace('_', '-')} {number} (at least {least})")
