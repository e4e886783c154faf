"""A scene evaluated: its map, made as `geop2p translate` makes it, beside the truth, by squares.

Rows of the maps and of the truth are read in order, so memory holds a row of squares and one
row of sums a square.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from geop2p.blend import EXACT
from geop2p.errors import OptionError, SceneError
from geop2p.grid import Span
from geop2p.inception import Inception, InceptionScores
from geop2p.model import save_model
from geop2p.palette import Palette
from geop2p.pipelines.evaluation_items import (
    BASELINE,
    Contender,
    Floats,
    Measured,
    Picture,
    Shown,
    choose_palette,
    map_source,
)
from geop2p.pipelines.evaluation_provenance import drawn_by_plans
from geop2p.pipelines.evaluation_request import Evaluation
from geop2p.pipelines.planning import Plan
from geop2p.pipelines.request import Request
from geop2p.pipelines.seam_probe import Seams, make_probe_plan, probe
from geop2p.pipelines.translate import translate
from geop2p.plots import draw_panels
from geop2p.progress import Progress
from geop2p.raster.scene import OrderedRows, Scene, SceneSpec, open_source
from geop2p.scores import Counter, Patch
from geop2p.seams import HEAT_SIDE, row_spans
from geop2p.similarity import MARGIN, scale_count
from geop2p.truth import Truth, TruthRows, open_truth
from geop2p.validation import as_rgb

logger = logging.getLogger(__name__)

Pixels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

SQUARE = 256
"""Pixels; side of the squares that a scene's scores are kept for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """The maps of a scene by what drew them, its plan by contender, and the truth's mean colour."""

    asked: Evaluation
    contenders: tuple[Contender, ...]
    maps: Mapping[str, Path]
    plans: Mapping[str, Plan]
    palette: Palette | None
    baseline: npt.NDArray[np.float64]

    @property
    def spec(self) -> SceneSpec:
        """The scene's header, and so its maps' size and place."""
        return self.plans["model"].map_grid

    @property
    def bands(self) -> int:
        """Of the map."""
        return self.contenders[0].card.generator.out_bands

    @contextmanager
    def truth(self) -> Iterator[Truth]:
        """Open the truth; raises what `open_truth` raises."""
        with open_truth(
            self.asked.truth or "",
            onto=self.spec,
            bands=self.bands,
            palette=self.palette,
            style=self.asked.read_style(),
        ) as truth:
            yield truth

    @contextmanager
    def readers(self) -> Iterator[dict[str, OrderedRows]]:
        """Open every map."""
        with ExitStack() as stack:
            yield {
                key: OrderedRows(stack.enter_context(open_source(map_source(path, self.spec))))
                for key, path in self.maps.items()
            }


def measure_scene(asked: Evaluation, contenders: list[Contender], folder: Path) -> Measured:
    """Draw the scene by each contender, and compare with the truth; ``folder`` is temporary.

    Raises
    ------
    SceneError, OptionError
        When the truth does not fit the scene or the map.
    ModelError
        When the file of Inception is no such network; nothing has been drawn yet.
    """
    drawn, requests = _plan(asked, contenders, folder)
    network = None if asked.inception is None else _inception(asked, drawn)
    _draw(asked, requests)
    tables, inception = _score(drawn, network)
    found = _measure_seams(drawn, folder) if asked.seams else {}
    seam_picture = _seam_picture(drawn, found["model"]) if found and asked.page else None
    return Measured(
        names=tuple(_name(square) for square in _squares(drawn.spec)),
        tables=tables,
        scaling=contenders[0].card.map,
        palette=drawn.palette,
        show=_Shower(drawn).show,
        drawn=drawn_by_plans(contenders, drawn.plans),
        modes_precision=_modes_precision(drawn),
        seams={key: seams.figures for key, seams in found.items()},
        inception=inception,
        seam_picture=seam_picture,
    )


def _plan(
    asked: Evaluation, contenders: list[Contender], folder: Path
) -> tuple[Drawn, dict[str, Request]]:
    """Return what is to be drawn, the truth looked at, and the requests that draw it."""
    palette = choose_palette(asked, contenders[0].card)
    requests = {}
    for entry in contenders:
        _check_int8(entry, asked)
        path = _model_file(entry, entry.statistics, folder)
        requests[entry.key] = asked.request(path, _map_path(asked, entry.key, folder))
    plans = {key: make_probe_plan(request) for key, request in requests.items()}
    requests |= _mode_requests(contenders[0], plans["model"], asked=asked, folder=folder)
    drawn = Drawn(
        asked=asked,
        contenders=tuple(contenders),
        maps={key: request.out for key, request in requests.items()},
        plans=plans,
        palette=palette,
        baseline=np.zeros(0),
    )
    return replace(drawn, baseline=_mean_of_truth(drawn)), requests


def _draw(asked: Evaluation, requests: Mapping[str, Request]) -> None:
    """Make the maps."""
    for key, request in requests.items():
        is_kept = request.out == asked.map_path
        translate(
            request.scene,
            request.out,
            **dict(asked.translation) | {"precision": request.precision},
            model=request.model,
            format=None if is_kept else "GTiff",
            overwrite=asked.overwrite,
            on_progress=_staged(asked, f"map by {key}"),
        )


def _mode_requests(
    contender: Contender, plan: Plan, *, asked: Evaluation, folder: Path
) -> dict[str, Request]:
    """Return the maps by other statistics of the norm layers, by what they are called.

    All modes are drawn in one precision. Ranges for 8 bits hold for the kept statistics alone, so
    beside a map in int8 the modes are in float32, and the one that the map has is drawn again. A
    map of tiles' centres has no other mode: by a tile's own statistics it cannot be drawn.
    """
    if not asked.modes or asked.translation.get("blend") == EXACT:
        return {}
    modes = contender.other_statistics(("running", "tile"))
    is_int8 = plan.lane.engine.precision == "int8"
    if modes and is_int8:
        modes = [contender.statistics, *modes]
    return {
        mode: asked.request(
            _model_file(contender, mode, folder),
            _map_path(asked, mode, folder),
            precision="fp32" if is_int8 else plan.request.precision,
        )
        for mode in modes
    }


def _check_int8(contender: Contender, asked: Evaluation) -> None:
    """Refuse 8 bits with statistics that their ranges were not measured with."""
    is_asked_for = asked.translation.get("precision") == "int8"
    if is_asked_for and contender.statistics != contender.own_statistics:
        raise OptionError(
            f"precision int8 with {contender.statistics} statistics of the norm layers: ranges for "
            f"8 bits are those of the card's, {contender.own_statistics} (give --precision fp32, "
            "or leave --statistics out)"
        )


def _model_file(contender: Contender, mode: str, folder: Path) -> Path:
    """Return a model file whose card names a mode: the contender's own where it does."""
    if mode == contender.own_statistics:
        return Path(contender.path)
    path = folder / f"{contender.key}_{mode}.safetensors"
    # ranges for 8 bits were measured with the card's own statistics
    card = replace(contender.card, norm_statistics=mode, int8=None)
    save_model(path, contender.model.generator, card)
    return path


