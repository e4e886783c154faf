"""How far overlapping tiles disagree: the standard deviation of what they draw at a pixel.

Tiles count alike, whatever their taper: what is measured is the generator, not the blend. It is
built up in pairs, from means and from variances inside: of two groups of equally many tiles, the
variance is the mean of the two, and the square of half the distance of their means besides. So
nothing is the difference of two large sums, equal tiles have exactly 0, and a strip can leave the
last step to whoever has the row of tiles below it. Left and right meet first, then upper and lower,
everywhere; the order of the two does not matter.

Everything is in the generator's units, [-1, 1], squared.

References
----------
Chan, Golub, LeVeque: Algorithms for Computing the Sample Variance: Analysis and Recommendations,
The American Statistician 37 (3), 1983, for variances put together from parts.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geop2p.cutting import Run
from geop2p.grid import Strip, TileGrid

Array = TypeVar("Array", npt.NDArray[Any], Tensor)


def joined(upper: Array, lower: Array, weights: Sequence[float]) -> Array:
    """Return the variance of two tile rows together, (h, W), by the same sums in numpy and torch.

    Parameters
    ----------
    upper, lower : (K + 1, h, W) float32
        Of one tile row each: the mean of each band, then the variance inside.
    weights : sequence of float
        One a band.
    """
    total: Array = (upper[-1] + lower[-1]) * 0.5
    for one, two, weight in zip(upper[:-1], lower[:-1], weights, strict=True):
        half = (one - two) * 0.5
        total = total + half * half * weight
    return total


def is_compared(grid: TileGrid, rows: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return for rows of the scene which pixels several tiles hold: (h, W)."""
    along = _is_shared(grid, grid.height, tiles=grid.tile_rows)
    across = _is_shared(grid, grid.width, tiles=grid.tile_cols)
    return np.asarray(along[rows[0] : rows[1], np.newaxis] | across)


def _is_shared(grid: TileGrid, length: int, *, tiles: int) -> npt.NDArray[np.bool_]:
    """Return for each row, or column, of the scene whether two tiles hold it."""
    tile, inside = np.divmod(np.arange(length), grid.stride)
    return np.asarray((tile > 0) & (tile < tiles) & (inside < grid.overlap))


class DisagreementCanvas:
    """What the tiles of one strip come to, given away tile row by tile row.

    Tiles must come tile row by tile row; within a row in any order.

    Parameters
    ----------
    grid : TileGrid
        The lattice; its overlap is not 0.
    strip : Strip
        Which part of it.
    weights : sequence of float
        One a band: how much its variance counts.
    device : torch.device
    """

    def __init__(
        self, grid: TileGrid, strip: Strip, *, weights: Sequence[float], device: torch.device
    ) -> None:
        self._grid, self._strip, self._weights = grid, strip, weights
        self._bands = 2 * len(weights)
        self._shares = _shares(grid, len(weights), device=device)
        outer = (grid.tile_cols - 1) * grid.stride + grid.size
        self._pixels = torch.zeros((grid.size, outer * self._bands), device=device)
        self._above: Tensor | None = None
        self.row = strip.first
        """The tile row that tiles are added to."""

    def add(self, run: Run, pictures: Tensor) -> None:
        """Add a run's pictures, (n, K, size, size) float32, to the tile row `row`."""
        size, stride, bands = self._grid.size, self._grid.stride, self._bands
        twice = torch.cat([pictures, pictures], dim=1)
        flat = twice.permute(0, 2, 3, 1).reshape(-1, size, size * bands)
        shares = self._shares[run.cols[0] : run.cols[1]]
        for start in range(min(2, len(run))):  # every other tile: those do not overlap
            places = self._pixels.as_strided(
                ((len(run) - start + 1) // 2, size, size * bands),
                (2 * stride * bands, self._pixels.stride(0), 1),
                (run.cols[0] + start) * stride * bands,
            )
            places += flat[start::2] * shares[start::2]

    def finish_row(self) -> Tensor:
        """Return the rows that no later tile of the strip holds, and go on.

        They are (K + 1, h, width), as wide as the lattice, and may pass the scene's last row. Last
        comes the variance. In the strip's head and foot, bands before it are the means with which
        `joined` makes the variance whole; elsewhere it is whole.
        """
        grid, overlap, count = self._grid, self._grid.overlap, len(self._weights)
        planes = self._pixels.view(grid.size, -1, self._bands).permute(2, 0, 1)
        half_distances = planes[count:]
        own = torch.cat([planes[:count], torch.zeros_like(planes[:1])])
        for half, weight in zip(half_distances, self._weights, strict=True):
            own[-1] += half * half * weight
        is_last = self.row == self._strip.last - 1
        below = own[:, grid.stride :].clone()
        if self._above is not None:
            own[-1, :overlap] = joined(self._above, own[:, :overlap], self._weights)
        self._above = below
        self._pixels.zero_()
        self.row += 1
        return own if is_last else own[:, : grid.stride]


@lru_cache(maxsize=4)
def _shares(grid: TileGrid, bands: int, *, device: torch.device) -> Tensor:
    """Return what a tile adds, (tile columns, 1, size * 2 * bands): to means, to half distances."""
    means = np.ones((grid.tile_cols, grid.size), np.float32)
    distances = np.zeros_like(means)
    head, foot = slice(0, grid.overlap), slice(grid.stride, grid.size)
    means[1:, head] = means[:-1, foot] = 0.5
    distances[1:, head] = -0.5
    distances[:-1, foot] = 0.5
    both = np.stack([means] * bands + [distances] * bands, axis=2)
    return torch.from_numpy(both.reshape(grid.tile_cols, 1, -1)).to(device)
