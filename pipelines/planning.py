"""What a translation will do, with nothing left open: options and scene in, plan out."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import torch

from geop2p.blend import BLENDS
from geop2p.errors import OptionError, OutputError, SceneError
from geop2p.generator import PRECISIONS, Engine, TileFunction, choose_engine
from geop2p.grid import Strip, TileGrid
from geop2p.model import DEFAULT_MODEL, ModelCard, find_model, load_model
from geop2p.pipelines.cluster import lane_threads
from geop2p.pipelines.lanes import LaneSpec
from geop2p.pipelines.strips import StripJob
from geop2p.progress import OnProgress, ignore_progress
from geop2p.radiometry import (
    AUTO_PERCENTILES,
    MapValues,
    Percentiles,
    Stretch,
    parse_stretch,
    per_band,
)
from geop2p.raster.mapfile import FORMATS, MapFormat, choose_format
from geop2p.raster.scene import MASK_RULES, Scene, SceneSource, SceneSpec
from geop2p.version import __version__

logger = logging.getLogger(__name__)

SAMPLE_GRID = 8
"""Blocks in each direction that percentiles are taken of."""
SAMPLE_BLOCK = 256
STRIP_TILES = 64
"""Tiles that a strip should at least have, so that short last batches weigh little."""
FORMAT_VERSION = 1
"""Of part files; another version never mixes in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked for; see `geop2p.pipelines.translate.TranslateOptions` for each entry."""

    scene: str
    out: Path
    model: str | os.PathLike[str] = DEFAULT_MODEL
    generator: TileFunction | None = None
    tile: int = 256
    overlap: int = 64
    blend: str = "cosine"
    bidx: Sequence[int] | None = None
    stretch: str | Sequence[str] | None = None
    src_nodata: float | str | None = None
    dst_nodata: float | None = None
    mask_rule: str = "any"
    device: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None
    threads: int | None = None
    strip_rows: int | None = None
    workers: int = 0
    scheduler: str | None = None
    format: str | None = None
    creation_options: Mapping[str, str] = field(default_factory=dict)
    overwrite: bool = False
    preview: str | os.PathLike[str] | None = None
    on_progress: OnProgress = ignore_progress

    def __post_init__(self) -> None:
        """Refuse words that are no choice.

        Raises
        ------
        OptionError
            For an unknown blend, precision, mask rule or format, or a number below its least.
        """
        _check_choice("blend", self.blend, tuple(BLENDS))
        _check_choice("precision", self.precision, PRECISIONS)
        _check_choice("mask rule", self.mask_rule, MASK_RULES)
        if self.format is not None:
            _check_choice("format", self.format, tuple(FORMATS))
        for name in ("threads", "strip_rows", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"{name} {value} (expected at least 1)")

    def source(self, bands: tuple[int, ...] | None) -> SceneSource:
        """Return how the scene is to be read."""
        value = self.src_nodata
        nodata = float(value) if isinstance(value, int) else value
        return SceneSource(
            path=self.scene, bands=bands, src_nodata=nodata, mask_rule=self.mask_rule
        )


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


def choose_bands(request: Request, spec: SceneSpec, card: ModelCard | None) -> tuple[int, ...]:
    """Return the bands to read, from 1, in the order of the generator's channels.

    Where none are asked for and there are more than the model takes, those are chosen that the file
    calls as the card does, e.g. red, green and blue.

    Raises
    ------
    OptionError
        When the number of bands that were asked for is not the model's.
    SceneError
        When none were asked for, and the scene's do not fit.
    """
    bands = tuple(request.bidx) if request.bidx else spec.bands
    if card is None or len(bands) == card.generator.in_bands:
        return bands
    wanted = card.generator.in_bands
    if request.bidx is None and set(card.scene_bands) <= set(spec.colours):
        return tuple(spec.bands[spec.colours.index(name)] for name in card.scene_bands)
    found = f"{len(bands)} band{'s' * (len(bands) != 1)}"
    found = found if request.bidx is None else f"--bidx names {found}"
    example = ",".join(str(min(i + 1, len(spec.bands))) for i in range(wanted))
    error = SceneError if request.bidx is None else OptionError
    raise error(
        f"{spec.path}: {found}, the model {card.name} takes {wanted} "
        f"({', '.join(card.scene_bands)}) (choose with --bidx, e.g. --bidx {example})"
    )


def choose_stretch(request: Request, scene: Scene, card: ModelCard | None) -> Stretch:
    """Return the one stretch of the scene; sampled from it where that was asked for.

    Raises
    ------
    OptionError
        When the option is no stretch, or fits no band count.
    """
    texts = [request.stretch] if isinstance(request.stretch, str) else list(request.stretch or ())
    bands = len(scene.spec.bands)
    if texts in ([], ["card"]):
        return _card_stretch(scene, card, is_asked=bool(texts))
    wanted = [parse_stretch(text) for text in texts]
    ranges = [entry for entry in wanted if not isinstance(entry, Percentiles)]
    if len(ranges) == len(wanted):
        return per_band(ranges, bands)
    if len(wanted) > 1:
        raise OptionError("percentiles and auto are for all bands at once (give one --stretch)")
    stretch = _sampled(scene, wanted[0])  # type: ignore[arg-type]  # no range among them
    logger.info("%s: stretch %s (%s)", scene.spec.path, stretch, texts[0])
    return stretch


def _card_stretch(scene: Scene, card: ModelCard | None, *, is_asked: bool) -> Stretch:
    """Return the card's stretch, or what fits when the scene's values are of another type."""
    spec = scene.spec
    bands = len(spec.bands)
    if card is None:
        if np.dtype(spec.dtype).kind in "iu":
            return Stretch.of_dtype(spec.dtype, bands)
        return _sampled(scene, Percentiles(0.0, 100.0))
    if is_asked or spec.dtype == card.scene.dtype:
        return Stretch((card.scene.low,) * bands, (card.scene.high,) * bands)
    stretch = _sampled(scene, Percentiles(*AUTO_PERCENTILES))
    logger.warning(
        "%s: a %s scene for a model trained on %s: stretched %s, its %g-%g%% "
        "(choose with --stretch MIN,MAX)",
        spec.path,
        spec.dtype,
        card.scene.dtype,
        stretch,
        *AUTO_PERCENTILES,
    )
    return stretch


def _sampled(scene: Scene, percentiles: Percentiles) -> Stretch:
    """Return the percentiles of a fixed grid of full-resolution blocks."""
    samples = []
    for rows in _sample_spans(scene.spec.height):
        for cols in _sample_spans(scene.spec.width):
            pixels, valid = scene.read(rows=rows, cols=cols)
            samples.append(pixels[:, valid])
    return percentiles.of(np.concatenate(samples, axis=1))


def _sample_spans(length: int) -> list[tuple[int, int]]:
    """Return up to `SAMPLE_GRID` spans, evenly spread from edge to edge."""
    if length <= SAMPLE_GRID * SAMPLE_BLOCK:
        return [(lo, min(lo + SAMPLE_BLOCK, length)) for lo in range(0, length, SAMPLE_BLOCK)]
    starts: npt.NDArray[np.int64] = np.linspace(0, length - SAMPLE_BLOCK, SAMPLE_GRID).astype(int)
    return [(int(lo), int(lo) + SAMPLE_BLOCK) for lo in starts]


def choose_values(
    request: Request, spec: SceneSpec, *, stretch: Stretch, card: ModelCard | None
) -> MapValues:
    """Return how the map's values come about: the card's way, or the scene's way back."""
    if card is None:
        return MapValues(dtype=spec.dtype, stretch=stretch, nodata=request.dst_nodata)
    bands = card.generator.out_bands
    back = Stretch((card.map.low,) * bands, (card.map.high,) * bands)
    return MapValues(dtype=card.map.dtype, stretch=back, nodata=request.dst_nodata)


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


def _check_choice(what: str, found: str, choices: Sequence[str]) -> None:
    if found not in choices:
        raise OptionError(f"{what} {found!r} (choose from {', '.join(choices)})")