def _map_path(asked: Evaluation, key: str, folder: Path) -> Path:
    if key == "model" and asked.map_path is not None:
        return asked.map_path
    return folder / f"map_{key}.tif"


def _mean_of_truth(drawn: Drawn) -> npt.NDArray[np.float64]:
    """Return the mean colour of the truth where it is valid, rounded, (K,)."""
    total, count = np.zeros(drawn.bands), 0
    with drawn.truth() as truth:
        for rows in row_spans(drawn.spec.height, SQUARE):
            part = truth.read(rows=rows)
            _check_type(drawn, part)
            total += np.where(part.valid, part.pixels, 0).sum(axis=(1, 2), dtype=np.float64)
            count += int(part.valid.sum())
    if not count:
        raise SceneError(
            f"{drawn.asked.truth}: says nothing of {drawn.spec.path} "
            "(check that both show the same ground)"
        )
    return np.rint(total / count)


def _check_type(drawn: Drawn, part: TruthRows) -> None:
    expected = drawn.contenders[0].card.map.dtype
    if str(part.pixels.dtype) != expected or len(part.pixels) != drawn.bands:
        raise SceneError(
            f"{drawn.asked.truth}: {len(part.pixels)} bands of {part.pixels.dtype}, the map has "
            f"{drawn.bands} of {expected} (give the truth in the map's values)"
        )


