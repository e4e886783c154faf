"""Tapers: the weights with which overlapping tiles become one picture.

A tile fades into its neighbour over their overlap by a 1-D taper; the neighbour's weight is 1 less
that, so two neighbours sum to exactly 1 and nothing is ever divided. Sums associate one way: left
and right within a tile row, then upper and lower row. At most two tiles meet in each direction, and
float addition is commutative, so the picture does not depend on the order in which tiles arrive.
`geop2p.canvas` does the sums. On a lattice of centres, blend `EXACT`, tiles do not overlap, and
nothing fades.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from geop2p.grid import TileGrid

Floats = npt.NDArray[np.float32]


def _linear(position: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return position


def _cosine(position: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return 0.5 - 0.5 * np.cos(np.pi * position)


def _cut(position: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return (position >= 0.5).astype(np.float64)


BLENDS: dict[str, Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]] = {
    "linear": _linear,
    "cosine": _cosine,
    "cut": _cut,
}
"""Position across the overlap, in (0, 1) at pixel centres, to the beginning tile's weight."""

EXACT = "exact"
"""The blend that has no taper: only the centres of tiles are used, one tile a pixel."""
BLEND_NAMES = (*BLENDS, EXACT)


def ramp(blend: str, overlap: int) -> Floats:
    """Return the weights with which a tile begins: (overlap,) float32 in [0, 1], not falling."""
    positions = (np.arange(overlap) + 0.5) / max(overlap, 1)
    return BLENDS[blend](positions).astype(np.float32)


def taper(blend: str, *, size: int, overlap: int, fades_in: bool, fades_out: bool) -> Floats:
    """Return the 1-D weights of a tile: (size,) float32.

    ``fades_in`` and ``fades_out`` say whether there is a neighbour before and after: a tile is not
    tapered at the scene's border. The foot of one taper and the head of the next sum to exactly 1.
    """
    weights = np.ones(size, np.float32)
    if fades_in and overlap:
        weights[:overlap] = ramp(blend, overlap)
    if fades_out and overlap:
        weights[size - overlap :] = np.float32(1) - ramp(blend, overlap)
    return weights


def taper_of(grid: TileGrid, blend: str, number: int, *, count: int) -> Floats:
    """Return the weights of one of ``count`` tile rows, or tile columns: (size,) float32."""
    return taper(
        blend,
        size=grid.size,
        overlap=grid.overlap,
        fades_in=number > 0,
        fades_out=number < count - 1,
    )
