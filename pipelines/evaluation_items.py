"""What is compared in an evaluation: the models, and what is known of each pair or square."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geop2p.card import ModelCard, Scaling
from geop2p.errors import OptionError
from geop2p.model import Model, find_model, load_model
from geop2p.pairs import DIRECTIONS
from geop2p.palette import Palette
from geop2p.pipelines.evaluation_request import Evaluation, PathLike
from geop2p.raster.scene import SceneSource, SceneSpec
from geop2p.statistics import has_statistics

Floats = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]
Shown = Sequence[tuple[str, Picture]]
"""Pictures of one item, (h, w, 3), each with its title."""

BASELINE = "mean_colour"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A model that is scored.

    Parameters
    ----------
    key : str
        ``model`` or ``against``.
    path : str
        Its file.
    model : Model
        Read with kept statistics; what is used is in ``statistics``.
    own_statistics : str
        What its card says of the norm layers.
    statistics : str
        What is used: ``running``, ``tile`` or ``training``.
    """

    key: str
    path: str
    model: Model
    own_statistics: str
    statistics: str

    @property
    def card(self) -> ModelCard:
        """The model's card."""
        return self.model.card

    def other_statistics(self, modes: Iterable[str]) -> list[str]:
        """Return the modes of its norm layers that are not used, and do differ."""
        alike = () if has_statistics(self.model.generator) else ("running", "tile")
        return [
            mode
            for mode in modes
            if mode != self.statistics and not (mode in alike and self.statistics in alike)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What an evaluation measured.

    Parameters
    ----------
    names : tuple of str
        Of the items: pairs, or squares of the scene.
    tables : dict of (items, columns) float64
        Rows of sums by what drew them: ``model``, ``against``, a mode of the norm layers, or
        ``mean_colour``.
    scaling : Scaling
        Of the map.
    palette : Palette or None
        Its classes.
    show : callable
        Returns the pictures of an item.
    drawn : dict
        By contender, who drew its maps and how.
    modes_precision : str or None
        Of the maps of all modes of the norm layers; None where there is one mode.
    seams, inception : dict
        By contender; empty where not measured.
    seam_picture : bytes or None
        A PNG of where.
    """

    names: tuple[str, ...]
    tables: Mapping[str, Floats]
    scaling: Scaling
    palette: Palette | None
    show: Callable[[int], Shown]
    drawn: Mapping[str, Any]
    modes_precision: str | None
    seams: Mapping[str, Any] = field(default_factory=dict)
    inception: Mapping[str, Any] = field(default_factory=dict)
    seam_picture: bytes | None = None


def read_contenders(asked: Evaluation) -> list[Contender]:
    """Read the model, and the one that it is compared with.

    Raises
    ------
    ModelError
        When one cannot be used.
    OptionError
        When two do not draw the same kind of map.
    """
    contenders = [_read("model", asked.model, asked)]
    if asked.against is not None:
        contenders.append(_read("against", asked.against, asked))
        _check_alike(*(contender.card for contender in contenders))
    if not asked.is_scene:
        choose_direction(asked, contenders)
    return contenders


def choose_direction(asked: Evaluation, contenders: Sequence[Contender]) -> str:
    """Return what is generated from what in pairs: as asked for, else as the cards say.

    Raises
    ------
    OptionError
        When nothing was asked for, and two models were trained for different directions.
    """
    if asked.direction is not None:
        return asked.direction
    known = [_direction(contender.card) for contender in contenders]
    if len(set(known)) > 1:
        names = ", ".join(f"{c.card.name}: {d}" for c, d in zip(contenders, known, strict=True))
        raise OptionError(
            f"models of different directions ({names}; compare models of one, or give --direction)"
        )
    return known[0]


def _direction(card: ModelCard) -> str:
    """Return what a card says of its training; the usual way where it says nothing."""
    options = card.training.get("options")
    said = options.get("direction") if isinstance(options, Mapping) else None
    return said if isinstance(said, str) and said in DIRECTIONS else DIRECTIONS[0]


def map_source(path: Path, spec: SceneSpec) -> SceneSource:
    """Return how a map of the scene is read: its size is meant, however small the file is."""
    return SceneSource(path=str(path), max_pixels=spec.height * spec.width)


def choose_palette(asked: Evaluation, card: ModelCard) -> Palette | None:
    """Return the palette that was given, or the card's; None for maps that have no colours.

    Raises
    ------
    OptionError
        When one was given for a map that is not of three bands of 8 bits.
    """
    given = asked.read_palette()
    is_colours = card.generator.out_bands == 3 and card.map.dtype == "uint8"
    if given is not None and not is_colours:
        raise OptionError(
            f"a palette for maps of {card.generator.out_bands} bands of {card.map.dtype} "
            "(colours are three bands of uint8; leave it out)"
        )
    return given or (card.palette if is_colours else None)


def _read(key: str, name: PathLike, asked: Evaluation) -> Contender:
    path = find_model(name)
    kept = load_model(path).card.norm_statistics
    model = load_model(path, norm_statistics="running")
    statistics = kept if asked.statistics == "card" else asked.statistics
    return Contender(
        key=key, path=str(path), model=model, own_statistics=kept, statistics=statistics
    )


def _check_alike(first: ModelCard, second: ModelCard) -> None:
    for what, one, other in (
        ("map values", first.map, second.map),
        ("bands of the map", first.generator.out_bands, second.generator.out_bands),
    ):
        if one != other:
            raise OptionError(
                f"{second.name} has {what} {other}, {first.name} {one} "
                "(only models that draw the same kind of map can be compared)"
            )
