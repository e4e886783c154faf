"""Translate a scene into a map.

    plan -> translate strips (Dask) -> part files -> assemble, compare, rename

The process that was started plans, keeps the parts and writes the map; workers get a job and a
strip, and give back arrays.
"""

import os
from pathlib import Path
from typing import Unpack

from geop2p.pipelines.cluster import end_if_started_by_spawn
from geop2p.pipelines.request import Request, TranslateOptions
from geop2p.pipelines.scene_run import begun, crew_of_its_own
from geop2p.pipelines.translation_report import TranslateReport


def translate(
    scene: str | os.PathLike[str], out: str | os.PathLike[str], **options: Unpack[TranslateOptions]
) -> TranslateReport:
    """Translate a scene into a map on the same pixel grid.

    The map appears under its name complete and checked, or not at all. What an interrupted run had
    finished is used by the next run with the same scene, model and options.

    Parameters
    ----------
    scene : path
        A raster file that GDAL reads.
    out : path
        The map: .tif (a Cloud-Optimised GeoTIFF), .png or .jpg.
    **options
        See `TranslateOptions`.

    Raises
    ------
    OptionError, SceneError, ModelError, OutputError
        See `geop2p.errors`; each names the file, what was found and what to do.
    """
    end_if_started_by_spawn()
    request = Request(scene=os.fspath(scene), out=Path(out), **options)
    with begun(request) as run:
        return run.finish(run.draw(crew_of_its_own))
