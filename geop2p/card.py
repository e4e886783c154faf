"""The model card: the facts that travel with a generator's weights, as JSON."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from geop2p.documents import parse_json
from geop2p.errors import ModelError
from geop2p.networks import GeneratorConfig
from geop2p.palette import Palette
from geop2p.quantisation import Int8Entry, entry_from_json_value

CARD_VERSION = 1
MOST_TILE = 4096
"""Pixels; a bound for what a file may claim, far above what a generator is trained for."""
MOST_GSD_FACTOR = 1.25
"""By which ground sample distances may differ, a card's and a scene's, before it matters."""
CARD_ERRORS = (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError)
NORM_STATISTICS = ("running", "tile")
MAP_DTYPES = ("uint8", "uint16", "int16", "float32")
DTYPES = (*MAP_DTYPES, "int8", "uint32", "int32", "uint64", "int64", "float16", "float64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """How native values become [-1, 1]: ``low`` goes to -1, ``high`` to 1, per band.

    Parameters
    ----------
    dtype : str
        numpy name of the native type.
    low, high : float
        Native values, ``low < high``, the same for every band.
    """

    dtype: str = "uint8"
    low: float = 0.0
    high: float = 255.0

    def __post_init__(self) -> None:
        """Refuse an unknown type, and an empty or endless range.

        Raises
        ------
        ModelError
            For a type that is none of `DTYPES`, a bound that is not finite, or ``low >= high``.
        """
        if self.dtype not in DTYPES:
            raise ModelError(f"values of type {self.dtype!r} (choose from {', '.join(DTYPES)})")
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ModelError(f"the scaling {self.low}..{self.high} is not a range (low < high)")

    def __str__(self) -> str:
        """Return it as messages tell it: ``uint8 (0 to 255)``."""
        return f"{self.dtype} ({self.low:g} to {self.high:g})"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """The facts that travel with a generator's weights.

    Parameters
    ----------
    name : str
        What tags and reports call the model.
    generator : GeneratorConfig
        The architecture that the weights belong to.
    tile : int, pixels
        Side of the tile that the generator was trained for.
    scene_bands, map_bands : tuple of str
        Names of the bands, in the order of the channels.
    scene, map : Scaling
        Native values of scene and map.
    norm_statistics : str
        ``running``: batch norm uses the statistics kept in training. ``tile``: each tile's own.
    gsd_m : float or None, metres
        Ground sample distance of the training scenes.
    palette : Palette or None
        The classes that the map's colours stand for.
    description, data, licence, limits : str
        What it draws, what it was trained on, under which terms, and what it cannot do.
    training : dict
        The recipe: every option of the run, steps, date, machine, training and validation files.
    scores : dict
        Validation scores, by data set and by mode of the norm layers.
    int8 : Int8Entry or None
        What the generator needs to run in 8-bit integers; None: it was not quantised.
    """

    name: str
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    tile: int = 256
    scene_bands: tuple[str, ...] = ("red", "green", "blue")
    map_bands: tuple[str, ...] = ("red", "green", "blue")
    scene: Scaling = field(default_factory=Scaling)
    map: Scaling = field(default_factory=Scaling)
    norm_statistics: str = "running"
    gsd_m: float | None = None
    palette: Palette | None = None
    description: str = ""
    data: str = ""
    licence: str = ""
    limits: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    int8: Int8Entry | None = None

    def __post_init__(self) -> None:
        """Refuse a card that contradicts itself.

        Raises
        ------
        ModelError
            When band names or int8 ranges do not match the generator, the tile does not fit its
            levels, or the map's type or the kind of norm statistics is unknown.
        """
        _check_bands("scene", self.scene_bands, self.generator.in_bands)
        _check_bands("map", self.map_bands, self.generator.out_bands)
        multiple = self.generator.size_multiple
        if not 4 <= self.tile <= MOST_TILE or self.tile % multiple:
            raise ModelError(
                f"tile side {self.tile} does not fit {self.generator.arch} "
                f"(it must be a multiple of {multiple}, at most {MOST_TILE})"
            )
        if self.map.dtype not in MAP_DTYPES:
            raise ModelError(f"map type {self.map.dtype!r} (choose from {', '.join(MAP_DTYPES)})")
        if self.norm_statistics not in NORM_STATISTICS:
            raise ModelError(
                f"norm statistics {self.norm_statistics!r} "
                f"(choose from {', '.join(NORM_STATISTICS)})"
            )
        if self.int8 is not None:
            self.int8.check_fits(self.generator)

    @property
    def field_radius(self) -> int | None:
        """Pixels round a pixel of the map that it depends on; None when it is the whole tile."""
        return None if self.norm_statistics == "tile" else self.generator.field_radius

    def to_json(self) -> str:
        """Return the card as JSON, keys sorted, so that equal cards are equal texts."""
        content = asdict(self) | {"version": CARD_VERSION}
        content["palette"] = None if self.palette is None else self.palette.to_list()
        content["generator"] = self.generator.to_dict()
        content.pop("int8")  # files from before there was one must keep their checksum
        if self.int8 is not None:
            content["int8"] = self.int8.to_json_value()
        return json.dumps(content, sort_keys=True, ensure_ascii=False)


def card_from_json(text: str) -> ModelCard:
    """Return the card that `ModelCard.to_json` wrote.

    Raises
    ------
    ModelError, ValueError, TypeError, KeyError
        When the text is no card of a version that this geop2p reads.
    """
    return card_from_json_value(parse_json(text))


def card_from_json_value(content: object) -> ModelCard:
    """Return the card of parsed JSON, which is used up; raises what `card_from_json` does."""
    if not isinstance(content, dict):
        raise ModelError("the card is no JSON object")
    version = content.pop("version", None)
    if version != CARD_VERSION:
        raise ModelError(f"card version {version!r}, this geop2p reads version {CARD_VERSION}")
    unknown = content.keys() - {entry.name for entry in fields(ModelCard)}
    if unknown:
        raise ModelError(f"unknown entries in the card: {', '.join(sorted(unknown))}")
    _check_types(content)
    content["generator"] = GeneratorConfig(**content["generator"])
    content["scene"], content["map"] = Scaling(**content["scene"]), Scaling(**content["map"])
    for key in ("scene_bands", "map_bands"):
        content[key] = tuple(content[key])
    if content["palette"] is not None:
        content["palette"] = Palette.from_list(content["palette"])
    if "int8" in content:
        content["int8"] = entry_from_json_value(content["int8"])
    return ModelCard(**content)


def _check_types(content: Mapping[str, Any]) -> None:
    """Refuse entries of a card that are of another type than the card's own."""
    kinds: dict[type | tuple[type, ...], tuple[str, ...]] = {
        str: ("name", "description", "data", "licence", "limits", "norm_statistics"),
        int: ("tile",),
        list: ("scene_bands", "map_bands"),
        dict: ("generator", "scene", "map", "training", "scores"),
        (list, type(None)): ("palette",),
        (int, float, type(None)): ("gsd_m",),
    }
    for kind, names in kinds.items():
        for name in names:
            if name in content and not isinstance(content[name], kind):
                raise ModelError(f"{name} is {str(content[name])[:40]!r}")
    for name in (*content.get("scene_bands", ()), *content.get("map_bands", ())):
        if not isinstance(name, str):
            raise ModelError(f"a band is called {str(name)[:40]!r}")


def _check_bands(what: str, names: tuple[str, ...], count: int) -> None:
    if len(names) != count:
        raise ModelError(f"{len(names)} {what} bands are named, the generator has {count}")
