"""The work of one Dask task: a strip of the scene becomes a strip of the map.

    read rows -> find tiles -> painted in the generator's lane -> result

Every step is a plain function of the job and the strip; nothing is kept between tasks. While one
strip is in the lane, the next is read, and the one before is packed.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from geop2p.errors import Geop2pError
from geop2p.grid import Span, Strip, Tile, TileGrid
from geop2p.parts import StripResult
from geop2p.pipelines.confidence import ConfidenceSpec
from geop2p.pipelines.lanes import find_lane
from geop2p.pipelines.painting import StripWork, paint
from geop2p.radiometry import MapValues, Stretch
from geop2p.raster.reader import find_reader
from geop2p.raster.scene import OrderedRows, Scene, SceneSource
from geop2p.transfer import staged

Pixels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class StripJob:
    """What every strip of a run has in common; small, and safe to send to a worker.

    Parameters
    ----------
    source : SceneSource
        The scene.
    grid : TileGrid
        Its lattice of tiles.
    blend : str
        One of `geop2p.blend.BLEND_NAMES`.
    stretch : Stretch
        Native values to [-1, 1].
    values : MapValues
        [-1, 1] to the map's values.
    lane : str
        Key of the generator lane.
    batch_size : int, tiles
        How many tiles are generated at a time.
    confidence : ConfidenceSpec or None
        What is measured of the map while it is painted.
    """

    source: SceneSource
    grid: TileGrid
    blend: str
    stretch: Stretch
    values: MapValues
    lane: str
    batch_size: int
    confidence: ConfidenceSpec | None = None


@dataclass(frozen=True, slots=True)
class StripRows:
    """The scene's rows from ``first`` on: (C, h, W) pixels and (h, W) valid.

    ``unreadable`` has the first row of each block among them that could not be decoded.
    """

    first: int
    pixels: Pixels
    valid: Mask
    unreadable: tuple[int, ...] = ()


def read_span(reader: Scene | OrderedRows, span: Span) -> StripRows:
    """Read rows of a scene; raises what `Scene.read` raises."""
    pixels, valid = reader.read(rows=span)
    return StripRows(span[0], pixels, valid, unreadable=reader.unreadable_rows(span))


class Stopwatch:
    """Adds up seconds by stage, and other counts."""

    def __init__(self) -> None:
        self.counts: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Add the time spent inside to ``seconds_STAGE``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(f"seconds_{stage}", time.perf_counter() - start)

    def add(self, name: str, amount: float) -> None:
        """Add to a count."""
        self.counts[name] += amount


def translate_strip(job: StripJob, strip: Strip, rows: StripRows | None = None) -> StripResult:
    """Translate one strip; ``rows`` are the scene's, when somebody else has read them.

    Raises
    ------
    SceneError
        When the scene cannot be read.
    ModelError
        When the generator fails its contract.
    """
    try:
        return _translated(job, strip, rows)
    except Geop2pError as exc:
        # rasterio's errors do not survive pickling, and would take ours with them
        exc.__cause__ = exc.__context__ = None
        raise


def _translated(job: StripJob, strip: Strip, rows: StripRows | None) -> StripResult:
    watch = Stopwatch()
    if rows is None:
        with watch.time("read"):
            rows = read_rows(job, strip)
    lane = find_lane(job.lane)
    with watch.time("prepare"):
        work = _work(job, strip, rows, device=lane.device)
        _count(job, strip, rows, watch=watch)
        watch.add("tiles", len(work.tiles))
        watch.add(
            "tiles_skipped", (strip.last - strip.first) * job.grid.tile_cols - len(work.tiles)
        )
    painting = lane.run(partial(paint, work))
    head, inner, foot, confidence = painting.wait()
    for stage, seconds in painting.seconds().items():
        watch.add(f"seconds_{stage}", seconds)
    start, stop = job.grid.painted_rows(strip)
    return StripResult(
        strip=strip,
        head=head,
        inner=inner,
        foot=foot,
        valid=rows.valid[start - rows.first : stop - rows.first],
        counts=dict(watch.counts),
        confidence=confidence,
    )


def needed_rows(grid: TileGrid, strip: Strip) -> Span:
    """Return the rows of the scene that a strip's tiles show, reflections included."""
    shown = grid.source_rows(strip)
    return int(shown.min()), int(shown.max()) + 1


def read_rows(job: StripJob, strip: Strip) -> StripRows:
    """Read what a strip needs; the scene stays open until the lane is closed."""
    span = needed_rows(job.grid, strip)
    is_cpu = find_lane(job.lane).device.type == "cpu"  # there the generator takes every core
    reader = find_reader(job.lane, job.source, threads=1 if is_cpu else None)
    pixels, valid, unreadable = reader.read(rows=span)
    return StripRows(span[0], pixels, valid, unreadable=unreadable)


def _work(job: StripJob, strip: Strip, rows: StripRows, *, device: torch.device) -> StripWork:
    """Say which tiles are painted, and from what."""
    tiles, partial_tiles = list(job.grid.tiles(strip)), frozenset[Tile]()
    is_whole = bool(rows.valid.all())
    if not is_whole:
        tiles = [tile for tile in tiles if _has_valid_pixel(job.grid, tile, rows)]
        partial_tiles = frozenset(
            tile for tile in tiles if _has_invalid_pixel(job.grid, tile, rows)
        )
    return StripWork(
        grid=job.grid,
        strip=strip,
        blend=job.blend,
        stretch=job.stretch,
        values=job.values,
        batch_size=job.batch_size,
        confidence=job.confidence,
        pixels=staged(rows.pixels, device),
        valid=None if is_whole else staged(rows.valid, device),
        first=rows.first,
        tiles=tiles,
        partial=partial_tiles,
    )


def _has_valid_pixel(grid: TileGrid, tile: Tile, rows: StripRows) -> bool:
    """Return whether what a tile paints of the scene has a valid pixel."""
    top, bottom = grid.rows(tile.row)
    left, right = grid.cols(tile.col)
    inside = rows.valid[top - rows.first : min(bottom, grid.height) - rows.first, left:right]
    return bool(inside.any())


def _has_invalid_pixel(grid: TileGrid, tile: Tile, rows: StripRows) -> bool:
    """Return whether a tile shows an invalid pixel: halo and reflections included."""
    top, bottom = needed_rows(grid, Strip(first=tile.row, last=tile.row + 1))
    cols = grid.source_cols(tile.col)
    shown = rows.valid[top - rows.first : bottom - rows.first, cols.min() : cols.max() + 1]
    return not shown.all()


def _count(job: StripJob, strip: Strip, rows: StripRows, *, watch: Stopwatch) -> None:
    """Count what is clipped, unreadable or invalid in the rows that are a strip's own."""
    own = job.grid.own_rows(strip)
    own_rows = slice(own[0] - rows.first, own[1] - rows.first)
    valid = rows.valid[own_rows]
    clipped = job.stretch.count_clipped(rows.pixels[:, own_rows], valid)
    watch.add("values_clipped", clipped)
    # a block is counted by the one strip that owns its first row
    watch.add("blocks_unreadable", sum(own[0] <= row < own[1] for row in rows.unreadable))
    watch.add("pixels_invalid", valid.size - int(np.count_nonzero(valid)))
