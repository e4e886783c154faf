"""How often each training pair is drawn: evenly, or by the classes that its map holds."""

import numpy as np
import numpy.typing as npt

from geop2p.balance import balanced_chances
from geop2p.batches import PairStore
from geop2p.errors import OptionError
from geop2p.palette import Palette

COUNTED_EVERY = 4
"""Every fourth pixel of every fourth row is counted."""


def chances_for(
    store: PairStore, *, sampling: str, palette: Palette | None, is_reversed: bool
) -> npt.NDArray[np.float64] | None:
    """Return the share of an epoch that each pair is to have, (P,); None where all have the same.

    Parameters
    ----------
    sampling : str
        ``uniform`` or ``balanced``.
    palette : Palette or None
        Classes of the maps, which are the store's inputs where ``is_reversed``.

    Raises
    ------
    OptionError
        When pairs are to be balanced, and there are no classes or the maps have no colours.
    PairsError
        When a pair cannot be read.
    """
    if sampling == "uniform":
        return None
    if palette is None:
        raise OptionError("--sampling balanced without classes (give --palette FILE or NAME)")
    maps = (store[index][0 if is_reversed else 1] for index in range(len(store)))
    return balanced_chances(np.stack([class_shares(drawn, palette) for drawn in maps]))


def class_shares(drawn: npt.NDArray[np.uint8], palette: Palette) -> npt.NDArray[np.float64]:
    """Return the share of pixels of each class: (3, H, W) uint8 to (K,), by the nearest colour.

    K are the classes that are scored, in the palette's order; colours of others are left out.

    Raises
    ------
    OptionError
        When the map has other bands or another type.
    """
    if (str(drawn.dtype), len(drawn)) != ("uint8", 3):
        raise OptionError("--sampling balanced needs maps of red, green and blue in uint8")
    part = drawn[:, ::COUNTED_EVERY, ::COUNTED_EVERY]
    found = palette.nearest(part)[palette.is_scored_colour(part)]
    shares: npt.NDArray[np.float64] = np.bincount(found, minlength=256) / part[0].size
    return shares[[entry.index for entry in palette.classes if entry.is_scored]]
