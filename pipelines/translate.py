"""Translate a scene into a map.

    plan -> translate strips (Dask) -> part files -> assemble, compare, rename

The process that was started plans, keeps the parts and writes the map; workers get a job and a
strip, and give back arrays.
"""

import logging
import os
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from geop2p.errors import ModelError, OptionError, OutputError, SceneError
from geop2p.grid import Strip
from geop2p.locking import held
from geop2p.memory import peak_memory_mib
from geop2p.parts import PartStore, StripResult, remove_parts, remove_temporary
from geop2p.pipelines.assembly import map_rows
from geop2p.pipelines.channels import choose_source
from geop2p.pipelines.cluster import end_if_started_by_spawn, hired
from geop2p.pipelines.dispatch import strip_results
from geop2p.pipelines.planning import Plan, choose_model, make_plan, map_spec
from geop2p.pipelines.preflight import (
    check_apart,
    check_memory,
    check_news,
    check_paths,
    check_space,
    check_unchanged,
)
from geop2p.pipelines.request import Request, TranslateOptions
from geop2p.pipelines.strips import Stopwatch
from geop2p.progress import Progress
from geop2p.raster.identity import identity_of
from geop2p.raster.mapfile import check_creation_options, write_map
from geop2p.raster.mapformat import BLOCK
from geop2p.raster.scene import open_source
from geop2p.writing import file_sha256

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslateReport:
    """What a translation did.

    Parameters
    ----------
    path : str
        The map.
    sha256 : str
        Of the map's bytes.
    height, width, bands : int
        Of the map.
    tiles : int
        Tiles that the generator drew.
    tiles_skipped : int
        Tiles without a valid pixel.
    strips_resumed : int
        Strips that an interrupted run had finished.
    pixels_invalid : int
        Pixels that are masked.
    blocks_unreadable : int
        Blocks of the scene that could not be decoded, and are masked for that.
    values_clipped : int
        Valid values, over all bands, outside the stretch.
    stretch : str
        The range, or one range a band, that became [-1, 1].
    model, device, engine, precision : str
        What drew it, and how.
    batch_size : int, tiles
    is_lossy : bool
        The codec may have changed pixels a little.
    seconds : dict
        By stage, over all strips: ``read`` is how long they waited for their rows; ``prepare``,
        ``generate``, ``blend`` follow each other in the generator's thread, or on its GPU; ``keep``
        (part files) overlaps with them. ``write`` (assemble, encode, read back) and ``preview``
        come when the last strip is done. ``total`` is wall time.
    peak_memory_mib : float, MiB
        Largest resident size of this process so far.
    peak_memory_mib_workers : float, MiB
        Largest resident size of a process that did strips; this one, where there are no workers.
    """

    path: str
    sha256: str
    height: int
    width: int
    bands: int
    tiles: int
    tiles_skipped: int
    strips_resumed: int
    pixels_invalid: int
    blocks_unreadable: int
    values_clipped: int
    stretch: str
    model: str
    device: str
    engine: str
    precision: str
    batch_size: int
    is_lossy: bool
    seconds: Mapping[str, float]
    peak_memory_mib: float
    peak_memory_mib_workers: float


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
            return _finish(plan, store, tally=tally, start=start)
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
    source = choose_source(request, header, chosen.card)
    with open_source(source) as scene:
        plan = make_plan(request, scene, identity=identity, chosen=chosen, map_format=map_format)
    check_news(plan)
    return plan


class _Tally:
    """What is known of the strips that are kept: their counts, added up, and the map's bands.

    Attributes
    ----------
    sums : dict
        Counts of all strips, whoever made them.
    run : Stopwatch
        Counts of this run beside its strips.
    bands : int
        Of the map.
    """

    def __init__(self, plan: Plan) -> None:
        self.sums: defaultdict[str, float] = defaultdict(float)
        self.run = Stopwatch()
        self.bands = 1 if plan.card is None else plan.card.generator.out_bands

    def add(self, part: StripResult) -> None:
        """Add a strip."""
        self.bands = max(self.bands, len(part.inner))
        for name, amount in part.counts.items():
            self.sums[name] += amount


def _translate_strips(plan: Plan, store: PartStore) -> _Tally:
    """Do the strips that are missing and keep each as it comes; return what all came to."""
    tally, missing = _Tally(plan), []
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


def _finish(plan: Plan, store: PartStore, *, tally: _Tally, start: float) -> TranslateReport:
    """Write the map from its parts, remove them, and report."""
    sums, bands, counts = tally.sums, tally.bands, tally.run.counts
    sums["seconds_read"] += counts["seconds_read"]  # rows that were read here, for all strips
    before = time.perf_counter()
    write_map(
        plan.request.out,
        map_spec(plan, bands=bands, is_masked=sums["pixels_invalid"] > 0),
        lambda: map_rows(store, plan.strips, values=plan.job.values, bands=bands, rows=BLOCK),
        map_format=plan.map_format,
    )
    try:
        remove_parts(plan.request.out)
    except OutputError as exc:  # the map is there, complete
        logger.warning("%s", exc)
    written = time.perf_counter()
    if plan.request.preview is not None:
        from geop2p.pipelines.preview import save_preview  # noqa: PLC0415  matplotlib: half a second

        save_preview(plan, Path(plan.request.preview))
    now = time.perf_counter()
    seconds = {
        stage: sums[f"seconds_{stage}"] for stage in ("read", "prepare", "generate", "blend")
    } | {
        "keep": counts["seconds_keep"],
        "write": written - before,
        "preview": now - written,
        "total": now - start,
    }
    _tell(plan, sums)
    return _report(plan, sums, bands=bands, seconds=seconds, counts=counts)


def _tell(plan: Plan, sums: Mapping[str, float]) -> None:
    """Say what a user would not expect of the map."""
    if sums["pixels_invalid"] == plan.spec.height * plan.spec.width:
        logger.warning("%s: no pixel is valid, all of the map is masked", plan.spec.path)
    if sums["blocks_unreadable"]:
        logger.warning(
            "%s: %d blocks cannot be decoded, they are masked in the map",
            plan.spec.path,
            sums["blocks_unreadable"],
        )
    if sums["values_clipped"]:
        logger.info("%s: %d values lie outside the stretch", plan.spec.path, sums["values_clipped"])


def _report(
    plan: Plan,
    sums: Mapping[str, float],
    *,
    bands: int,
    seconds: Mapping[str, float],
    counts: Mapping[str, float],
) -> TranslateReport:
    peak = peak_memory_mib()
    return TranslateReport(
        path=str(plan.request.out),
        sha256=file_sha256(plan.request.out),
        height=plan.spec.height,
        width=plan.spec.width,
        bands=bands,
        tiles=int(sums["tiles"]),
        tiles_skipped=int(sums["tiles_skipped"]),
        strips_resumed=int(counts["strips_resumed"]),
        pixels_invalid=int(sums["pixels_invalid"]),
        blocks_unreadable=int(sums["blocks_unreadable"]),
        values_clipped=int(sums["values_clipped"]),
        stretch=str(plan.job.stretch),
        model=plan.tags["GEOP2P_MODEL"],
        device=plan.lane.engine.device,
        engine=plan.lane.engine.name,
        precision=plan.lane.engine.precision,
        batch_size=plan.lane.engine.batch_size,
        is_lossy=plan.map_format.is_lossy,
        seconds={stage: round(value, 3) for stage, value in seconds.items()},
        peak_memory_mib=peak,
        peak_memory_mib_workers=counts["peak_memory_mib_workers"] or peak,
    )
