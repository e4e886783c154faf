"""What a translation did, told when its map is written."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from geop2p.memory import peak_memory_mib
from geop2p.pipelines.confidence_raster import root_mean_square
from geop2p.pipelines.planning import Plan
from geop2p.pipelines.tally import Tally
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
    scene_gsd_m : float or None, metres
        Ground a pixel of the scene shows; None where it is not known.
    model_gsd_m : float or None, metres
        Ground a pixel showed in the model's training, by its card.
    resampled : tuple of int or None, pixels
        Height and width at which the generator saw the scene; None: its own.
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
    classes, vectors : str or None
        Class raster and polygons, where they were asked for.
    polygons : int
        In ``vectors``.
    seconds : dict
        By stage, over all strips: ``read`` is how long they waited for their rows; ``prepare``,
        ``generate``, ``blend`` follow each other in the generator's thread, or on its GPU; ``keep``
        (part files) overlaps with them. ``classes``, ``vectors``, ``confidence``, ``write`` (the
        map: assemble, encode, read back) and ``preview`` come when the last strip is done.
        ``total`` is wall time of this run; strips that an earlier one had drawn bring their own
        seconds, so the others may come to more.
    confidence : str or None
        The raster of how sure the map is, where one was asked for.
    disagreement, spread : float or None
        Root mean squares of its bands, in the map's values, over the pixels that have a value.
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
    scene_gsd_m: float | None
    model_gsd_m: float | None
    resampled: tuple[int, int] | None
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
    classes: str | None
    vectors: str | None
    polygons: int
    seconds: Mapping[str, float]
    confidence: str | None
    disagreement: float | None
    spread: float | None
    peak_memory_mib: float
    peak_memory_mib_workers: float


def report_on(plan: Plan, tally: Tally, *, seconds: Mapping[str, float]) -> TranslateReport:
    """Return the report of a run whose map is written; ``seconds`` by product, and the total."""
    gsd_m = plan.ground.scene_m
    sums, counts, peak = tally.sums, tally.run.counts, peak_memory_mib()
    beside = {name: str(path) for name, path in plan.request.side_outputs().items()}
    read = sums["seconds_read"] + counts["seconds_read"]  # rows read here are for all strips
    stages = {
        "read": read,
        **{stage: sums[f"seconds_{stage}"] for stage in ("prepare", "generate", "blend")},
        "keep": counts["seconds_keep"],
        **seconds,
    }
    return TranslateReport(
        path=str(plan.request.out),
        sha256=file_sha256(plan.request.out),
        height=plan.map_grid.height,
        width=plan.map_grid.width,
        bands=tally.bands,
        scene_gsd_m=None if gsd_m is None else float(f"{gsd_m:.6g}"),
        model_gsd_m=plan.ground.model_m,
        resampled=plan.ground.size,
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
        classes=beside.get("classes"),
        vectors=beside.get("vectors"),
        polygons=int(sums["polygons"]),
        seconds={stage: round(value, 3) for stage, value in stages.items()},
        confidence=None if plan.job.confidence is None else str(plan.request.confidence),
        disagreement=root_mean_square(tally, "disagreement"),
        spread=root_mean_square(tally, "spread"),
        peak_memory_mib=peak,
        peak_memory_mib_workers=counts["peak_memory_mib_workers"] or peak,
    )


def tell_surprises(plan: Plan, sums: Mapping[str, float]) -> None:
    """Say what a user would not expect of the map."""
    if sums["pixels_invalid"] == plan.map_grid.height * plan.map_grid.width:
        logger.warning("%s: no pixel is valid, all of the map is masked", plan.spec.path)
    if sums["blocks_unreadable"]:
        logger.warning(
            "%s: %d blocks cannot be decoded, they are masked in the map",
            plan.spec.path,
            sums["blocks_unreadable"],
        )
    if sums["values_clipped"]:
        logger.info("%s: %d values lie outside the stretch", plan.spec.path, sums["values_clipped"])