def _score(
    drawn: Drawn, network: Inception | None
) -> tuple[dict[str, Floats], dict[str, dict[str, Any]]]:
    """Read maps and truth once, from top to bottom; return rows of sums, and Inception scores."""
    spec, card = drawn.spec, drawn.contenders[0].card
    scales = scale_count(spec.height, spec.width)
    counter = Counter(card.map, palette=drawn.palette, scales=scales)
    keys = [*drawn.maps, BASELINE]
    squares = list(_squares(spec))
    tables = {key: np.zeros((len(squares), counter.width)) for key in keys}
    judged = {entry.key for entry in drawn.contenders} if network is not None else set()
    judges = {key: InceptionScores(network, seed=drawn.asked.seed) for key in sorted(judged)}  # type: ignore[arg-type]
    told = _staged(drawn.asked, "compare")
    with drawn.truth() as truth, drawn.readers() as readers:
        for i, patches in enumerate(_patches(drawn, truth, readers)):
            for key, patch in patches.items():
                tables[key][i] = counter.count(patch)
                if key in judges:
                    _judge(judges[key], patch)
            told(Progress(stage="", done=i + 1, total=len(squares), unit="squares"))
    return tables, {key: judge.scores() for key, judge in judges.items()}


def _patches(
    drawn: Drawn, truth: Truth, readers: Mapping[str, OrderedRows]
) -> Iterator[dict[str, Patch]]:
    """Yield the patches of each square by what drew them, in reading order."""
    height, width = drawn.spec.height, drawn.spec.width
    for rows in row_spans(height, SQUARE):
        near = max(0, rows[0] - MARGIN), min(height, rows[1] + MARGIN)
        real = truth.read(rows=near)
        made = {key: reader.read(rows=near) for key, reader in readers.items()}
        valid = real.valid & np.logical_and.reduce([seen for _pixels, seen in made.values()])
        flat = np.broadcast_to(
            drawn.baseline.astype(real.pixels.dtype)[:, None, None], real.pixels.shape
        )
        pixels = {key: part for key, (part, _seen) in made.items()} | {BASELINE: flat}
        for cols in row_spans(width, SQUARE):
            beside = slice(max(0, cols[0] - MARGIN), min(width, cols[1] + MARGIN))
            shared: dict[str, Any] = {
                "real": real.pixels[:, :, beside],
                "valid": valid[:, beside],
                "classes": None if real.classes is None else real.classes[:, beside],
                "rows": (rows[0] - near[0], rows[1] - near[0]),
                "cols": (cols[0] - beside.start, cols[1] - beside.start),
                "around": ((rows[0], height - rows[1]), (cols[0], width - cols[1])),
            }
            yield {key: Patch(made=part[:, :, beside], **shared) for key, part in pixels.items()}


def _squares(spec: SceneSpec) -> Iterator[tuple[Span, Span]]:
    for rows in row_spans(spec.height, SQUARE):
        for cols in row_spans(spec.width, SQUARE):
            yield rows, cols


def _name(square: tuple[Span, Span]) -> str:
    return f"row {square[0][0]}, column {square[1][0]}"


def _inception(asked: Evaluation, drawn: Drawn) -> Inception:
    if drawn.bands != 3 or drawn.contenders[0].card.map.dtype != "uint8":
        raise SceneError(
            f"{drawn.spec.path}: Inception looks at maps of three bands of uint8 "
            "(leave --inception out)"
        )
    return Inception(asked.inception or "", device=drawn.plans["model"].lane.engine.device)


def _judge(judge: InceptionScores, patch: Patch) -> None:
    """Show whole squares without a gap to Inception."""
    inner = (slice(*patch.rows), slice(*patch.cols))
    if patch.valid[inner].shape == (SQUARE, SQUARE) and patch.valid[inner].all():
        made, real = (
            torch.from_numpy(np.ascontiguousarray(pixels[:, *inner]))[None]
            for pixels in (patch.made, patch.real)
        )
        judge.add(made, real)


