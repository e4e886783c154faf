"""A picture of a translation: the map beside its scene, small enough to look at."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from geop2p.pipelines.planning import Plan
from geop2p.plots import save_side_by_side
from geop2p.radiometry import Stretch
from geop2p.raster.scene import SceneSource, open_source

Picture = npt.NDArray[np.uint8]

LONGEST_SIDE = 900
"""Pixels of each of the two pictures."""


def save_preview(plan: Plan, path: Path) -> None:
    """Write scene and finished map side by side as a PNG; invalid pixels are white.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    model, out = plan.tags["GEOP2P_MODEL"], plan.request.out
    scene = _picture(plan.job.source, plan.job.stretch)
    drawn = _picture(SceneSource(path=str(out)), plan.job.values.stretch)
    titles = (Path(plan.request.scene).name, f"{out.name} by {model}")
    save_side_by_side(path, list(zip(titles, (scene, drawn), strict=True)))


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
