"""Translate a scene into a map.

    plan -> translate strips (Dask) -> part files -> assemble, compare, rename

The process that was started plans, keeps the parts and writes the map; workers get a job and a
strip, and give back arrays.
"""

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from geop2p.errors import ModelError, OptionError, SceneError
from geop2p.grid import Strip
from geop2p.locking import held
from geop2p.parts import PartStore, remove_temporary
from geop2p.pipelines.channels import choose_source
from geop2p.pipelines.cluster import end_if_started_by_spawn, hired
from geop2p.pipelines.dispatch import strip_results
from geop2p.pipelines.ground import choose_ground, warn_of_gsd
from geop2p.pipelines.planning import Plan, choose_model, make_plan
from geop2p.pipelines.preflight import (
    check_apart,
    check_memory,
    check_news,
    check_paths,
    check_space,
    check_unchanged,
)
from geop2p.pipelines.products import Finished, write_products
from geop2p.pipelines.request import Request, TranslateOptions
from geop2p.pipelines.tally import Tally
from geop2p.pipelines.translation_report import TranslateReport, report_on, tell_surprises
from geop2p.progress import Progress
from geop2p.raster.identity import identity_of
from geop2p.raster.mapfile import check_creation_options
from geop2p.raster.scene import open_source


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
    start = time.perf_counter()
    end_if_started_by_spawn()
    request = Request(scene=os.fspath(scene), out=Path(out), **options)
    check_paths(request)
    with held(request.out):
        plan = _plan(request)
        store = PartStore(request.out, plan.fingerprint)
        remove_temporary(request.out)
        if request.fresh:
            store.remove()
        check_space(plan, store)
        check_memory(plan)
        try:
            store.open()
            tally = _translate_strips(plan, store)
            check_unchanged(plan)
            seconds = write_products(Finished(plan=plan, store=store, tally=tally))
            tell_surprises(plan, tally.sums)
            seconds["total"] = time.perf_counter() - start
            return report_on(plan, tally, seconds=seconds)
        except BaseException as exc:
            if not _can_go_on(plan, exc) or store.is_empty():
                store.remove()
            raise


def _can_go_on(plan: Plan, exc: BaseException) -> bool:
    """Return whether the same command could go on from the parts that are finished.

    It could after an interruption, a lost worker, or once there is more disk or memory; not where
    scene or model cannot work, and not with a bare function, which nothing tells from another.
    """
    is_hopeless = isinstance(exc, SceneError | ModelError | OptionError)
    return plan.card is not None and not is_hopeless


def _plan(request: Request) -> Plan:
    """Check everything that can be checked before work starts."""
    map_format = check_paths(request)
    identity = identity_of(request.source(None))
    check_apart(request, identity)
    with open_source(request.source(None)) as scene:
        header = scene.spec
    check_creation_options(request.out, map_format)
    chosen = choose_model(request)
    ground = choose_ground(request, header, chosen.card)
    source = replace(choose_source(request, header, chosen.card), size=ground.size)
    with open_source(source) as scene:
        plan = make_plan(
            request, scene, identity=identity, chosen=chosen, ground=ground, map_format=map_format
        )
    check_news(plan)
    warn_of_gsd(ground, chosen.card)
    return plan


def _translate_strips(plan: Plan, store: PartStore) -> Tally:
    """Do the strips that are missing and keep each as it comes; return what all came to."""
    tally, missing = Tally(plan), []
    for strip in plan.strips:
        part = store.load(strip)
        if part is None:
            missing.append(strip)
        else:
            tally.add(part)
    watch, request = tally.run, plan.request
    watch.add("strips_resumed", len(plan.strips) - len(missing))
    total = plan.job.grid.tile_rows * plan.job.grid.tile_cols
    done = total - sum(_tiles_of(plan, strip) for strip in missing)
    if not missing:
        return tally
    reads_scene = not plan.spec.is_sequential
    with hired(request, job=plan.job, lane=plan.lane, reads_scene=reads_scene) as crew:
        for result in strip_results(plan, missing, crew, watch=watch):
            with watch.time("keep"):
                store.save(result)
            tally.add(result)
            done += _tiles_of(plan, result.strip)
            request.on_progress(Progress(stage="translate", done=done, total=total, unit="tiles"))
    return tally


def _tiles_of(plan: Plan, strip: Strip) -> int:
    return (strip.last - strip.first) * plan.job.grid.tile_cols
