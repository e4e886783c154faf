"""The tiles of scenes that a generator is calibrated with: whole, valid, spread over each scene."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from geop2p.card import ModelCard
from geop2p.grid import TileGrid, reflect
from geop2p.pipelines.channels import choose_source, choose_stretch
from geop2p.pipelines.request import Request
from geop2p.radiometry import Stretch
from geop2p.raster.scene import Scene, open_source


def calibration_tiles(request: Request, card: ModelCard, *, most: int) -> list[Tensor]:
    """Return at most ``most`` tiles of a scene as the generator sees them, (C, S, S) float32.

    Tiles that are not valid all over are left out, which may be all of them. Bands and stretch are
    chosen as `geop2p translate` chooses them.

    Raises
    ------
    SceneError
        When the scene cannot be read or does not fit the model.
    OptionError
        When bands or stretch do not fit.
    """
    with open_source(request.source(None)) as scene:
        source = choose_source(request, scene.spec, card)
    with open_source(source) as scene:
        stretch = choose_stretch(request, scene, card)
        spec = scene.spec
        grid = TileGrid(height=spec.height, width=spec.width, size=card.tile, overlap=0)
        return _spread(grid, most, scene=scene, stretch=stretch)


def _spread(grid: TileGrid, most: int, *, scene: Scene, stretch: Stretch) -> list[Tensor]:
    """Return tiles from all over the lattice, in reading order."""
    count = grid.tile_rows * grid.tile_cols
    places = _evenly(count, most)
    found = []
    for row in range(grid.tile_rows):
        cols = [place % grid.tile_cols for place in places if place // grid.tile_cols == row]
        if cols:
            found += _row(grid, row, cols, scene=scene, stretch=stretch)
    return found


def _row(
    grid: TileGrid, row: int, cols: Sequence[int], *, scene: Scene, stretch: Stretch
) -> list[Tensor]:
    shown = reflect(np.arange(*grid.rows(row)), grid.height)
    first, last = int(shown.min()), int(shown.max()) + 1
    pixels, valid = scene.read(rows=(first, last))
    tiles = []
    for col in cols:
        cut = (shown - first)[:, None], grid.source_cols(col)
        if valid[cut].all():
            native = pixels[:, *cut]  # (C, S, S)
            tiles.append(torch.from_numpy(stretch.to_unit(native)))
    return tiles


def _evenly(count: int, most: int) -> list[int]:
    """Return at most ``most`` of the places 0 to count - 1, evenly spread, never the same twice."""
    if count <= most:
        return list(range(count))
    return [(2 * i + 1) * count // (2 * most) for i in range(most)]
