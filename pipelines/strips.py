"""The work of one Dask task: a strip of the scene becomes a strip of the map.

    read rows -> cut tiles -> stretch and fill -> generator lane -> blend -> round

Every step is a plain function of the job and the strip; nothing is kept between tasks.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from geop2p.blend import StripCanvas
from geop2p.errors import Geop2pError
from geop2p.fill import fill_invalid
from geop2p.grid import Span, Strip, Tile, TileGrid
from geop2p.parts import StripResult
from geop2p.pipelines.lanes import Lane, find_lane
from geop2p.radiometry import MapValues, Stretch
from geop2p.raster.scene import OrderedRows, Scene, SceneSource, open_source

Pixels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]


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
        A key of `geop2p.blend.BLENDS`.
    stretch : Stretch
        Native values to [-1, 1].
    values : MapValues
        [-1, 1] to the map's values.
    lane : str
        Key of the generator lane.
    batch_size : int, tiles
        How many tiles go to the lane at a time.
    """

    source: SceneSource
    grid: TileGrid
    blend: str
    stretch: Stretch
    values: MapValues
    lane: str
    batch_size: int


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
    tiles = [tile for tile in job.grid.tiles(strip) if _has_valid_pixel(job.grid, tile, rows)]
    canvas = None
    for tile, picture in _pictures(job, tiles, rows, watch=watch):
        with watch.time("blend"):
            if canvas is None:
                canvas = StripCanvas(job.grid, strip, blend=job.blend, bands=len(picture))
            canvas.add(tile, picture)
    watch.add("tiles", len(tiles))
    watch.add("tiles_skipped", (strip.last - strip.first) * job.grid.tile_cols - len(tiles))
    with watch.time("blend"):
        return _result(job, strip, canvas, rows=rows, watch=watch)


def needed_rows(grid: TileGrid, strip: Strip) -> Span:
    """Return the rows of the scene that a strip's tiles show, reflections included."""
    shown = grid.source_rows(strip)
    return int(shown.min()), int(shown.max()) + 1


def read_rows(job: StripJob, strip: Strip) -> StripRows:
    """Open the scene and read what a strip needs."""
    span = needed_rows(job.grid, strip)
    with open_source(job.source) as scene:
        return read_span(scene, span)


def _has_valid_pixel(grid: TileGrid, tile: Tile, rows: StripRows) -> bool:
    """Return whether the part of a tile that lies in the scene has a valid pixel."""
    top, bottom = grid.rows(tile.row)
    left, right = grid.cols(tile.col)
    inside = rows.valid[top - rows.first : min(bottom, grid.height) - rows.first, left:right]
    return bool(inside.any())


def _pictures(
    job: StripJob, tiles: Sequence[Tile], rows: StripRows, *, watch: Stopwatch
) -> Iterator[tuple[Tile, Floats]]:
    """Yield each tile with its picture, (K, size, size) float32, in the order of the tiles."""
    lane: Lane = find_lane(job.lane)
    remaining = iter(tiles)
    while batch := list(islice(remaining, job.batch_size)):
        with watch.time("prepare"):
            stack = np.stack([_unit_tile(job, tile, rows) for tile in batch])
        pictures, seconds = lane.generate(stack)
        watch.add("seconds_generate", seconds)
        yield from zip(batch, pictures, strict=True)


def _unit_tile(job: StripJob, tile: Tile, rows: StripRows) -> Floats:
    """Cut a tile, continue it past the scene's edges, stretch it and fill what is invalid."""
    strip = Strip(first=tile.row, last=tile.row + 1)
    shown_rows = job.grid.source_rows(strip) - rows.first
    shown_cols = job.grid.source_cols(tile.col)
    native = rows.pixels.take(shown_rows, axis=1).take(shown_cols, axis=2)  # (C, size, size)
    valid = rows.valid.take(shown_rows, axis=0).take(shown_cols, axis=1)  # (size, size)
    if valid.all():
        return job.stretch.to_unit(native)
    known = np.where(valid, native, native.dtype.type(0))  # NaN must not pass through the stretch
    return fill_invalid(job.stretch.to_unit(known), valid)


def _result(
    job: StripJob, strip: Strip, canvas: StripCanvas | None, *, rows: StripRows, watch: Stopwatch
) -> StripResult:
    """Split the blended strip into head, inner rows and foot, and round the inner rows."""
    start, stop = job.grid.painted_rows(strip)
    valid = rows.valid[start - rows.first : stop - rows.first]
    # a strip without a valid pixel has one band of zeros; all bands are alike there
    blended = np.zeros((1, *valid.shape), np.float32) if canvas is None else canvas.finished()
    head, foot = job.grid.head(strip), len(valid) - job.grid.foot(strip)
    own = job.grid.own_rows(strip)
    own_rows = slice(own[0] - rows.first, own[1] - rows.first)
    clipped = job.stretch.count_clipped(rows.pixels[:, own_rows], rows.valid[own_rows])
    watch.add("values_clipped", clipped)
    # a block is counted by the one strip that owns its first row
    watch.add("blocks_unreadable", sum(own[0] <= row < own[1] for row in rows.unreadable))
    watch.add("pixels_invalid", int(np.count_nonzero(~rows.valid[own_rows])))
    return StripResult(
        strip=strip,
        head=blended[:, :head],
        inner=job.values.draw(blended[:, head:foot], valid[head:foot]),
        foot=blended[:, foot:],
        valid=valid,
        counts=dict(watch.counts),
    )
