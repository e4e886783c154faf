"""What a new run begins with: another model's weights in place of random ones."""

from geop2p.card import Scaling
from geop2p.errors import OptionError
from geop2p.model import load_model
from geop2p.networks import GeneratorConfig
from geop2p.pipelines.training_options import Settings
from geop2p.pipelines.training_run import Run
from geop2p.recipe_values import option


def begin_from(run: Run, name_or_path: str) -> None:
    """Give the generator of a run the weights and norm statistics of a model.

    The discriminator, where there is one, begins with random weights: no model file holds one.

    Raises
    ------
    ModelError
        When the model cannot be read.
    OptionError
        When its architecture, or the values of its scenes or maps, are not those of the run.
    """
    model = load_model(name_or_path, norm_statistics="running")
    config = run.trainer.config
    for fault in (
        _fault_of_network(model.card.generator, config.generator),
        _fault_of_values("scenes", model.card.scene, config.scene),
        _fault_of_values("maps", model.card.map, config.map),
    ):
        if fault is not None:
            raise OptionError(f"--start-from {name_or_path}: {fault}")
    run.trainer.take_weights(model.generator.state_dict())


def _fault_of_network(found: GeneratorConfig, expected: GeneratorConfig) -> str | None:
    """Return what differs and what to give; None where nothing does."""
    names = [
        name
        for name in GeneratorConfig.__dataclass_fields__
        if getattr(found, name) != getattr(expected, name)
    ]
    if not names:
        return None
    theirs, ours = (
        ", ".join(f"{name} {_told(getattr(config, name))}" for name in names)
        for config in (found, expected)
    )
    return f"its generator has {theirs}; this run's has {ours} ({_remedy(found, names)})"


def _remedy(found: GeneratorConfig, names: list[str]) -> str:
    if set(names) & {"in_bands", "out_bands"}:
        return "give pairs of its bands, or leave --start-from away"
    if not set(names) <= Settings.__dataclass_fields__.keys():
        return "leave --start-from away"
    unset = [option(name) for name in names if getattr(found, name) is None]
    given = [f"{option(name)} {value}" for name in names if (value := getattr(found, name))]
    ways = [f"give {' '.join(given)}"] if given else []
    ways += [f"leave {' and '.join(unset)} away"] if unset else []
    return ", ".join(ways)


def _fault_of_values(what: str, found: Scaling, expected: Scaling) -> str | None:
    if found == expected:
        return None
    return (
        f"its {what} are {found}, those of this run {expected} (give pairs like those that it "
        "learnt from, or their range in --card)"
    )


def _told(value: object) -> str:
    return "none" if value is None else str(value)
