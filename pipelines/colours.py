"""The palette of a map: which one it is, and what of a translation's options it concerns."""

import json
import logging
import os
from collections.abc import Iterator

import numpy as np

from geop2p.card import ModelCard
from geop2p.errors import OptionError
from geop2p.palette import Palette
from geop2p.pipelines.request import Request
from geop2p.radiometry import MapValues
from geop2p.raster.mapformat import MapFormat
from geop2p.raster.polygonising import NO_CLASS
from geop2p.raster.verifying import Mask, Pixels
from geop2p.style import find_palette, shipped_palettes

logger = logging.getLogger(__name__)

CARD = "card"
"""What ``--palette`` calls the palette in the model's card."""
PALETTE_TAG = "GEOP2P_PALETTE"
"""Tag: the palette, as `geop2p.palette.Palette.from_list` reads it, in JSON."""


def choose_palette(
    request: Request, card: ModelCard | None, *, values: MapValues, map_format: MapFormat
) -> Palette | None:
    """Return the palette that is asked for, or that classes and vectors need; None without these.

    Raises
    ------
    OptionError
        When there is none, or map or class raster cannot have one.
    """
    option = _option(request)
    if option is None:
        return None
    palette = _named(request, card, option=option)
    if not any(entry.is_scored for entry in palette.classes):
        raise OptionError(f"--{option}: none of the palette's classes is scored (give another)")
    _check_map(card, values, option=option)
    if any(entry.index == NO_CLASS for entry in palette.classes) and option != "palette":
        raise OptionError(
            f"--{option}: the palette has a class {NO_CLASS}, which stands for no data "
            "(give it another index)"
        )
    if request.palette is not None and map_format.is_lossy:
        logger.warning(
            "%s: a lossy codec changes colours a little, they are no longer the palette's",
            request.out,
        )
    return palette


def palette_tag(palette: Palette) -> dict[str, str]:
    """Return the tag that names classes and colours."""
    return {PALETTE_TAG: json.dumps(palette.to_list(), ensure_ascii=False)}


def snapped(rows: Iterator[tuple[Pixels, Mask]], palette: Palette) -> Iterator[tuple[Pixels, Mask]]:
    """Yield rows of a map, (3, h, W) uint8, in the palette's colours; what is invalid stays.

    Raises
    ------
    OptionError
        When the map has other bands.
    """
    for pixels, valid in rows:
        check_bands(pixels, valid)
        yield np.where(valid, palette.snap(pixels), pixels) if valid.any() else pixels, valid


def check_bands(pixels: Pixels, valid: Mask) -> None:
    """Refuse rows of other bands than a palette has; what is masked altogether has none.

    Raises
    ------
    OptionError
        When there are not three.
    """
    if len(pixels) != 3 and valid.any():
        raise OptionError(
            f"the map has {len(pixels)} bands (a palette needs red, green, blue: leave "
            "--palette, --classes and --vectors away)"
        )


def _option(request: Request) -> str | None:
    """Return the first option that needs a palette."""
    wanted = ("classes", "vectors", "palette")
    return next((name for name in wanted if getattr(request, name) is not None), None)


def _named(request: Request, card: ModelCard | None, *, option: str) -> Palette:
    if isinstance(request.palette, Palette):
        return request.palette
    if request.palette is not None and os.fspath(request.palette) != CARD:
        return find_palette(os.fspath(request.palette))
    if card is None or card.palette is None:
        name = "a function" if card is None else f"the model {card.name}"
        raise OptionError(
            f"--{option}: {name} has no palette in its card (give --palette FILE.json, or one of "
            f"{', '.join(shipped_palettes())})"
        )
    return card.palette


def _check_map(card: ModelCard | None, values: MapValues, *, option: str) -> None:
    bands = 3 if card is None else card.generator.out_bands
    if bands != 3 or values.dtype != "uint8":
        raise OptionError(
            f"--{option}: the map has {bands} bands of {values.dtype} "
            "(a palette needs red, green, blue of uint8)"
        )
