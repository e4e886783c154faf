"""The options of a training: those that decide which weights come out, and those that do not."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypedDict

from geop2p.errors import OptionError
from geop2p.progress import OnProgress, ignore_progress
from geop2p.recipe_values import RecipeValues


class TrainOptions(TypedDict, total=False):
    """Keyword options of `geop2p.train`; `Settings` and `RunOptions` explain each."""

    recipe: str | Path
    direction: str
    start_from: str
    arch: str
    ngf: int
    max_channels: int | None
    norm: str
    discriminator: str
    ndf: int
    n_layers: int
    upsample: str
    attention: int | None
    teacher: str
    scales: int
    spectral_norm: bool
    epochs: int
    epochs_decay: int
    batch_size: int
    lr: float
    schedule: str
    lambda_l1: float
    lambda_gan: float
    gan_mode: str
    lambda_fm: float
    diffaug: str
    lambda_distill: float
    lambda_ce: float
    ce_temperature: float
    class_weights: str
    augment: str
    jitter_scale: float
    jitter_colour: float
    sampling: str
    load_size: int
    crop_size: int
    freeze_norm_epochs: int
    ema: float
    seed: int
    amp: bool
    resume: str | Path
    card: str | Path
    palette: str | Path
    name: str
    gsd_m: float
    device: str
    workers: int
    compile_networks: bool
    save_every: int
    save_minutes: float
    max_minutes: float
    max_steps: int
    on_progress: OnProgress


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(RecipeValues):
    """The options that decide which weights come out; kept in checkpoints. Defaults: the paper's.

    Parameters
    ----------
    recipe : str
        Name of the recipe that the others come from, where they were not given one by one.
    direction : str
        ``scene-to-map`` or ``map-to-scene``.
    start_from : str
        Model, by name or path, whose weights the generator begins with; empty: random ones.
    arch, ngf, max_channels, norm, upsample, attention
        The generator, as in `geop2p.networks.GeneratorConfig`.
    teacher : str
        A bundled model's name or a model file, whose pictures the generator is to draw as well.
    discriminator, ndf, n_layers, scales, spectral_norm
        The discriminator, as in `geop2p.networks.DiscriminatorConfig`.

    The others are those of `geop2p.recipe_values.RecipeValues`.
    """

    recipe: str = "paper"
    direction: str = "scene-to-map"
    start_from: str = ""
    arch: str = "unet_256"
    ngf: int = 64
    max_channels: int | None = None
    norm: str = "batch"
    discriminator: str = "patchgan"
    ndf: int = 64
    n_layers: int = 3
    upsample: str = "transposed"
    attention: int | None = None
    teacher: str = ""
    scales: int = 1
    spectral_norm: bool = False


EXTENDABLE = ("epochs", "epochs_decay", "freeze_norm_epochs")
"""Settings that may differ when a run is resumed."""


def part(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the values that are fields of a dataclass."""
    return {entry.name: given[entry.name] for entry in fields(kind) if entry.name in given}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options that change no weight.

    Parameters
    ----------
    resume : str, Path or None
        Folder of a run to go on with.
    card : str, Path or None
        JSON file with the facts of the model card, see `geop2p.facts.read_facts`.
    palette, name, gsd_m
        Facts that go before those in ``card``: a palette file, a name, metres. Palette and metres
        that neither says are those that `geop2p prepare` left beside the pairs.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    workers : int or None
        Threads that load pairs; None: none on a CPU, four for a GPU.
    compile_networks : bool
        Let torch compile both networks: last bits differ, the recipe does not.
    save_every : int, epochs
        Between checkpoints, each with a grid of pictures.
    save_minutes : float, minutes
        Between checkpoints within epochs; 0: never.
    max_minutes : float, minutes
        After which the run stops and is finished as it is; 0: never.
    max_steps : int
        The same for steps, those of earlier processes of the run among them.
    """

    resume: str | Path | None = None
    card: str | Path | None = None
    palette: str | Path | None = None
    name: str | None = None
    gsd_m: float | None = None
    device: str = "auto"
    workers: int | None = None
    compile_networks: bool = False
    save_every: int = 10
    save_minutes: float = 10.0
    max_minutes: float = 0.0
    max_steps: int = 0
    on_progress: OnProgress = ignore_progress

    def __post_init__(self) -> None:
        """Refuse numbers out of range.

        Raises
        ------
        OptionError
            For a negative number, or no epochs between checkpoints.
        """
        others = (self.save_minutes, self.max_minutes, self.max_steps, self.workers or 0)
        if self.save_every < 1 or min(others) < 0:
            raise OptionError(
                "--save-every must be 1 or more, "
                "--save-minutes, --max-minutes, --max-steps and --workers 0 or more"
            )
