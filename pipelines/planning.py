"""What a translation will do, with nothing left open: options and scene in, plan out."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import numpy as np
import torch

from geop2p.card import ModelCard
from geop2p.engines.choice import Engine, Fitness, choose_engine
from geop2p.engines.int8 import fault_of_int8
from geop2p.engines.packed import is_packable
from geop2p.errors import OptionError
from geop2p.grid import Strip, TileGrid
from geop2p.model import DEFAULT_MODEL, Model, find_model, load_model
from geop2p.palette import Palette
from geop2p.pipelines.channels import choose_stretch, choose_values
from geop2p.pipelines.cluster import lane_threads
from geop2p.pipelines.colours import choose_palette, palette_tag
from geop2p.pipelines.confidence import (
    ConfidenceSpec,
    choose_confidence,
    choose_sampling,
    part_planes,
)
from geop2p.pipelines.ground import Ground, gsd_tags
from geop2p.pipelines.lanes import Handover, LaneSpec
from geop2p.pipelines.lattice import choose_grid
from geop2p.pipelines.request import Request
from geop2p.pipelines.strips import StripJob
from geop2p.raster.georeference import Georeference, check_storable
from geop2p.raster.identity import SceneIdentity
from geop2p.raster.mapformat import PICTURE_DRIVERS, MapFormat, MapSpec
from geop2p.raster.scene import PIECE, Scene, SceneSource, SceneSpec
from geop2p.resampling import Axis
from geop2p.sampling import has_dropout
from geop2p.version import __version__

STRIP_TILES = 64
"""Tiles that a strip should at least have, so that short last groups weigh little."""
STRIP_GROUPS = 8
"""Groups of tiles that a strip should at most have, where more than the least fill them better."""
FORMAT_VERSION = 2
"""Of part files; another version never mixes in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that a run needs to know.

    Parameters
    ----------
    request : Request
        What was asked for.
    spec : SceneSpec
        The scene's header, as the generator sees the scene.
    ground : Ground
        How large its pixels are on the ground, and its header without being resampled.
    identity : SceneIdentity
        The scene's files, as they were before anything was read.
    job : StripJob
        What strips have in common.
    strips : list of Strip
        From top to bottom.
    lane : LaneSpec
        The generator and how it is run.
    card : ModelCard or None
        The model's; None for a bare function.
    palette : Palette or None
        Of map, classes and polygons; None where none of these goes by one.
    map_format : MapFormat
        Driver and creation options of the map.
    tags : dict
        Provenance: only what changes pixels.
    fingerprint : dict
        Everything that a finished strip depends on.
    """

    request: Request
    spec: SceneSpec
    ground: Ground
    identity: SceneIdentity
    job: StripJob
    strips: list[Strip]
    lane: LaneSpec
    card: ModelCard | None
    palette: Palette | None
    map_format: MapFormat
    tags: Mapping[str, str]
    fingerprint: Mapping[str, Any]

    @property
    def map_grid(self) -> SceneSpec:
        """The header that the map has its size and place from."""
        return self.spec if self.ground.is_model_out else self.ground.own

    @property
    def is_brought_back(self) -> bool:
        """Whether the map is resampled, from the generator's grid to the scene's."""
        return self.ground.size is not None and not self.ground.is_model_out

    @property
    def own_source(self) -> SceneSource:
        """How the scene is read at its own size."""
        return replace(self.job.source, size=None)

    @property
    def likely_bands(self) -> int:
        """Bands of the map, for estimates: what a bare function makes shows only when it runs."""
        return 3 if self.card is None else self.card.generator.out_bands


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenModel:
    """A model file, or a bare function without a card, and the name and hash for the tags.

    ``fitness`` says which engines can run it, ``has_dropout`` whether it can be sampled. ``lane``
    is the key of the lanes that do. ``opened`` gives the model to the first of them, if that is in
    this process.
    """

    name: str
    card: ModelCard | None = None
    path: str | None = None
    sha256: str | None = None
    fitness: Fitness = field(default_factory=Fitness)
    has_dropout: bool = False
    lane: str = field(default_factory=lambda: f"geop2p-{uuid4().hex}")
    opened: Handover = field(default_factory=Handover)


def choose_model(request: Request) -> ChosenModel:
    """Read the model's card and check its weights, before any work is done.

    Raises
    ------
    ModelError
        When the model cannot be used.
    OptionError
        When a generator is no function, or comes with a model.
    """
    if request.generator is not None:
        _check_generator(request)
        name = getattr(request.generator, "__name__", type(request.generator).__name__)
        return ChosenModel(
            name=name,
            fitness=Fitness(is_packable=is_packable(request.generator)),
            has_dropout=has_dropout(request.generator),
        )
    path = find_model(request.model)
    model = load_model(path)
    return ChosenModel(
        name=model.card.name,
        card=model.card,
        path=str(path.resolve()),
        sha256=model.sha256,
        fitness=_fitness(model),
        has_dropout=has_dropout(model.generator),
        opened=Handover(None if request.workers or request.scheduler else model),
    )


def _fitness(model: Model) -> Fitness:
    entry, fault = model.card.int8, fault_of_int8(model.generator)
    if entry is None:
        fault = f"the model {model.card.name} was not quantised (see geop2p quantize --help)"
    return Fitness(
        is_packable=is_packable(model.generator),
        int8_fault=fault,
        is_int8_close=entry is not None and entry.is_within_limits,
    )


def _check_generator(request: Request) -> None:
    if not callable(request.generator):
        kind = type(request.generator).__name__
        raise OptionError(f"generator is a {kind} (give a torch module or a function)")
    if request.model != DEFAULT_MODEL:
        raise OptionError(f"model {request.model} and a generator (give one of them)")


def choose_strips(request: Request, grid: TileGrid, *, group_size: int = 1) -> list[Strip]:
    """Return the strips; by default of as many tile rows as hold `STRIP_TILES` tiles.

    A strip's last group of tiles is padded to ``group_size``. Where groups are large, as on a GPU,
    strips have as many rows more as let the least share of what is computed be padding.
    """
    if request.strip_rows:
        return grid.strips(request.strip_rows)
    least = max(1, -(-STRIP_TILES // grid.tile_cols))
    most = max(least, STRIP_GROUPS * group_size // grid.tile_cols)
    shares = {
        rows: _padded_share(rows * grid.tile_cols, group_size) for rows in range(least, most + 1)
    }
    return grid.strips(min(shares, key=lambda rows: shares[rows]))


def _padded_share(tiles: int, group_size: int) -> float:
    """Return the share of what is computed that is padding, to whole percent."""
    computed = -(-tiles // group_size) * group_size
    return round(1 - tiles / computed, 2)


def make_plan(
    request: Request,
    scene: Scene,
    *,
    identity: SceneIdentity,
    chosen: ChosenModel,
    map_format: MapFormat,
    ground: Ground | None = None,
) -> Plan:
    """Put together what was chosen; ``scene`` is open, with the chosen bands and size.

    Without ``ground`` nothing is known of its pixels on the ground.

    Raises
    ------
    OptionError
        When something of it does not fit.
    """
    spec, card, ground = scene.spec, chosen.card, ground or Ground(own=scene.spec)
    if map_format.driver not in PICTURE_DRIVERS:
        check_storable(spec.path, Georeference.of(spec if ground.is_model_out else ground.own))
    engine = _engine(request, chosen.fitness)
    job = _job(request, scene, chosen, batch_size=engine.batch_size)
    palette = choose_palette(request, card, values=job.values, map_format=map_format)
    tags = _tags(job, chosen, engine) | gsd_tags(ground) | _tta_tags(request)
    tags["GEOP2P_SCENE_HEADER_SHA256"] = identity.header_sha256
    return Plan(
        request=request,
        spec=spec,
        ground=ground,
        identity=identity,
        job=job,
        strips=choose_strips(request, job.grid, group_size=engine.group_size),
        lane=_lane(request, chosen, engine, confidence=job.confidence),
        card=card,
        palette=palette,
        map_format=map_format,
        tags=tags | ({} if palette is None or request.palette is None else palette_tag(palette)),
        fingerprint=_fingerprint(job, identity=identity, engine=engine, tags=tags)
        | {"function": None if card is not None else job.lane},  # never met again
    )


def _job(request: Request, scene: Scene, chosen: ChosenModel, *, batch_size: int) -> StripJob:
    """Return what strips have in common; raises what the choices in it raise."""
    spec, card = scene.spec, chosen.card
    stretch = choose_stretch(request, scene, card)
    sampling = choose_sampling(request, chosen.name, is_random=chosen.has_dropout)
    grid = choose_grid(request, spec, card)
    return StripJob(
        source=scene.source,
        grid=grid,
        blend=request.blend,
        stretch=stretch,
        values=choose_values(request, spec, stretch=stretch, card=card),
        lane=chosen.lane,
        batch_size=batch_size,
        confidence=choose_confidence(request, grid, sampling),
    )


def _lane(
    request: Request, chosen: ChosenModel, engine: Engine, *, confidence: ConfidenceSpec | None
) -> LaneSpec:
    return LaneSpec(
        engine=engine,
        model_path=chosen.path,
        function=request.generator,
        opened=chosen.opened,
        is_mirrored=request.tta,
        sampling=None if confidence is None else confidence.sampling,
    )


def _tta_tags(request: Request) -> dict[str, str]:
    return {"GEOP2P_TTA": "mean of 4 mirror images"} if request.tta else {}


def _engine(request: Request, fitness: Fitness) -> Engine:
    """Return how the generator is run; raises what `choose_engine` raises."""
    return choose_engine(
        device=request.device,
        precision=request.precision,
        batch_size=request.batch_size,
        threads=request.threads
        or lane_threads(request.workers, is_elsewhere=request.scheduler is not None),
        name=request.engine,
        fitness=fitness,
    )


def check_engine(request: Request, chosen: ChosenModel) -> None:
    """Refuse a device, engine or precision that cannot be had; raises what `choose_engine` does."""
    _engine(request, chosen.fitness)


def _fingerprint(
    job: StripJob, *, identity: SceneIdentity, engine: Engine, tags: Mapping[str, str]
) -> dict[str, Any]:
    """Return everything that a finished strip's bytes depend on, but for a bare function."""
    return {
        "scene": identity.to_json_value(),
        "tags": tags,
        "values": repr(job.values),
        **({} if job.confidence is None else {"confidence": repr(job.confidence)}),
        "grid": repr(job.grid),
        "threads": engine.threads,
        "batch_size": engine.batch_size if engine.kind == "cuda" else None,
        "format": FORMAT_VERSION,
    }


