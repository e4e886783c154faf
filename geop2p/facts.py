"""What only a person can say about a model: its card's texts, bands, value ranges and palette."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from geop2p.card import Scaling
from geop2p.documents import read_json
from geop2p.errors import OptionError
from geop2p.palette import Palette, read_palette

TEXTS = ("name", "description", "data", "licence", "limits")
RGB = ("red", "green", "blue")


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """Entries of a model card that training cannot measure.

    Parameters
    ----------
    name, description, data, licence, limits : str
        As in `geop2p.card.ModelCard`.
    gsd_m : float or None, metres
        Ground sample distance of the pairs as they lie on the disk.
    scene_bands, map_bands : tuple of str
        Names of the bands; empty: red, green, blue, or numbered.
    scene_range, map_range : (float, float) or None
        Native values of -1 and 1; None: the whole range of an integer type.
    palette : Palette or None
        The classes that the map's colours stand for.
    """

    name: str = ""
    description: str = ""
    data: str = ""
    licence: str = ""
    limits: str = ""
    gsd_m: float | None = None
    scene_bands: tuple[str, ...] = ()
    map_bands: tuple[str, ...] = ()
    scene_range: tuple[float, float] | None = None
    map_range: tuple[float, float] | None = None
    palette: Palette | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what `parse_facts` reads: plain values only."""
        content: dict[str, Any] = {name: getattr(self, name) for name in TEXTS}
        content |= {"scene_bands": list(self.scene_bands), "map_bands": list(self.map_bands)}
        content["gsd_m"] = self.gsd_m
        for key in ("scene_range", "map_range"):
            limits = getattr(self, key)
            content[key] = None if limits is None else list(limits)
        content["palette"] = None if self.palette is None else self.palette.to_list()
        return content


def read_facts(path: str | Path) -> CardFacts:
    """Read facts from a JSON file; ``palette`` may be a list of classes or a file beside it.

    Raises
    ------
    OptionError
        When the file is missing, is no JSON object, or has an unknown or unfit entry.
    """
    path = Path(path)
    try:
        content = read_json(path)
        if isinstance(content, dict) and isinstance(content.get("palette"), str):
            content["palette"] = read_palette(path.parent / content["palette"]).to_list()
        return parse_facts(content)
    except (OSError, ValueError, TypeError) as exc:
        raise OptionError(
            f"{path}: not the facts of a model card: {exc} "
            '(expected {"description": "...", "licence": "...", "gsd_m": 1.0, ...})'
        ) from exc


def parse_facts(content: Mapping[str, Any]) -> CardFacts:
    """Return the facts of a JSON object.

    Raises
    ------
    OptionError, TypeError, ValueError
        For an unknown or unfit entry.
    """
    if not isinstance(content, Mapping):
        raise OptionError("a JSON object was expected")
    unknown = content.keys() - set(CardFacts.__dataclass_fields__)
    if unknown:
        raise OptionError(f"unknown entries: {', '.join(sorted(unknown))}")
    entries = dict(content)
    for name in TEXTS:
        if not isinstance(entries.get(name, ""), str):
            raise OptionError(f"{name} is no text but {str(entries[name])[:40]!r}")
    for key in ("scene_bands", "map_bands"):
        entries[key] = tuple(str(name) for name in entries.get(key) or ())
    for key in ("scene_range", "map_range"):
        entries[key] = _range(entries.get(key))
    if entries.get("palette") is not None:
        entries["palette"] = Palette.from_list(entries["palette"])
    if entries.get("gsd_m") is not None:
        entries["gsd_m"] = float(entries["gsd_m"])
    return CardFacts(**entries)


def reversed_facts(facts: CardFacts) -> CardFacts:
    """Return the facts of a model that goes from map to scene; its output has no classes."""
    return replace(
        facts,
        scene_bands=facts.map_bands,
        map_bands=facts.scene_bands,
        scene_range=facts.map_range,
        map_range=facts.scene_range,
        palette=None,
    )


def band_names(given: tuple[str, ...], count: int) -> tuple[str, ...]:
    """Return names for ``count`` bands: those given, red, green, blue for three, or numbers.

    Raises
    ------
    OptionError
        When another number of names is given.
    """
    if given and len(given) != count:
        raise OptionError(f"{len(given)} band names for {count} bands")
    if given:
        return given
    return RGB if count == 3 else tuple(f"band {number}" for number in range(1, count + 1))


def scaling_of(dtype: str, limits: tuple[float, float] | None) -> Scaling:
    """Return how values of ``dtype`` become [-1, 1]: by ``limits``, else by the type's range.

    Raises
    ------
    OptionError
        For a floating point type without limits.
    ModelError
        When the limits are no range.
    """
    if limits is not None:
        return Scaling(dtype=dtype, low=limits[0], high=limits[1])
    if dtype.startswith("float"):
        raise OptionError(
            f"pairs of {dtype} need a range of values (give scene_range and map_range in --card)"
        )
    bits = 8 * int(dtype.lstrip("uint") or 8) // 8
    low = 0 if dtype.startswith("u") else -(2 ** (bits - 1))
    return Scaling(dtype=dtype, low=float(low), high=float(low + 2**bits - 1))


def _range(limits: Any) -> tuple[float, float] | None:  # noqa: ANN401  as it came from JSON
    if limits is None:
        return None
    low, high = limits
    return float(low), float(high)
