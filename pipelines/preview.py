"""A picture of a translation: the map beside its scene, small enough to look at."""

import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt

from geop2p.errors import SceneError
from geop2p.pipelines.planning import Plan
from geop2p.plots import save_side_by_side
from geop2p.radiometry import Stretch
from geop2p.raster.scene import SceneSource, open_source

logger = logging.getLogger(__name__)

Picture = npt.NDArray[np.uint8]

LONGEST_SIDE = 900
"""Pixels of each of the two pictures."""


def save_preview(plan: Plan, path: Path) -> None:
    """Write scene and finished map side by side as a PNG; invalid pixels are white.

    The map is there already: where one of the two cannot be read again, a warning says so.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    model, out = plan.tags["GEOP2P_MODEL"], plan.request.out
    try:
        seen = plan.own_source if plan.is_brought_back else plan.job.source
        scene = _picture(seen, plan.job.stretch)
        drawn = _picture(_map_source(plan), plan.job.values.stretch)
    except SceneError as exc:
        logger.warning("%s: no preview was made: %s", path, exc)
        return
    titles = (Path(plan.request.scene).name, f"{out.name} by {model}")
    save_side_by_side(path, list(zip(titles, (scene, drawn), strict=True)))


def _map_source(plan: Plan) -> SceneSource:
    """Return the finished map, whose size is meant however small its file is."""
    pixels = plan.map_grid.height * plan.map_grid.width
    return SceneSource(path=str(plan.request.out), max_pixels=pixels)


def _picture(source: SceneSource, stretch: Stretch) -> Picture:
    """Return a raster as (h, w, 3) uint8, its first three bands or its first one in grey."""
    with open_source(source) as raster:
        pixels, valid = raster.thumbnail(LONGEST_SIDE)
    shown = [0, 1, 2] if len(pixels) >= 3 else [0, 0, 0]
    known = np.where(valid, pixels[shown], pixels.dtype.type(0))
    bands = [min(band, len(stretch.low) - 1) for band in shown]
    ranges = Stretch(
        tuple(stretch.low[band] for band in bands), tuple(stretch.high[band] for band in bands)
    )
    grey = np.rint((ranges.to_unit(known) + 1) * 127.5)
    return np.moveaxis(np.where(valid, grey, 255).astype(np.uint8), 0, -1)  # (3, h, w) -> (h, w, 3)
