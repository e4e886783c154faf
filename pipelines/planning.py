"""What a translation will do, with nothing left open: options and scene in, plan out."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch

from geop2p.errors import OptionError, OutputError
from geop2p.generator import Engine, choose_engine
from geop2p.grid import Strip, TileGrid
from geop2p.model import ModelCard, find_model, load_model
from geop2p.pipelines.channels import choose_stretch, choose_values
from geop2p.pipelines.cluster import lane_threads
from geop2p.pipelines.lanes import LaneSpec
from geop2p.pipelines.request import Request
from geop2p.pipelines.strips import StripJob
from geop2p.raster.mapfile import MapFormat, choose_format
from geop2p.raster.scene import Scene, SceneSpec
from geop2p.version import __version__

logger = logging.getLogger(__name__)

STRIP_TILES = 64
"""Tiles that a strip should at least have, so that short last batches weigh little."""
FORMAT_VERSION = 1
"""Of part files; another version never mixes in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that a run needs to know.

    Parameters
    ----------
    request : Request
        What was asked for.
    spec : SceneSpec
        The scene's header.
    job : StripJob
        What strips have in common.
    strips : list of Strip
        From top to bottom.
    lane : LaneSpec
        The generator and how it is run.
    card : ModelCard or None
        The model's; None for a bare function.
    map_format : MapFormat
        Driver and creation options of the map.
    tags : dict
        Provenance: only what changes pixels.
    fingerprint : dict
        Everything that a finished strip depends on.
    """

    request: Request
    spec: SceneSpec
    job: StripJob
    strips: list[Strip]
    lane: LaneSpec
    card: ModelCard | None
    map_format: MapFormat
    tags: Mapping[str, str]
    fingerprint: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenModel:
    """A model file, or a bare function without a card, and the name and hash for the tags."""

    name: str
    card: ModelCard | None = None
    path: str | None = None
    sha256: str | None = None


def check_paths(request: Request) -> MapFormat:
    """Refuse outputs that must not be written; return the map's format.

    Raises
    ------
    OutputError
        When map or preview is the scene, exists without ``overwrite``, or its folder is missing or
        not writable.
    OptionError
        When its name or a creation option fits no map.
    """
    map_format = choose_format(request.out, driver=request.format, options=request.creation_options)
    _check_output(request.out, request)
    if request.preview is not None:
        preview = Path(request.preview)
        if preview.suffix.lower() != ".png":
            raise OptionError(f"{preview}: a preview is a PNG (name it .png)")
        if preview.absolute() == request.out.absolute():
            raise OutputError(f"{preview}: is the map itself (choose another --preview)")
        _check_output(preview, request)
    return map_format


def _check_output(path: Path, request: Request) -> None:
    folder = path.parent
    if path.exists() and Path(request.scene).exists() and path.samefile(request.scene):
        raise OutputError(f"{path}: is the scene itself (choose another name)")
    if path.is_dir():
        raise OutputError(f"{path}: is a folder (give a file)")
    if path.exists() and not request.overwrite:
        raise OutputError(f"{path}: exists (choose another name, or --overwrite)")
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        state = "is not writable" if folder.is_dir() else "does not exist"
        raise OutputError(f"{path}: the folder {folder} {state} (create it or choose another)")


def choose_model(request: Request) -> ChosenModel:
    """Read the model's card and check its weights, before any work is done.

    Raises
    ------
    ModelError
        When the model cannot be used.
    """
    if request.generator is not None:
        name = getattr(request.generator, "__name__", type(request.generator).__name__)
        return ChosenModel(name=name)
    path = find_model(request.model)
    model = load_model(path)
    return ChosenModel(
        name=model.card.name, card=model.card, path=str(path.resolve()), sha256=model.sha256
    )


def choose_grid(request: Request, spec: SceneSpec, card: ModelCard | None) -> TileGrid:
    """Return the lattice: the card's tile, the overlap that was asked for."""
    size = request.tile if card is None else card.tile
    return TileGrid(height=spec.height, width=spec.width, size=size, overlap=request.overlap)


def choose_strips(request: Request, grid: TileGrid) -> list[Strip]:
    """Return the strips; by default of as many tile rows as hold `STRIP_TILES` tiles."""
    rows = request.strip_rows or max(1, -(-STRIP_TILES // grid.tile_cols))
    return grid.strips(rows)


def make_plan(
    request: Request, scene: Scene, *, chosen: ChosenModel, map_format: MapFormat
) -> Plan:
    """Put together what was chosen; ``scene`` is open, with the chosen bands.

    Raises
    ------
    OptionError
        When something of it does not fit.
    """
    spec, card = scene.spec, chosen.card
    stretch = choose_stretch(request, scene, card)
    engine = choose_engine(
        device=request.device,
        precision=request.precision,
        batch_size=request.batch_size,
        threads=request.threads or lane_threads(request.workers),
    )
    job = StripJob(
        source=request.source(spec.bands),
        grid=choose_grid(request, spec, card),
        blend=request.blend,
        stretch=stretch,
        values=choose_values(request, spec, stretch=stretch, card=card),
        lane=f"geop2p-{uuid4().hex}",
        batch_size=engine.batch_size,
    )
    tags = _tags(job, chosen, engine)
    return Plan(
        request=request,
        spec=spec,
        job=job,
        strips=choose_strips(request, job.grid),
        lane=LaneSpec(engine=engine, model_path=chosen.path, function=request.generator),
        card=card,
        map_format=map_format,
        tags=tags,
        fingerprint=_fingerprint(job, chosen=chosen, engine=engine, tags=tags),
    )


def _tags(job: StripJob, chosen: ChosenModel, engine: Engine) -> dict[str, str]:
    """Return the provenance of the map: only what changes pixels, as resolved."""
    tags = {
        "TIFFTAG_SOFTWARE": f"geop2p {__version__}",
        "GEOP2P_VERSION": __version__,
        "GEOP2P_MODEL": chosen.name,
        "GEOP2P_TILE": str(job.grid.size),
        "GEOP2P_OVERLAP": str(job.grid.overlap),
        "GEOP2P_BLEND": job.blend,
        "GEOP2P_BANDS": ",".join(map(str, job.source.bands or ())),
        "GEOP2P_STRETCH": str(job.stretch),
        "GEOP2P_MASK_RULE": job.source.mask_rule,
        "GEOP2P_ENGINE": f"torch {torch.__version__} {engine.kind} {engine.precision}",
    }
    if chosen.sha256 is not None:
        tags["GEOP2P_MODEL_SHA256"] = chosen.sha256
    if job.source.src_nodata is not None:
        tags["GEOP2P_SRC_NODATA"] = str(job.source.src_nodata)
    return tags


def _fingerprint(
    job: StripJob, *, chosen: ChosenModel, engine: Engine, tags: Mapping[str, str]
) -> dict[str, Any]:
    """Return everything that a finished strip's bytes depend on."""
    path = Path(job.source.path)
    state = path.stat()
    return {
        "scene": [str(path.resolve()), state.st_size, state.st_mtime_ns],
        "tags": dict(tags),
        "values": repr(job.values),
        "grid": repr(job.grid),
        "threads": engine.threads,
        "batch_size": engine.batch_size if engine.kind == "cuda" else None,
        "format": FORMAT_VERSION,
        "function": None if chosen.card is not None else job.lane,  # never met again
    }
