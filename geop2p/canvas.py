"""Overlapping tiles become the rows of a strip, on the generator's device.

See `geop2p.blend` for the tapers and for why the picture does not depend on the order of tiles.
Pixels are interleaved: (rows, width * K), the bands of a pixel beside each other.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from geop2p.blend import taper, taper_of
from geop2p.cutting import Run
from geop2p.grid import Strip, TileGrid


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tapers:
    """Weights of tile columns, (tile columns, 1, size * K); at ends of tile rows, (overlap, 1)."""

    cols: Tensor
    fade_in: Tensor
    fade_out: Tensor


@lru_cache(maxsize=4)
def _tapers(grid: TileGrid, blend: str, *, bands: int, device: torch.device) -> _Tapers:
    count = grid.tile_cols
    cols = np.stack([taper_of(grid, blend, col, count=count) for col in range(count)])
    middle = taper(blend, size=grid.size, overlap=grid.overlap, fades_in=True, fades_out=True)
    col_weights, row_weights = (
        torch.from_numpy(weights).to(device) for weights in (cols.repeat(bands, axis=1), middle)
    )
    return _Tapers(
        cols=col_weights.unsqueeze(1),
        fade_in=row_weights[: grid.overlap].unsqueeze(1),
        fade_out=row_weights[grid.stride :].unsqueeze(1),
    )


class StripCanvas:
    """The blended rows of one strip, given away tile row by tile row.

    Tiles must come tile row by tile row; within a row in any order. What is kept is one tile row in
    float32, as wide as the scene, however many tile rows the strip has.

    Parameters
    ----------
    grid : TileGrid
        The lattice.
    strip : Strip
        Which part of it.
    blend : str
        One of `geop2p.blend.BLEND_NAMES`.
    bands : int
        K, of the pictures.
    device : torch.device
    """

    def __init__(
        self, grid: TileGrid, strip: Strip, *, blend: str, bands: int, device: torch.device
    ) -> None:
        self._grid, self._strip, self._bands = grid, strip, bands
        self._tapers = _tapers(grid, blend, bands=bands, device=device)
        outer = (grid.tile_cols - 1) * grid.stride + grid.size
        self._pixels = torch.zeros((grid.size, outer * bands), device=device)
        self._above: Tensor | None = None
        self._is_given_away = False
        self.row = strip.first
        """The tile row that tiles are added to."""

    def add(self, run: Run, pictures: Tensor) -> None:
        """Add a run's pictures, (n, K, side, side) float32, to the tile row `row`."""
        self._begin()
        size, stride, bands = self._grid.size, self._grid.stride, self._bands
        used = slice(self._grid.halo, self._grid.halo + size)
        flat = pictures[..., used, used].permute(0, 2, 3, 1).reshape(-1, size, size * bands)
        weights = self._tapers.cols[run.cols[0] : run.cols[1]]
        for start in range(min(2, len(run))):  # every other tile: those do not overlap
            places = self._pixels.as_strided(
                ((len(run) - start + 1) // 2, size, size * bands),
                (2 * stride * bands, self._pixels.stride(0), 1),
                (run.cols[0] + start) * stride * bands,
            )
            places += flat[start::2] * weights[start::2]

    def finish_row(self) -> Tensor:
        """Return the rows that no later tile of the strip paints, (h, width * K), and go on.

        They are as wide as the lattice, which may be wider than the scene, and may pass its last
        row. They may be changed, and hold until the next picture is added. NaN anywhere in what
        a picture paints is in them, or in what the next call returns.
        """
        self._begin()
        grid, overlap = self._grid, self._grid.overlap
        is_last = self.row == self._strip.last - 1
        if overlap and self.row > 0:
            self._pixels[:overlap] *= self._tapers.fade_in
        if overlap and self.row < grid.tile_rows - 1:
            self._pixels[grid.stride :] *= self._tapers.fade_out
        if self._above is not None:
            self._pixels[:overlap] += self._above
        self._above = None if is_last or not overlap else self._pixels[grid.stride :].clone()
        self._is_given_away = True
        self.row += 1
        return self._pixels if is_last else self._pixels[: grid.stride]

    def _begin(self) -> None:
        if self._is_given_away:
            self._pixels.zero_()
            self._is_given_away = False