def _measure_seams(drawn: Drawn, folder: Path) -> dict[str, Seams]:
    """Return the seams of each contender's map; those of resampled ones lie between pixels."""
    if any(plan.is_brought_back for plan in drawn.plans.values()):
        logger.warning("%s: no seams with --gsd model: its map is resampled", drawn.spec.path)
        return {}
    found = {}
    for entry in drawn.contenders:
        with drawn.truth() as truth:

            def read(rows: Span, truth: Truth = truth) -> tuple[Pixels, Mask]:
                part = truth.read(rows=rows)
                return part.pixels, part.valid

            plan = drawn.plans[entry.key]
            found[entry.key] = probe(
                plan,
                drawn.maps[entry.key],
                folder=folder,
                palette=drawn.palette,
                truth=read,
                modes=_mode_maps(drawn) if entry.key == "model" else None,
            )
    return found


def _modes_precision(drawn: Drawn) -> str | None:
    """Return the precision of the maps of all modes; None where there is one mode."""
    own = drawn.plans["model"].lane.engine.precision
    return None if _mode_maps(drawn) is None else "fp32" if own == "int8" else own


def _mode_maps(drawn: Drawn) -> tuple[Path, Path] | None:
    """Return the maps by the model's own and by the other statistics, both in one precision."""
    found = [path for key, path in drawn.maps.items() if key not in ("model", "against")]
    return (found[0] if len(found) > 1 else drawn.maps["model"], found[-1]) if found else None


def _seam_picture(drawn: Drawn, seams: Seams) -> bytes:
    """Return a PNG: the map, where tiles disagree, and where a shifted lattice draws otherwise."""
    with open_source(map_source(drawn.maps["model"], drawn.spec)) as drawn_map:
        pixels, valid = drawn_map.thumbnail(HEAT_SIDE)
    panels: list[tuple[str, Any]] = [("map", _on_white(_as_picture(pixels, drawn), valid))]
    for title, found in (
        ("overlapping tiles: RMS difference", seams.overlap),
        ("shifted lattice: RMS difference", seams.shift),
        ("other statistics: RMS difference", seams.statistics),
    ):
        if found is not None:
            panels.append((title, found.heat.picture()))
    return draw_panels(panels)


def _as_picture(pixels: Pixels, drawn: Drawn) -> Picture:
    values = torch.from_numpy(np.ascontiguousarray(pixels).astype(np.float32))
    return as_rgb(values, drawn.contenders[0].card.map)


def _on_white(picture: Picture, valid: Mask) -> Picture:
    return np.where(valid[..., np.newaxis], picture, np.uint8(255))


class _Shower:
    """Reads the pictures of single squares; the maps must still be there."""

    def __init__(self, drawn: Drawn) -> None:
        self._drawn = drawn
        self._squares = list(_squares(drawn.spec))

    def show(self, item: int) -> Shown:
        """Return scene, truth and the contenders' maps of a square, no data in white."""
        drawn = self._drawn
        rows, cols = self._squares[item]
        scene, valid = self._scene(rows, cols)
        shown = [("scene", scene)]
        with drawn.truth() as truth:
            real = truth.read(rows=rows).pixels[:, :, slice(*cols)]
        shown.append(("truth", _as_picture(real, drawn)))
        for entry in drawn.contenders:
            with open_source(map_source(drawn.maps[entry.key], drawn.spec)) as drawn_map:
                pixels, _valid = drawn_map.read(rows=rows, cols=cols)
            shown.append((entry.card.name, _as_picture(pixels, drawn)))
        return [(title, _on_white(picture, valid)) for title, picture in shown]

    def _scene(self, rows: Span, cols: Span) -> tuple[Picture, Mask]:
        job = self._drawn.plans["model"].job
        with open_source(job.source) as scene:
            pixels, valid = _window(scene, rows, cols)
        unit = job.stretch.to_unit(np.where(valid, pixels, pixels.dtype.type(0)))
        grey = torch.from_numpy((unit + 1) * 127.5)
        values = replace(self._drawn.contenders[0].card.map, low=0.0, high=255.0)
        return as_rgb(grey, values), valid


def _window(scene: Scene, rows: Span, cols: Span) -> tuple[Pixels, Mask]:
    if not scene.spec.is_sequential:
        return scene.read(rows=rows, cols=cols)
    pixels, valid = OrderedRows(scene).read(rows=rows)
    return pixels[:, :, slice(*cols)], valid[:, slice(*cols)]


def _staged(asked: Evaluation, stage: str) -> Any:  # noqa: ANN401
    def told(progress: Progress) -> None:
        asked.on_progress(replace(progress, stage=stage))

    return told
