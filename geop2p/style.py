"""Styles: how vectors are drawn as a map; and the palettes and styles that ship, by name.

A style is a JSON object::

    {"background": "#F2EFE9",
     "rules": [{"layer": "roads", "where": {"highway": ["primary", "secondary"]},
                "fill": "#FFFFFF", "width_m": 9, "casing": {"colour": "#C9C1B6", "width_m": 1},
                "order": 2}]}

A feature is drawn by the first rule that it matches. Higher orders lie on top; within an order all
casings lie below all fills, so that roads of one kind run into each other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from geop2p.documents import read_json
from geop2p.errors import OptionError
from geop2p.palette import Colour, Palette, parse_colour, read_palette

MOST_RULES = 127
"""A drawn band is indexes of one byte: the background, and fill and casing of each rule."""
ANY_VALUE = "*"
"""In ``where``: any value but none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """A line round a drawn feature, outside of it: colour, and width in metres."""

    colour: Colour
    width_m: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How the features that match are drawn.

    Parameters
    ----------
    fill : Colour
        Of polygons, and of lines and points grown to ``width_m``.
    layer : str or None
        Only features of this layer; None: of any.
    where : mapping of str to tuple
        Attribute to the values that match; all attributes must. ``*`` matches any value but none.
    width_m : float or None, metres
        Width of lines, diameter of points; polygons have their own extent.
    casing : Outline or None
        A line round it.
    order : int
        Higher ones are drawn on top.
    """

    fill: Colour
    layer: str | None = None
    where: Mapping[str, tuple[Any, ...]]
    width_m: float | None = None
    casing: Outline | None = None
    order: int = 0

    def is_match(self, layer: str, attributes: Mapping[str, Any]) -> bool:
        """Whether a feature of ``layer`` with these attributes is drawn by this rule."""
        if self.layer not in (None, layer):
            return False
        return all(_matches(attributes.get(name), values) for name, values in self.where.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """The colour where nothing is drawn, and the rules in the order in which they are tried."""

    background: Colour
    rules: tuple[Rule, ...]

    def __post_init__(self) -> None:
        """Refuse no rules, or more than a byte can number.

        Raises
        ------
        OptionError
            In either case.
        """
        if not 1 <= len(self.rules) <= MOST_RULES:
            raise OptionError(f"{len(self.rules)} rules in a style (expected 1 to {MOST_RULES})")

    def find_rule(self, layer: str, attributes: Mapping[str, Any]) -> int | None:
        """Return the position of the first rule that matches a feature, or None."""
        for position, rule in enumerate(self.rules):
            if rule.is_match(layer, attributes):
                return position
        return None

    @property
    def reach_m(self) -> float:
        """How far from a feature it can still be drawn, in metres."""
        casings = [rule.casing.width_m if rule.casing else 0.0 for rule in self.rules]
        widths = [(rule.width_m or 0.0) / 2 for rule in self.rules]
        return max(casing + width for casing, width in zip(casings, widths, strict=True))

    def colours(self) -> list[Colour]:
        """Return the colours by index: background, then of each rule its fill and its casing."""
        colours = [self.background]
        for rule in self.rules:
            colours += [rule.fill, rule.casing.colour if rule.casing else rule.fill]
        return colours


def parse_style(content: Mapping[str, Any]) -> Style:
    """Return the style of a JSON object.

    Raises
    ------
    OptionError, ValueError, TypeError, KeyError
        For an unknown, missing or unfit entry.
    """
    if not isinstance(content, Mapping):
        raise OptionError("an object was expected (a palette draws class indexes: --palette)")
    _check_keys(content, {"background", "rules"}, "style")
    rules = tuple(_parse_rule(entry) for entry in content["rules"])
    return Style(background=parse_colour(content["background"]), rules=rules)


def read_style(name_or_path: str | Path) -> Style:
    """Read a shipped style by name, or one from a file.

    Raises
    ------
    OptionError
        When there is neither, or the file is no style.
    """
    path = find_style(name_or_path)
    try:
        return parse_style(read_json(path))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as exc:
        raise OptionError(
            f"{path}: not a style: {exc} "
            '(expected {"background": "#F2EFE9", "rules": [{"fill": "#D9D0C9"}, ...]})'
        ) from exc


def shipped_styles() -> dict[str, Path]:
    """Return the palettes and styles that ship with the package: name to file, sorted by name."""
    folder = Path(str(resources.files("geop2p") / "styles"))
    return {path.stem: path for path in sorted(folder.glob("*.json"))}


def find_style(name_or_path: str | Path) -> Path:
    """Return the file of a shipped palette's or style's name, or of a path.

    Raises
    ------
    OptionError
        When there is neither.
    """
    shipped = shipped_styles()
    if str(name_or_path) in shipped:
        return shipped[str(name_or_path)]
    return _existing(name_or_path, names=list(shipped))


def find_palette(name_or_path: str | Path) -> Palette:
    """Read a shipped palette by name, or one from a file.

    Raises
    ------
    OptionError
        When there is neither, or the file is no palette.
    """
    path = shipped_styles().get(str(name_or_path))
    return read_palette(path or _existing(name_or_path, names=shipped_palettes()))


def shipped_palettes() -> list[str]:
    """Return the names of the palettes that ship: the other `shipped_styles` draw vectors."""
    return [name for name, path in shipped_styles().items() if _is_palette(path)]


def _is_palette(path: Path) -> bool:
    return isinstance(read_json(path), list)


def _existing(name_or_path: str | Path, *, names: list[str]) -> Path:
    path = Path(name_or_path)
    if not path.is_file():
        raise OptionError(
            f"{path}: no such file (give a JSON file, or a shipped name: {', '.join(names)})"
        )
    return path


def _parse_rule(entry: Mapping[str, Any]) -> Rule:
    _check_keys(entry, {"fill", "layer", "where", "width_m", "casing", "order"}, "rule")
    width = entry.get("width_m")
    return Rule(
        fill=parse_colour(entry["fill"]),
        layer=entry.get("layer"),
        where={name: _as_values(value) for name, value in entry.get("where", {}).items()},
        width_m=None if width is None else _length(width),
        casing=_parse_outline(entry.get("casing")),
        order=int(entry.get("order", 0)),
    )


def _parse_outline(entry: Mapping[str, Any] | None) -> Outline | None:
    if entry is None:
        return None
    _check_keys(entry, {"colour", "width_m"}, "casing")
    return Outline(colour=parse_colour(entry["colour"]), width_m=_length(entry["width_m"]))


def _length(metres: Any) -> float:  # noqa: ANN401  as it came from JSON
    if not 0 < float(metres) < 1e6:
        raise OptionError(f"a width of {metres} m (expected more than 0)")
    return float(metres)


def _as_values(value: Any) -> tuple[Any, ...]:  # noqa: ANN401  as it came from JSON
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)


def _matches(value: Any, values: tuple[Any, ...]) -> bool:  # noqa: ANN401  attributes have any type
    if value is None or value != value:  # noqa: PLR0124  a missing number is NaN, which differs from itself
        return False
    return ANY_VALUE in values or value in values


def _check_keys(content: Mapping[str, Any], known: set[str], what: str) -> None:
    unknown = content.keys() - known
    if unknown:
        raise OptionError(f"unknown entry {min(unknown)!r} in a {what} (known: {sorted(known)})")
