"""The objective: what the two networks are asked for, as losses by name and one weighted sum.

References
----------
Isola et al. 2017, section 3.1, equation 4, and appendix 6.2.
Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, 2015 (arXiv:1503.02531), and
Li et al.: GAN Compression, CVPR 2020 (arXiv:2003.08936), section 3.1, for the teacher.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from geop2p.classification import ClassTask, class_loss
from geop2p.discriminators import Verdict
from geop2p.errors import OptionError
from geop2p.losses import adversarial_loss, deceiving_loss, feature_loss, l1_loss
from geop2p.recipe import TrainingConfig

DISCRIMINATOR_PARTS = ("discriminator_real", "discriminator_fake")
OPTION_OF_PART = {
    "generator_gan": "lambda_gan",
    "generator_l1": "lambda_l1",
    "generator_fm": "lambda_fm",
    "generator_distill": "lambda_distill",
    "generator_ce": "lambda_ce",
}
"""Parts of the generator's loss, in the order in which they are summed, and their weights."""
ALWAYS = "generator_l1"
"""Told whatever its weight is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guidance:
    """What the objective needs beside the recipe.

    Parameters
    ----------
    task : ClassTask or None
        The classes of the maps.
    teacher : torch.nn.Module or None
        A generator in evaluation mode, for the same scenes and maps.
    teacher_sha256 : str
        Of its model file.
    """

    task: ClassTask | None = None
    teacher: nn.Module | None = None
    teacher_sha256: str = ""


def loss_parts(config: TrainingConfig) -> tuple[str, ...]:
    """Return the names of the losses that a step tells, none of them weighted.

    For the paper's recipe these are ``discriminator_real``, ``discriminator_fake``,
    ``generator_gan`` and ``generator_l1``; each option adds or removes its own.
    """
    judged = DISCRIMINATOR_PARTS if config.is_adversarial else ()
    return judged + tuple(_weights(config))


def _weights(config: TrainingConfig) -> dict[str, float]:
    """Return the weight of each part of the generator's loss that is switched on."""
    weights = {part: float(getattr(config, name)) for part, name in OPTION_OF_PART.items()}
    return {part: weight for part, weight in weights.items() if weight or part == ALWAYS}


class Objective:
    """The losses of both networks.

    Raises
    ------
    OptionError
        When the recipe asks for classes without a palette, or for a teacher that is not given.
    """

    def __init__(self, config: TrainingConfig, guidance: Guidance, *, device: torch.device) -> None:
        self._config = config
        self._weights = _weights(config)
        self._task = None if guidance.task is None else guidance.task.to(device)
        if config.lambda_ce and self._task is None:
            raise OptionError(
                "--lambda-ce needs the classes of the map (give --palette, or one in --card)"
            )

        self._teacher = None if guidance.teacher is None else guidance.teacher.to(device)
        if config.lambda_distill and self._teacher is None:
            raise OptionError("--lambda-distill needs --teacher MODEL")

    @property
    def matches_features(self) -> bool:
        """Whether the generator's losses need the verdict on the true pair."""
        return self._config.lambda_fm > 0

    def of_discriminator(self, *, fake: Verdict, real: Verdict) -> dict[str, Tensor]:
        """Return the discriminator's losses by part, from its verdicts on both pairs."""
        mode = self._config.gan_mode
        return {
            f"discriminator_{name}": _mean(
                [adversarial_loss(found[-1], is_real=is_real, mode=mode) for found in verdict]
            )
            for name, verdict, is_real in (("real", real, True), ("fake", fake, False))
        }

    def of_generator(
        self, generated: Tensor, truth: Tensor, *, fake: Verdict, real: Verdict
    ) -> dict[str, Tensor]:
        """Return the generator's losses by part.

        Parameters
        ----------
        generated, truth : (N, K, H, W) float32
            In [-1, 1].
        fake, real : Verdict
            On the generated pair, empty without a discriminator; and on the true one, empty where
            `matches_features` is False.
        """
        losses = {"generator_l1": l1_loss(generated, truth)}
        if fake:
            mode = self._config.gan_mode
            losses["generator_gan"] = _mean([deceiving_loss(f[-1], mode=mode) for f in fake])
        if real:
            losses["generator_fm"] = _mean(
                [feature_loss(f[:-1], r[:-1]) for f, r in zip(fake, real, strict=True)]
            )
        if self._config.lambda_ce and self._task is not None:
            temperature = self._config.ce_temperature
            losses["generator_ce"] = class_loss(
                generated, truth, task=self._task, temperature=temperature
            )
        return losses

    def of_student(self, scene: Tensor, generated: Tensor) -> dict[str, Tensor]:
        """Return how far (N, K, H, W) pictures are from the teacher's, where there is one."""
        if not self._config.lambda_distill or self._teacher is None:
            return {}
        with torch.no_grad():
            shown = self._teacher(scene)
        return {"generator_distill": l1_loss(generated, shown)}

    def weighted(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return what the generator minimises: the sum of its parts by their weights."""
        terms = [weight * losses[part] for part, weight in self._weights.items()]
        return sum(terms[1:], start=terms[0])


def _mean(losses: list[Tensor]) -> Tensor:
    """Return the mean over a discriminator's scales."""
    return sum(losses[1:], start=losses[0]) / len(losses)
