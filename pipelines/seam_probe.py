"""Seams of a scene's map: measured on the map, on single tiles, and on a map of another lattice."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from geop2p.cutting import Run, TileCutter
from geop2p.grid import Strip, TileGrid
from geop2p.palette import Palette
from geop2p.pipelines.channels import choose_source
from geop2p.pipelines.evaluation_items import map_source
from geop2p.pipelines.ground import choose_ground
from geop2p.pipelines.lattice import ALIGNMENT
from geop2p.pipelines.planning import Plan, choose_model, make_plan
from geop2p.pipelines.request import Request
from geop2p.pipelines.strips import StripJob, needed_rows
from geop2p.pipelines.translate import translate
from geop2p.progress import Progress
from geop2p.raster.copying import copy_window
from geop2p.raster.identity import identity_of
from geop2p.raster.mapformat import choose_format
from geop2p.raster.scene import OrderedRows, open_source
from geop2p.scores import plain
from geop2p.seams import Differences, Gradients, row_spans, shared
from geop2p.stretching import UnitScale

Pixels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
ReadRows = Callable[[tuple[int, int]], tuple[Pixels, Mask]]

ROWS = 64
"""Raster rows that are compared at a time."""
UNSHIFTED = (
    "bidx", "src_nodata", "mask_rule", "stretch", "allow_network", "on_read_error", "max_pixels",
)  # fmt: skip
"""Options of reading that the shifted copy has behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seams:
    """What was measured: plain numbers, and where tiles and lattices disagree."""

    figures: dict[str, Any]
    overlap: Differences | None
    shift: Differences | None
    statistics: Differences | None


def make_probe_plan(request: Request) -> Plan:
    """Return the plan of a translation, without checking its output or doing any of it."""
    chosen = choose_model(request)
    with open_source(request.source(None)) as scene:
        ground = choose_ground(request, scene.spec, chosen.card)
        source = choose_source(request, scene.spec, chosen.card)
    map_format = choose_format(request.out, driver=None, options={})
    identity = identity_of(request.source(None))
    with open_source(replace(source, size=ground.size)) as scene:
        return make_plan(
            request, scene, identity=identity, chosen=chosen, ground=ground, map_format=map_format
        )


def probe(
    plan: Plan,
    map_path: Path,
    *,
    folder: Path,
    palette: Palette | None,
    truth: ReadRows,
    modes: tuple[Path, Path] | None = None,
) -> Seams:
    """Measure the seams of a map that ``plan`` made; ``folder`` takes what is temporary.

    Parameters
    ----------
    modes : pair of paths or None
        The maps by the model's own and by other statistics of the norm layers, in one precision.
    truth : callable
        Reads rows of the true map: what its gradients are at the same lines, for comparison.
    """
    grid = plan.job.grid
    with open_source(map_source(map_path, plan.spec)) as drawn:
        gradients = _gradients(grid, lambda rows: drawn.read(rows=rows))
    true = _gradients(grid, truth)
    overlap = disagreement(plan) if grid.overlap and grid.tile_rows * grid.tile_cols > 1 else None
    shift = shift_difference(plan, map_path, folder=folder, palette=palette)
    statistics = None if modes is None else _map_difference(plan, *modes, palette=palette)
    figures: dict[str, Any] = {
        f"gradient_{name}": plain(value) for name, value in gradients[0].items()
    }
    figures["gradient_ratio_of_truth"] = plain(true[0]["ratio"])
    figures |= _figures("overlap", overlap, row=0, names=("rms",))
    figures["shift_pixels"] = None if shift is None else shift_pixels(grid)
    for what, found in (("shift", shift), ("statistics", statistics)):
        figures |= _figures(what, found, row=0, names=("rms", "mean", "changed"))
        if palette is None:
            figures[f"{what}_changed"] = None
    figures["tile_rows"] = [
        {"gradient_ratio": plain(gradients[row]["ratio"])}
        | _figures("overlap", overlap, row=row, names=("rms",))
        | _figures("shift", shift, row=row, names=("rms",))
        | _figures("statistics", statistics, row=row, names=("rms",))
        for row in range(1, grid.tile_rows + 1)
    ]
    return Seams(figures=figures, overlap=overlap, shift=shift, statistics=statistics)


def disagreement(plan: Plan) -> Differences:
    """Draw each tile by itself, and compare neighbours where they overlap, in the map's values."""
    job, found = plan.job, Differences(plan.job.grid)
    grid = job.grid
    above: dict[int, Pixels] = {}
    for tile_row, pictures, valid in _tile_rows(plan):
        top, bottom = tile_row * grid.stride, min(grid.rows(tile_row)[1], grid.height)
        foot = slice(grid.size - grid.overlap, grid.size)
        for col, picture in pictures.items():
            left, right = grid.cols(col)[0], min(grid.cols(col)[1], grid.width)
            if col - 1 in pictures:
                lo, hi = shared(grid, col)
                one = pictures[col - 1][:, : bottom - top, foot][:, :, : hi - lo]
                two = picture[:, : bottom - top, : hi - lo]
                found.add(one - two, valid[:, lo:hi], corner=(top, lo), tile_row=tile_row)
            if col in above:
                high = min(grid.overlap, grid.height - top)
                one, two = (x[:, :high, : right - left] for x in (above[col], picture))
                seen = valid[:high, left:right]
                found.add(one - two, seen, corner=(top, left), tile_row=tile_row)
        above = {col: picture[:, foot] for col, picture in pictures.items()}
    return found


