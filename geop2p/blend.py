"""Overlapping tiles become one picture: tapers, and the sums that they are weights of.

A tile fades into its neighbour over their overlap by a 1-D taper; the neighbour's weight is 1 less
that, so two neighbours sum to exactly 1 and nothing is ever divided. Sums associate one way: left
and right within a tile row, then upper and lower row. At most two tiles meet in each direction, and
float addition is commutative, so the picture does not depend on the order in which tiles arrive.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from geop2p.grid import Strip, Tile, TileGrid

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
    if fades_in:
        weights[:overlap] = ramp(blend, overlap)
    if fades_out:
        weights[size - overlap :] = np.float32(1) - ramp(blend, overlap)
    return weights


def row_taper(grid: TileGrid, blend: str, tile_row: int) -> Floats:
    """Return the weights of a tile row's pixel rows: (size,) float32."""
    return taper(
        blend,
        size=grid.size,
        overlap=grid.overlap,
        fades_in=tile_row > 0,
        fades_out=tile_row < grid.tile_rows - 1,
    )


def col_taper(grid: TileGrid, blend: str, tile_col: int) -> Floats:
    """Return the weights of a tile column's pixel columns: (size,) float32."""
    return taper(
        blend,
        size=grid.size,
        overlap=grid.overlap,
        fades_in=tile_col > 0,
        fades_out=tile_col < grid.tile_cols - 1,
    )


class StripCanvas:
    """The blended picture of one strip: (K, rows, width) float32, rows clipped to the scene.

    Tiles must come tile row by tile row; within a row in any order. After the last tile, inner rows
    are finished, head and foot are the strip's share of sums that the neighbouring strips complete.
    """

    def __init__(self, grid: TileGrid, strip: Strip, *, blend: str, bands: int) -> None:
        self._grid, self._blend = grid, blend
        self._start, stop = grid.painted_rows(strip)
        self._pixels = np.zeros((bands, stop - self._start, grid.width), np.float32)
        rows = min(grid.size, stop - self._start)  # fewer where the scene is lower than a tile
        self._row_pixels = np.zeros((bands, rows, grid.width), np.float32)
        self._tile_row = strip.first

    def add(self, tile: Tile, picture: Floats) -> None:
        """Add a tile's picture, (K, size, size) float32, to its tile row."""
        if tile.row != self._tile_row:
            self._finish_row()
            self._tile_row = tile.row
        left, right = self._grid.cols(tile.col)
        right = min(right, self._grid.width)
        weights = col_taper(self._grid, self._blend, tile.col)[: right - left]
        rows = self._row_pixels.shape[1]
        self._row_pixels[:, :, left:right] += picture[:, :rows, : right - left] * weights

    def finished(self) -> Floats:
        """Return the strip's picture, (K, rows, width) float32, after the last tile."""
        self._finish_row()
        return self._pixels

    def _finish_row(self) -> None:
        """Add the tile row that is complete to the strip, and begin an empty one."""
        top, bottom = self._grid.rows(self._tile_row)
        lo = top - self._start
        hi = min(bottom - self._start, self._pixels.shape[1])
        weights = row_taper(self._grid, self._blend, self._tile_row)[: hi - lo]
        padding = self._row_pixels.shape[1] - len(weights)
        self._row_pixels *= np.pad(weights, (0, padding))[:, np.newaxis]
        self._pixels[:, lo:hi] += self._row_pixels[:, : hi - lo]
        self._row_pixels[:] = 0
