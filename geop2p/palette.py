"""A palette: the classes of a map, each with an index, a name and a colour."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geop2p.documents import read_json
from geop2p.errors import OptionError

Colour = tuple[int, int, int]
"""Red, green, blue, each 0 to 255."""
PIXELS_AT_A_TIME = 2**16
"""Whose distances to all colours stay in a processor's cache while the nearest is sought."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Casing:
    """The line that is drawn round a class, outside of it: its colour and its width in pixels.

    Casing is drawing only: its pixels still belong to the class that they lie in. Scores, which go
    by colour, agree as long as its colour is nearer to that class than to the one it surrounds.
    """

    colour: Colour
    width: int = 1

    def __post_init__(self) -> None:
        """Refuse a width that is no number of pixels.

        Raises
        ------
        OptionError
            When the width lies outside 1 to 16.
        """
        if not 1 <= self.width <= 16:
            raise OptionError(f"a casing {self.width} pixels wide (expected 1 to 16)")


@dataclass(frozen=True, slots=True, kw_only=True)
class MapClass:
    """One class: index in label rasters (0 to 255), name, colour, casing, is it scored."""

    index: int
    name: str
    colour: Colour
    is_scored: bool = True
    casing: Casing | None = None


@dataclass(frozen=True, slots=True)
class Palette:
    """The classes of a map, in the order of their indexes."""

    classes: tuple[MapClass, ...]

    def __post_init__(self) -> None:
        """Refuse a palette without classes or with an index used twice.

        Raises
        ------
        OptionError
            In either case, or when an index lies outside 0 to 255.
        """
        indexes = [entry.index for entry in self.classes]
        if not indexes or len(set(indexes)) != len(indexes):
            raise OptionError("a palette needs at least one class, and each index once")
        if min(indexes) < 0 or max(indexes) > 255:
            raise OptionError("a palette's indexes must lie in 0 to 255")

    @classmethod
    def from_list(cls, entries: Sequence[dict[str, Any]]) -> "Palette":
        """Read ``[{"index": 1, "name": "land", "colour": "#F2EFE9", "scored": true}, ...]``.

        An entry may have ``"casing": {"colour": "#C9C1B6", "width": 1}``, width in pixels.

        Raises
        ------
        OptionError
            When that is no list of such entries, or a colour is not ``#RRGGBB``.
        """
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise OptionError("a list of classes was expected (a style draws vectors: --style)")
        return cls(tuple(sorted(map(_parse_class, entries), key=lambda entry: entry.index)))

    def to_list(self) -> list[dict[str, Any]]:
        """Return what `from_list` reads."""
        return [_format_class(entry) for entry in self.classes]

    @property
    def casing_width(self) -> int:
        """The widest casing, in pixels: how far a label can change the picture round it."""
        return max(entry.casing.width if entry.casing else 0 for entry in self.classes)

    def draw(self, labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return the picture of a label raster: (H, W) uint8 to (3, H, W) uint8.

        Casings lie on classes without one, never on a class that has its own.

        Raises
        ------
        OptionError
            When a label is not in the palette.
        """
        table = np.zeros((256, 3), np.uint8)
        is_known = np.zeros(256, bool)
        for entry in self.classes:
            table[entry.index], is_known[entry.index] = entry.colour, True
        unknown = np.unique(labels[~is_known[labels]])
        if unknown.size:
            raise OptionError(f"label {unknown[0]} is not in the palette (add it, with a colour)")
        picture = np.moveaxis(table[labels], -1, 0)  # (H, W, 3) -> (3, H, W)
        self._draw_casings(picture, labels)
        return picture

    def _draw_casings(self, picture: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8]) -> None:
        cased = [(entry, entry.casing) for entry in self.classes if entry.casing]
        if not cased:
            return
        is_free = ~np.isin(labels, [entry.index for entry, _ in cased])
        for entry, casing in cased:
            ring = _grow(labels == entry.index, pixels=casing.width) & is_free
            picture[:, ring] = np.array(casing.colour, np.uint8)[:, np.newaxis]

    def nearest(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return for each pixel the index of the scored class with the nearest colour.

        (3, H, W) uint8 to (H, W) uint8; nearest by Euclidean distance in RGB, the lower index wins.
        """
        scored = [entry for entry in self.classes if entry.is_scored]
        indexes = np.array([entry.index for entry in scored], np.uint8)
        flat = picture.reshape(3, -1)
        found = np.empty(flat.shape[1], np.uint8)
        for start in range(0, len(found), PIXELS_AT_A_TIME):
            part = slice(start, start + PIXELS_AT_A_TIME)
            found[part] = indexes[_nearest([entry.colour for entry in scored], flat[:, part])]
        return found.reshape(picture.shape[1:])

    def snap(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return the picture in the colours of the `nearest` classes: (3, H, W) uint8 both."""
        table = np.zeros((256, 3), np.uint8)
        for entry in self.classes:
            table[entry.index] = entry.colour
        nearest = self.nearest(picture)
        return np.stack([table[:, band][nearest] for band in range(3)])

    def is_scored_colour(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        """Return where (3, H, W) has no colour that only unscored classes have, (H, W)."""
        scored = {entry.colour for entry in self.classes if entry.is_scored}
        left_out = {entry.colour for entry in self.classes if not entry.is_scored} - scored
        is_counted = np.ones(picture.shape[1:], bool)
        for colour in left_out:
            is_counted &= (picture != np.array(colour, np.uint8)[:, None, None]).any(axis=0)
        return is_counted


def read_palette(path: str | Path) -> Palette:
    """Read a palette from a JSON file.

    Raises
    ------
    OptionError
        When the file is missing or is no palette.
    """
    try:
        return Palette.from_list(read_json(Path(path)))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as exc:
        raise OptionError(
            f"{path}: not a palette: {exc} "
            '(expected [{"index": 1, "name": "land", "colour": "#F2EFE9"}, ...])'
        ) from exc


def parse_colour(text: str) -> Colour:
    """Return the colour that ``#RRGGBB`` names.

    Raises
    ------
    OptionError
        For any other text.
    """
    if not re.fullmatch(r"#[0-9A-Fa-f]{6}", text):
        raise OptionError(f"colour {text!r} (expected #RRGGBB)")
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def format_colour(colour: Colour) -> str:
    """Return ``#RRGGBB``."""
    return "#{:02X}{:02X}{:02X}".format(*colour)


def _nearest(colours: Sequence[Colour], pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """Return the position of the nearest of up to 256 colours, (N,), for (3, N) pixels.

    What all distances of a pixel share, its own square, is left out. A position stands in the low
    eight bits of its distance, so that the least number is the nearest, the first of equals.
    """
    red, green, blue = pixels.astype(np.int32)
    best: npt.NDArray[np.int32] | None = None
    for position, colour in enumerate(colours):
        distance = red * (-512 * colour[0])
        distance += green * (-512 * colour[1])
        distance += blue * (-512 * colour[2])
        distance += 256 * sum(part * part for part in colour) + position
        best = distance if best is None else np.minimum(best, distance, out=best)
    if best is None:
        raise OptionError("none of the palette's classes is scored")
    return best & 255


def _grow(mask: npt.NDArray[np.bool_], *, pixels: int) -> npt.NDArray[np.bool_]:
    """Return the mask and everything within ``pixels`` of it along rows, columns and diagonals."""
    grown = mask.copy()
    for axis in (0, 1):
        for _ in range(pixels):
            previous = np.moveaxis(grown.copy(), axis, 0)
            view = np.moveaxis(grown, axis, 0)
            view[1:] |= previous[:-1]
            view[:-1] |= previous[1:]
    return grown


def _format_class(entry: MapClass) -> dict[str, Any]:
    content: dict[str, Any] = {
        "index": entry.index,
        "name": entry.name,
        "colour": format_colour(entry.colour),
        "scored": entry.is_scored,
    }
    if entry.casing:
        colour = format_colour(entry.casing.colour)
        content["casing"] = {"colour": colour, "width": entry.casing.width}
    return content


def _parse_class(entry: dict[str, Any]) -> MapClass:
    missing = {"index", "name", "colour"} - entry.keys()
    if missing:
        raise OptionError(f"a palette entry lacks {', '.join(sorted(missing))}")
    return MapClass(
        index=int(entry["index"]),
        name=str(entry["name"]),
        colour=parse_colour(entry["colour"]),
        is_scored=bool(entry.get("scored", True)),
        casing=_parse_casing(entry.get("casing")),
    )


def _parse_casing(content: dict[str, Any] | None) -> Casing | None:
    if content is None:
        return None
    return Casing(colour=parse_colour(content["colour"]), width=int(content.get("width", 1)))
