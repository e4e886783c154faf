"""A strip painted by the generator, on its device and in its thread.

    cut -> stretch -> fill -> generate -> blend -> round, a batch at a time

Rows go to the device once, in the scene's type; the finished strip comes back once, in the map's.
Nothing waits for the device in between, so that a GPU has the next strip at hand when it is done
with one.
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geop2p.canvas import StripCanvas
from geop2p.cutting import Run, TileCutter, runs_of
from geop2p.errors import ModelError
from geop2p.generator import ReadyGenerator, told_when_out_of_memory
from geop2p.grid import Strip, Tile, TileGrid
from geop2p.parts import Shares
from geop2p.pipelines.confidence import ConfidenceSpec
from geop2p.pipelines.confidence_sheet import ConfidenceSheet, places_of
from geop2p.radiometry import MapValues, Stretch
from geop2p.stretching import MapDrawing, UnitScale, map_dtype
from geop2p.transfer import Bus, Returning, Timeline

Pixels = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StripWork:
    """Everything that a strip is painted from.

    Parameters
    ----------
    grid, strip, blend, stretch, values, batch_size, confidence
        As in `geop2p.pipelines.strips.StripJob`.
    pixels : (C, h, W) Tensor in the scene's type
        Rows of the scene, staged for the device.
    valid : (h, W) bool Tensor, or None
        None: all are valid.
    first : int
        The scene's row that they start with.
    tiles : sequence of Tile
        Those with a valid pixel, tile row by tile row.
    partial : set of Tile
        Those of them with invalid pixels.
    """

    grid: TileGrid
    strip: Strip
    blend: str
    stretch: Stretch
    values: MapValues
    batch_size: int
    confidence: ConfidenceSpec | None
    pixels: Tensor
    valid: Tensor | None
    first: int
    tiles: Sequence[Tile]
    partial: AbstractSet[Tile]


class Painting:
    """A strip that is painted, or queued on a device to be."""

    def __init__(self, returning: Returning, timeline: Timeline) -> None:
        self._returning, self._timeline = returning, timeline

    def wait(self) -> tuple[Floats, Pixels, Floats, Shares | None]:
        """Return head, inner rows and foot, (K, h, W) each, when they are done.

        Last come the shares of the confidence raster, where one is asked for.

        Raises
        ------
        ModelError
            When the generator drew NaN.
        """
        head, inner, foot, largest, *rest = self._returning.wait()
        if np.isnan(largest).any() or any(np.isnan(shares).any() for shares in rest):
            raise ModelError(
                "the generator drew NaN (are the weights sound, is the scene's range finite?)"
            )
        shares = Shares(head=rest[0], inner=rest[1], foot=rest[2]) if rest else None
        return head, inner, foot, shares

    def seconds(self) -> Mapping[str, float]:
        """Return what the device needed by stage, after `wait`."""
        return self._timeline.seconds()


@torch.inference_mode()
def paint(work: StripWork, generator: ReadyGenerator) -> Painting:
    """Paint a strip; for the generator's thread.

    Raises
    ------
    ModelError
        When the generator fails its contract.
    OutOfMemoryError
        When the device has no memory for a batch, or this process none for the strip.
    """
    timeline = Timeline(generator.device)
    with told_when_out_of_memory("a strip"):
        sheet = _Sheet(work, generator.device)
        for runs, tiles in _batches(work, sheet):
            timeline.mark("prepare")
            pictures = generator(tiles)
            variances = _variances(generator, tiles, work=work, runs=runs)
            timeline.mark("generate")
            sheet.add(runs, pictures, variances)
            timeline.mark("blend")
        finished = sheet.finished()
        timeline.mark("blend")
        return Painting(_bus(generator.device).fetch(finished), timeline)


def _variances(
    generator: ReadyGenerator, tiles: Tensor, *, work: StripWork, runs: Sequence[Run]
) -> Tensor | None:
    """Return how far pictures drawn with dropout differ, where that is asked for."""
    if work.confidence is None or work.confidence.sampling is None:
        return None
    places = [place for run in runs for place in places_of(work.grid, run)]
    return generator.variance(tiles, places)


@lru_cache(maxsize=8)
def _bus(device: torch.device) -> Bus:
    return Bus(device)


def _batches(work: StripWork, sheet: "_Sheet") -> Iterator[tuple[list[Run], Tensor]]:
    """Yield batches of tiles, (n, C, side, side) float32, and the runs that they are."""
    remaining = iter(work.tiles)
    while batch := list(islice(remaining, work.batch_size)):
        runs = list(runs_of(batch))
        parts = [
            sheet.cutter.cut(run, partial=[tile.col for tile in _tiles(run) & work.partial])
            for run in runs
        ]
        yield runs, parts[0] if len(parts) == 1 else torch.cat(parts)


def _tiles(run: Run) -> AbstractSet[Tile]:
    return {Tile(row=run.row, col=col) for col in range(*run.cols)}


class _Sheet:
    """The strip on the device: where tiles are cut from, and where its finished rows go."""

    def __init__(self, work: StripWork, device: torch.device) -> None:
        self._work, self._device = work, device
        bus = _bus(device)
        dtype = str(work.pixels.dtype).removeprefix("torch.")
        valid = None if work.valid is None else bus.send(work.valid)
        self.cutter = TileCutter(
            work.grid,
            bus.send(work.pixels),
            valid,
            first=work.first,
            scale=UnitScale(work.stretch, dtype, pixels=work.grid.side, device=device),
        )
        start, stop = work.grid.painted_rows(work.strip)
        self._rows = stop - start
        self._valid = None if valid is None else valid[start - work.first : stop - work.first]
        self._canvas: StripCanvas | None = None
        self._confidence: ConfidenceSheet | None = None
        self._done = 0
        self._largest: list[Tensor] = []

    def add(self, runs: Sequence[Run], pictures: Tensor, variances: Tensor | None) -> None:
        """Add a batch of pictures, and their variances over samples, (n, K, side, side) float32."""
        canvas = self._canvas or self._begun(pictures.shape[1])
        counts = [len(run) for run in runs]
        parts = torch.split(pictures, counts)
        spreads = [None] * len(runs) if variances is None else torch.split(variances, counts)
        for run, part, spread in zip(runs, parts, spreads, strict=True):
            self._finish_rows(canvas, run.row)
            if self._confidence is not None:
                self._confidence.add(run, part, spread)
            canvas.add(run, part)

    def finished(self) -> list[Tensor]:
        """Return head, inner rows, foot, and for each tile row a number that is NaN if any is.

        Then head, inner rows and foot of the confidence raster, where one is asked for.
        """
        # a strip without a valid pixel has one band of zeros; all bands are alike there
        canvas = self._canvas or self._begun(1)
        self._finish_rows(canvas, self._work.strip.last)
        rest = [] if self._confidence is None else self._confidence.finished()
        return [self._head, self._inner, self._foot, torch.stack(self._largest), *rest]

    def _begun(self, bands: int) -> StripCanvas:
        work, width = self._work, self._work.grid.width
        self._drawing = MapDrawing(work.values, bands=bands, pixels=width, device=self._device)
        head, foot = work.grid.head(work.strip), work.grid.foot(work.strip)
        self._head, self._foot = (
            torch.empty((bands, rows, width), device=self._device) for rows in (head, foot)
        )
        self._inner = torch.empty(
            (bands, self._rows - head - foot, width),
            dtype=map_dtype(work.values.dtype),
            device=self._device,
        )
        if work.confidence is not None:
            self._confidence = ConfidenceSheet(
                work.confidence,
                grid=work.grid,
                strip=work.strip,
                blend=work.blend,
                values=work.values,
                bands=bands,
                device=self._device,
            )
        self._canvas = StripCanvas(
            work.grid, work.strip, blend=work.blend, bands=bands, device=self._device
        )
        return self._canvas

    def _finish_rows(self, canvas: StripCanvas, row: int) -> None:
        """Finish the tile rows above ``row``."""
        while canvas.row < row:
            blended = canvas.finish_row()
            self._largest.append(blended.amax())
            bands = len(self._inner)
            self._put(blended[: self._rows - self._done, : self._work.grid.width * bands])

    def _put(self, blended: Tensor) -> None:
        """Put rows of the strip, (h, W * K) float32, to head, inner rows and foot."""
        bands, head, inner = len(self._inner), self._head.shape[1], self._inner.shape[1]
        lo, hi = self._done, self._done + len(blended)
        self._done = hi
        planes = blended.view(len(blended), -1, bands).permute(2, 0, 1)
        if lo < head:
            self._head[:, lo:hi] = planes[:, : head - lo]
        if hi > head + inner:
            first = max(lo, head + inner)
            self._foot[:, first - head - inner : hi - head - inner] = planes[:, first - lo :]
        first, last = max(lo, head), min(hi, head + inner)
        if first < last:
            self._drawing.draw(
                blended[first - lo : last - lo],
                None if self._valid is None else self._valid[first:last],
                into=self._inner[:, first - head : last - head],
            )
