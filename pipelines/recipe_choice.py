"""What a new run is to do: what was given, else its recipe's values, told apart where they fail."""

from collections.abc import Mapping
from typing import Any

from geop2p.discriminators import DiscriminatorConfig
from geop2p.errors import ModelError, OptionError
from geop2p.networks import GeneratorConfig
from geop2p.pipelines.recipe_files import read_recipe
from geop2p.pipelines.training_options import Settings, part
from geop2p.recipe import TrainingConfig
from geop2p.recipe_values import RecipeValues, option

OF_THE_DISCRIMINATOR = ("gan_mode", "scales", "spectral_norm")
"""Settings that do nothing without one; features to match and disguises are refused as values."""
OF_CLASSES = ("class_weights", "ce_temperature")
"""Settings that do nothing without a weight of the cross-entropy."""


def chosen_settings(given: Mapping[str, Any], *, has_palette: bool) -> Settings:
    """Return the settings of a new run.

    Parameters
    ----------
    given : mapping
        Fields of `Settings` that were given; ``recipe`` is a name or a file.
    has_palette : bool
        Whether the classes of the maps are known.

    Raises
    ------
    OptionError
        For a recipe that cannot be read, values that no training can have, a recipe whose losses
        need classes that are not known, and options that were given and would do nothing.
    """
    recipe = read_recipe(given.get("recipe", Settings().recipe))
    settings = Settings(**(recipe | dict(given) | {"recipe": recipe["recipe"]}))
    fault = _fault(settings)
    if fault is not None:
        is_recipes = "recipe" in given and fault == _fault(Settings(**recipe))
        if is_recipes:
            raise OptionError(f"--recipe {given['recipe']}: {fault}")
        raise OptionError(fault + _origin(fault, settings, given))
    if "recipe" in given:
        _check_classes(settings, given, has_palette=has_palette)
    _check_effects(settings, given)
    return settings


def _fault(settings: Settings) -> str | None:
    """Return why no training can have these values; None when one can."""
    values = {name: getattr(settings, name) for name in Settings.__dataclass_fields__}
    judge = values | {"arch": settings.discriminator}
    try:
        TrainingConfig(
            generator=GeneratorConfig(**part(GeneratorConfig, values)),
            discriminator=DiscriminatorConfig(**part(DiscriminatorConfig, judge)),
            **part(RecipeValues, values),
        )
    except (OptionError, ModelError) as exc:
        return str(exc)
    return None


def _origin(fault: str, settings: Settings, given: Mapping[str, Any]) -> str:
    """Return where the value comes from that a fault names first, if nobody gave it."""
    entries = Settings.__dataclass_fields__
    named = [name for name in entries if fault.startswith(f"{option(name)} ")]
    if not named or named[0] in given:
        return ""
    return (
        f", which recipe {settings.recipe} says and the other options do not allow "
        f"(give {option(named[0])} as well)"
    )


def _check_classes(settings: Settings, given: Mapping[str, Any], *, has_palette: bool) -> None:
    """Refuse a recipe that asks for classes where there are none: nobody gave the option."""
    name, ways = f"--recipe {given['recipe']}", "give --palette FILE or NAME, such as streets"
    if settings.lambda_ce and "lambda_ce" not in given:
        asked = f"{name} has a loss of classes (lambda_ce {settings.lambda_ce:g})"
        if settings.direction == "map-to-scene":
            raise OptionError(f"{asked}, and scenes have no classes (give --lambda-ce 0)")
        if not has_palette:
            raise OptionError(
                f"{asked} and needs the palette of the maps ({ways}, or --lambda-ce 0 to train "
                "without)"
            )
    if settings.sampling == "balanced" and "sampling" not in given and not has_palette:
        raise OptionError(
            f"{name} balances classes and needs the palette of the maps ({ways}, or --sampling "
            "uniform)"
        )


def _check_effects(settings: Settings, given: Mapping[str, Any]) -> None:
    """Refuse options that were given and do nothing; a recipe may hold such values."""
    paper = Settings()
    idle = [name for name in given if given[name] != getattr(paper, name, None)]
    if not settings.is_adversarial:
        for name in idle:
            if name in OF_THE_DISCRIMINATOR:
                raise OptionError(
                    f"{option(name)} {_told(given[name])}without a discriminator, which "
                    f"--lambda-gan 0 leaves out (leave {option(name)} away)"
                )
    for name in idle:
        if name in OF_CLASSES and not settings.lambda_ce:
            raise OptionError(
                f"{option(name)} without --lambda-ce (give a weight, such as 2, or leave it away)"
            )


def _told(value: object) -> str:
    return "" if value is True else f"{value} "
