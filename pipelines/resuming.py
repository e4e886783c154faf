"""What a checkpoint must be before a run goes on from it: plain, complete, of its architecture."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geop2p.errors import CheckpointError, OptionError
from geop2p.pipelines.recipe_files import LONGEST_TEXT, check_types
from geop2p.pipelines.training_options import EXTENDABLE, Settings
from geop2p.pipelines.training_run import Run, tensors_of
from geop2p.recipe import TrainingConfig
from geop2p.recipe_values import option
from geop2p.training import Position, build_networks


@contextmanager
def told_as_damage(folder: Path) -> Iterator[None]:
    """Raise what a checkpoint lacks, or has too much, as `CheckpointError`."""
    try:
        yield
    except CheckpointError:
        raise
    except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as exc:
        reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        raise CheckpointError(
            f"{folder}: the checkpoint does not fit this geop2p: {reason[:300]} (begin a new run)"
        ) from exc


def kept_settings(content: Mapping[str, Any]) -> tuple[str, Settings]:
    """Return the folder of the pairs and the settings that a run was begun with.

    Raises
    ------
    TypeError, KeyError
        When an entry is missing, unknown or of another type.
    """
    kept = dict(content)
    pairs = kept.pop("pairs")
    if not isinstance(pairs, str) or len(pairs) > LONGEST_TEXT:
        raise TypeError(f"the folder of the pairs is {str(pairs)[:40]!r}")
    check_types(kept)
    return pairs, Settings(**kept)


def extended(folder: Path, kept: Settings, given: Mapping[str, Any]) -> Settings:
    """Return the run's settings with what may be given anew.

    Raises
    ------
    OptionError
        When another setting is given than the run was begun with.
    """
    for name, value in given.items():
        if name not in EXTENDABLE and value != getattr(kept, name):
            raise OptionError(
                f"{folder}: was begun with {option(name)} {getattr(kept, name)}, not {value} "
                "(leave the option away, or begin a new run)"
            )
    return replace(kept, **{name: value for name, value in given.items() if name in EXTENDABLE})


def check_networks(state: Mapping[str, Any], config: TrainingConfig) -> None:
    """Compare weights and optimisers with the architecture, before any network is built.

    Raises
    ------
    ValueError, LookupError, TypeError, AttributeError
        Naming the first differences, or the first value that is no number.
    """
    with torch.device("meta"):  # shapes without memory
        networks = build_networks(config)
    for name, network in networks.items():
        _check_shapes(name, state[name], network)
        _check_optimiser(name, state["optimisers"][name]["state"], network)
    if config.ema:
        _check_shapes("average", state["average"]["generator"], networks["generator"])
        _check_count("updates of the average", state["average"]["updates"])
    for name, tensor in tensors_of(state, name="checkpoint"):
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{name} holds NaN or infinity")


def check_teacher(run: Run, state: Mapping[str, Any]) -> None:
    """Refuse to go on with another teacher than the run was begun with.

    Raises
    ------
    CheckpointError
        When the model file has changed.
    """
    if state.get("teacher", "") != run.trainer.teacher_sha256:
        raise CheckpointError(
            f"{run.folder}: --teacher {run.settings['teacher']} is not the model that the run was "
            "begun with (put that one back, or begin a new run)"
        )


def take_over(run: Run, state: Mapping[str, Any]) -> None:
    """Put a run where the checkpoint was; raises what `check_networks` raises."""
    position, sums, seconds = state["position"], state["sums"], state["seconds"]
    for name, number in position.items():
        _check_count(str(name)[:40], number)
    if sums.shape != (len(run.trainer.loss_parts),) or not isinstance(seconds, float):
        raise ValueError("the losses or the time are none")
    run.trainer.load_state(state)
    run.position = Position(**position)
    run.sums, run.seconds = sums, seconds


def check_epochs_left(run: Run) -> None:
    """Refuse to resume towards an epoch that has passed: the model would not fit its card.

    Raises
    ------
    OptionError
        When fewer epochs are asked for than are done.
    """
    done, asked = run.position.epoch, run.trainer.config.total_epochs
    if asked < done or (asked == done and run.position.step):
        raise OptionError(
            f"{run.folder}: {done} epochs are done, {asked} were asked for "
            "(--epochs and --epochs-decay can only be raised beyond what is done)"
        )


def _check_count(name: str, number: object) -> None:
    if type(number) is not int or number < 0:
        raise ValueError(f"{name}: {str(number)[:40]} is no count")


def _check_shapes(name: str, weights: Mapping[str, Tensor], network: nn.Module) -> None:
    found = {key: tuple(tensor.shape) for key, tensor in weights.items()}
    expected = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    wrong = [
        f"{key} is {found.get(key, 'missing')} instead of {expected.get(key, 'nothing')}"
        for key in sorted(found.keys() | expected.keys())
        if found.get(key) != expected.get(key)
    ]
    if wrong:
        raise ValueError(f"{name}: {'; '.join(wrong[:3])}")


def _check_optimiser(
    name: str, state: Mapping[int, Mapping[str, Tensor]], network: nn.Module
) -> None:
    shapes = [tuple(parameter.shape) for parameter in network.parameters()]
    if state.keys() - set(range(len(shapes))):
        raise ValueError(f"the optimiser of the {name} has {len(state)} entries")
    for number, moments in state.items():
        found = {key: tuple(tensor.shape) for key, tensor in moments.items()}
        expected = {"step": (), "exp_avg": shapes[number], "exp_avg_sq": shapes[number]}
        if found != expected:
            raise ValueError(f"the optimiser of the {name} has {found} instead of {expected}")