def _tags(job: StripJob, chosen: ChosenModel, engine: Engine) -> dict[str, str]:
    """Return the provenance of the map: only what changes pixels, as resolved."""
    tags = {
        "TIFFTAG_SOFTWARE": f"geop2p {__version__}",
        "GEOP2P_VERSION": __version__,
        "GEOP2P_MODEL": chosen.name,
        "GEOP2P_TILE": str(job.grid.side),
        "GEOP2P_OVERLAP": str(job.grid.shared),
        "GEOP2P_BLEND": job.blend,
        "GEOP2P_BANDS": ",".join(map(str, job.source.bands or ())),
        "GEOP2P_STRETCH": str(job.stretch),
        "GEOP2P_MASK_RULE": job.source.mask_rule,
        "GEOP2P_ENGINE": f"torch {torch.__version__} {engine.label}",
    }
    if chosen.sha256 is not None:
        tags["GEOP2P_MODEL_SHA256"] = chosen.sha256
    if job.source.src_nodata is not None:
        tags["GEOP2P_SRC_NODATA"] = str(job.source.src_nodata)
    if job.source.is_expanded:
        tags["GEOP2P_EXPANDED"] = "red,green,blue"
    if job.source.on_read_error != "fail":
        tags["GEOP2P_ON_READ_ERROR"] = job.source.on_read_error
    return tags