def _tile_rows(plan: Plan) -> Iterator[tuple[int, dict[int, Pixels], Mask]]:
    """Yield each tile row: its pictures by tile column, in map values, and where rows are valid."""
    job, grid = plan.job, plan.job.grid
    total = grid.tile_rows * grid.tile_cols
    generator = plan.lane.load()
    with open_source(job.source) as scene:
        reader = OrderedRows(scene)
        for tile_row in range(grid.tile_rows):
            span = needed_rows(grid, Strip(first=tile_row, last=tile_row + 1))
            pixels, valid = reader.read(rows=span)
            cutter = _cutter(job, pixels, valid, first=span[0], device=generator.device)
            pictures: dict[int, Pixels] = {}
            for first in range(0, grid.tile_cols, job.batch_size):
                cols = range(first, min(first + job.batch_size, grid.tile_cols))
                partial = [col for col in cols if _is_partial(grid, col, valid)]
                tiles = cutter.cut(Run(row=tile_row, cols=(cols.start, cols.stop)), partial=partial)
                drawn = generator(tiles).float().cpu().numpy()
                for col, picture in zip(cols, drawn, strict=True):
                    whole = np.ones(picture.shape[1:], bool)
                    pictures[col] = job.values.draw(picture, whole).astype(np.float32)
                done = tile_row * grid.tile_cols + cols.stop
                plan.request.on_progress(
                    Progress(stage="overlaps", done=done, total=total, unit="tiles")
                )
            yield tile_row, pictures, valid[tile_row * grid.stride - span[0] :]


def _cutter(
    job: StripJob, pixels: Pixels, valid: Mask, *, first: int, device: torch.device
) -> TileCutter:
    """Return what cuts tiles as the generator sees them in a translation."""
    native = torch.from_numpy(np.ascontiguousarray(pixels)).to(device)
    mask = None if valid.all() else torch.from_numpy(np.ascontiguousarray(valid)).to(device)
    scale = UnitScale(job.stretch, pixels.dtype.name, pixels=job.grid.side, device=device)
    return TileCutter(job.grid, native, mask, first=first, scale=scale)


def _is_partial(grid: TileGrid, col: int, valid: Mask) -> bool:
    """Return whether a tile has pixels of both kinds, and so is filled."""
    seen = valid[:, grid.source_cols(col)]
    return bool(seen.any() and not seen.all())


def shift_pixels(grid: TileGrid) -> int:
    """Return how far the other lattice is from the scene's, in each direction."""
    half = grid.stride // 2
    return half // ALIGNMENT * ALIGNMENT if grid.halo else half


def shift_difference(
    plan: Plan, map_path: Path, *, folder: Path, palette: Palette | None
) -> Differences | None:
    """Draw the scene again without its first rows and columns, half a stride of each, and compare.

    None where the scene has one tile, or nothing is left of it. Where only centres are used, the
    half is rounded to what strides align, and a halo at the new edges is left out: the generator
    saw the scene there, and sees its reflection.
    """
    grid = plan.job.grid
    step = shift_pixels(grid)
    if grid.tile_rows * grid.tile_cols == 1 or min(grid.height, grid.width) <= step + grid.halo:
        return None
    copy, shifted = folder / "shifted_scene.tif", folder / "shifted_map.tif"
    copy_window(plan.job.source, copy, rows=(step, grid.height), cols=(step, grid.width))
    _translate_copy(plan, copy, shifted)
    copy.unlink()
    found = _map_difference(plan, map_path, shifted, palette=palette, step=step)
    shifted.unlink()
    return found


def _map_difference(
    plan: Plan, map_path: Path, other_path: Path, *, palette: Palette | None, step: int = 0
) -> Differences:
    """Compare two maps of the scene, the other one without its first ``step`` rows and columns."""
    grid = plan.job.grid
    found = Differences(grid)
    maps = (map_source(path, plan.spec) for path in (map_path, other_path))
    with open_source(next(maps)) as drawn, open_source(next(maps)) as other:
        skipped = grid.halo if step else 0
        first = step + skipped
        for lo, hi in row_spans(grid.height - first, ROWS):
            one, valid = drawn.read(rows=(lo + first, hi + first), cols=(first, grid.width))
            two, seen = other.read(
                rows=(lo + skipped, hi + skipped), cols=(skipped, grid.width - step)
            )
            changed = None if palette is None else palette.nearest(one) != palette.nearest(two)
            distance = one.astype(np.float32) - two.astype(np.float32)
            found.add(distance, valid & seen, corner=(lo + first, first), is_changed=changed)
    return found


def _translate_copy(plan: Plan, copy: Path, out: Path) -> None:
    request, stretch = plan.request, plan.job.stretch
    ranges = [
        f"{float(low)!r},{float(high)!r}"
        for low, high in zip(stretch.low, stretch.high, strict=True)
    ]
    defaults = Request(scene=str(copy), out=out)
    kept = {
        name: getattr(request, name)
        for name in Request.__dataclass_fields__
        if name not in (*UNSHIFTED, "scene", "out", "preview", "on_progress")
        and getattr(request, name) != getattr(defaults, name)
    }

    def told(progress: Progress) -> None:
        request.on_progress(replace(progress, stage="shifted map"))

    pixels = plan.job.grid.height * plan.job.grid.width
    translate(copy, out, **kept, stretch=ranges, max_pixels=max(1, pixels), on_progress=told)


def _gradients(grid: TileGrid, read: ReadRows) -> list[dict[str, float]]:
    gradients = Gradients(grid)
    for rows in row_spans(grid.height, ROWS):
        gradients.add(*read(rows), first=rows[0])
    return gradients.measured()


def _figures(
    what: str, found: Differences | None, *, row: int, names: tuple[str, ...]
) -> dict[str, float | None]:
    """Return figures of the whole (row 0), or of a tile row (from 1)."""
    if found is None:
        return {f"{what}_{name}": None for name in names}
    measured = found.measured()[row]
    return {f"{what}_{name}": plain(measured[name]) for name in names}