def map_spec(plan: Plan, *, bands: int, is_masked: bool) -> MapSpec:
    """Return everything about the map but its pixels."""
    spec = plan.map_grid
    return MapSpec(
        height=spec.height,
        width=spec.width,
        count=bands,
        dtype=plan.job.values.dtype,
        crs=spec.crs,
        transform=spec.transform,
        gcps=spec.gcps,
        rpcs=spec.rpcs,
        is_point=spec.is_point,
        nodata=plan.job.values.nodata,
        is_masked=is_masked,
        tags=plan.tags,
    )


def strip_bytes(plan: Plan) -> int:
    """Return about how much memory the largest strip takes while it is worked on.

    That is its rows and their mask, finished rows, head and foot, and one tile row as it is cut,
    blended and rounded.
    """
    grid, map_bands = plan.job.grid, plan.likely_bands
    rows = max(stop - start for start, stop in map(grid.painted_rows, plan.strips))
    scene_bytes = len(plan.spec.bands) * np.dtype(plan.spec.dtype).itemsize + 1
    map_bytes = map_bands * np.dtype(plan.job.values.dtype).itemsize
    inner, shared = part_planes(plan.job.confidence, map_bands)
    strip = rows * (scene_bytes + map_bytes + 4 * inner)
    strip += 8 * (map_bands + shared) * grid.overlap
    strip += 2 * grid.halo * scene_bytes
    tile_row = grid.side * (scene_bytes + 12 * map_bands + 16 * shared)
    return (strip + tile_row) * grid.width + _resampling_bytes(plan)


def _resampling_bytes(plan: Plan) -> int:
    """Return about how much memory bringing the scene to another size takes: a piece and its sums.

    A piece is at least the rows of the scene that one row of the result is made of, and the blocks
    that these lie in are kept.
    """
    if plan.ground.size is None:
        return 0
    own, values = plan.ground.own, plan.ground.own.width * plan.spec.count
    taps = Axis(own.height, plan.ground.size[0]).taps
    kept = (taps + own.block[0] * (not own.is_sequential)) * values
    return kept * np.dtype(own.dtype).itemsize + 12 * max(PIECE, taps * values)
