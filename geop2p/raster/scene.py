"""A scene: the raster that goes in, opened once and read by windows.

Pixels are (C, H, W) in the scene's own type; beside them goes (H, W) bool, True where the scene is
valid. Rows and columns are the scene's own, counted from its upper left corner.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.enums import Resampling
from rasterio.windows import Window

from geop2p.errors import SceneError
from geop2p.raster.bands import find_expansion, select_bands
from geop2p.raster.header import SceneSpec, describe, read_spec
from geop2p.raster.limits import MAX_PIXELS
from geop2p.raster.masks import SceneMask
from geop2p.raster.opening import (
    CACHE_BYTES,
    DRIVERS,
    MASK_RULES,
    READ_ERRORS,
    READ_FAILURES,
    SceneSource,
    gdal_settings,
    header_errors,
    open_dataset,
)
from geop2p.resampling import Axis, resampled

__all__ = [
    "CACHE_BYTES",
    "DRIVERS",
    "MASK_RULES",
    "MAX_PIXELS",
    "READ_ERRORS",
    "OrderedRows",
    "Scene",
    "SceneSource",
    "SceneSpec",
    "describe",
    "gdal_settings",
    "open_scene",
    "open_source",
]

Pixels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Span = tuple[int, int]
"""Rows or columns from the first to the one after the last."""
PIECE = 2**22
"""Values that are brought to another size at a time."""


class Scene:
    """An open scene. Not for use by two threads at once: open it once in each.

    Attributes
    ----------
    source : SceneSource
        How it is read.
    spec : SceneSpec
        What the header says.
    unreadable : set of (int, int)
        (row, col) of the first pixel of every block that could not be decoded and was masked.
    """

    def __init__(self, dataset: Any, source: SceneSource) -> None:
        self._dataset = dataset
        self.source = source
        with header_errors(source.path):
            bands = select_bands(dataset, source)
            self._expansion = find_expansion(dataset, source, bands)
            self._mask = SceneMask(dataset, source, bands)
            self.spec = read_spec(
                dataset, source.path, bands, expansion=self._expansion, mask=self._mask
            )
        self.unreadable: set[tuple[int, int]] = set()

    def read(self, *, rows: Span, cols: Span | None = None) -> tuple[Pixels, Mask]:
        """Read a window: (C, h, w) in the scene's type, and (h, w) bool, True where it is valid.

        With ``on_read_error="nodata"`` blocks that cannot be decoded are invalid, and noted in
        `unreadable`.

        Raises
        ------
        SceneError
            When the window cannot be decoded.
        """
        cols = cols or (0, self.spec.width)
        if self._is_after_a_fault(rows[1] - 1):
            return self._read_blocks(rows, cols)
        try:
            return self._read(rows, cols)
        except READ_FAILURES as exc:
            if self.source.on_read_error != "nodata":
                raise SceneError(
                    f"{self.spec.path}: a block in rows {rows[0]} to {rows[1] - 1} cannot be read: "
                    f"{exc.__cause__ or exc} "
                    "(is the file complete? copy it again, or mask what is lost with "
                    "--on-read-error nodata)"
                ) from exc
            return self._read_blocks(rows, cols)

    def unreadable_rows(self, rows: Span) -> tuple[int, ...]:
        """Return the first row of each block that could not be decoded and starts in ``rows``."""
        return tuple(sorted(row for row, _ in self.unreadable if rows[0] <= row < rows[1]))

    def thumbnail(self, longest_side: int) -> tuple[Pixels, Mask]:
        """Read the whole scene at a smaller size: (C, h, w) and (h, w), like `read`.

        Overviews are used where the file has them; pixels are averages of valid ones, or of the
        nearest pixel where an average would mean nothing or some blocks cannot be decoded.
        """
        height, width = self.spec.height, self.spec.width
        scale = min(1.0, longest_side / max(height, width))
        return self.shrunk((max(1, round(height * scale)), max(1, round(width * scale))))

    def shrunk(self, shape: tuple[int, int]) -> tuple[Pixels, Mask]:
        """Read the whole scene at the size (h, w), as `thumbnail` does."""
        try:
            return self._reduced(shape)
        except READ_FAILURES:
            return self._picked(shape)

    def _read(self, rows: Span, cols: Span) -> tuple[Pixels, Mask]:
        window = Window(cols[0], rows[0], cols[1] - cols[0], rows[1] - rows[0])
        pixels = self._dataset.read(list(self.spec.bands), window=window)
        return self._finished(pixels, self._mask.read(pixels, window=window))

    def _finished(self, pixels: Pixels, valid: Mask) -> tuple[Pixels, Mask]:
        if self._expansion is None:
            return pixels, valid
        is_opaque = self._expansion.opaque(pixels)
        return self._expansion.expand(pixels), valid if is_opaque is None else valid & is_opaque

    def _read_blocks(self, rows: Span, cols: Span) -> tuple[Pixels, Mask]:
        """Read a window block by block; what cannot be decoded is 0 and invalid."""
        shape = rows[1] - rows[0], cols[1] - cols[0]
        pixels = np.zeros((self.spec.count, *shape), self.spec.dtype)
        valid = np.zeros(shape, bool)
        with self._sound_reader() as reader:
            for corner, part in _blocks(self.spec.block, rows, cols):
                if corner in self.unreadable or self._is_after_a_fault(corner[0]):
                    self.unreadable.add(corner)
                    continue
                place = inside(part, (rows, cols))
                try:
                    pixels[:, *place], valid[place] = reader._read(*part)  # noqa: SLF001
                except READ_FAILURES:
                    self.unreadable.add(corner)
        return pixels, valid

    @contextmanager
    def _sound_reader(self) -> Iterator["Scene"]:
        """Yield a scene that tells of every fault; GDAL tells of a stream's only once."""
        if not self.spec.is_stream:
            yield self
            return
        with open_source(self.source) as fresh:
            yield fresh

    def _is_after_a_fault(self, row: int) -> bool:
        return self.spec.is_stream and any(lost < row for lost, _ in self.unreadable)

    def _reduced(self, shape: tuple[int, int]) -> tuple[Pixels, Mask]:
        bands = list(self.spec.bands)
        way = Resampling.nearest if self._expansion is not None else Resampling.average
        pixels = self._dataset.read(bands, out_shape=(len(bands), *shape), resampling=way)
        return self._finished(pixels, self._mask.read(pixels, out_shape=shape))

    def _picked(self, shape: tuple[int, int]) -> tuple[Pixels, Mask]:
        """Read single rows from the top, and keep every so many pixels of each."""
        picked = [
            ((np.arange(count) + 0.5) * length / count).astype(int)
            for count, length in zip(shape, (self.spec.height, self.spec.width), strict=True)
        ]
        lines = [self.read(rows=(row, row + 1)) for row in picked[0].tolist()]
        pixels = np.concatenate([line[:, :, picked[1]] for line, _ in lines], axis=1)
        return pixels, np.concatenate([valid[:, picked[1]] for _, valid in lines])


def inside(part: tuple[Span, Span], window: tuple[Span, Span]) -> tuple[slice, slice]:
    """Return where (rows, cols) lie in an array of the window (rows, cols)."""
    rows, cols = (
        slice(span[0] - whole[0], span[1] - whole[0])
        for span, whole in zip(part, window, strict=True)
    )
    return rows, cols


def _blocks(
    block: tuple[int, int], rows: Span, cols: Span
) -> Iterator[tuple[tuple[int, int], tuple[Span, Span]]]:
    """Yield each block that a window meets: its first row and column, and what lies within both."""
    for top in range(rows[0] // block[0] * block[0], rows[1], block[0]):
        for left in range(cols[0] // block[1] * block[1], cols[1], block[1]):
            part_rows = max(top, rows[0]), min(top + block[0], rows[1])
            part_cols = max(left, cols[0]), min(left + block[1], cols[1])
            yield (top, left), (part_rows, part_cols)


class OrderedRows:
    """Rows of a scene for spans that come in order and overlap: no block is decoded twice.

    Rows that the last span needed, and those of its last blocks, are kept. A span that starts
    before what is kept is read again: slower, never wrong.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._lo = 0
        self._pixels: Pixels | None = None
        self._valid: Mask | None = None

    def read(self, *, rows: Span) -> tuple[Pixels, Mask]:
        """Read whole rows; raises what `Scene.read` raises."""
        if self._pixels is None or self._valid is None or not self._holds(rows[0]):
            pixels, valid = self._scene.read(rows=(rows[0], self._end_of_block(rows[1])))
        else:
            held = self._lo + self._pixels.shape[1]
            pixels, valid = self._pixels[:, rows[0] - self._lo :], self._valid[rows[0] - self._lo :]
            if rows[1] > held:
                more, more_valid = self._scene.read(rows=(held, self._end_of_block(rows[1])))
                pixels = np.concatenate([pixels, more], axis=1)
                valid = np.concatenate([valid, more_valid])
        self._lo, self._pixels, self._valid = rows[0], pixels, valid
        count = rows[1] - rows[0]
        return pixels[:, :count], valid[:count]

    def unreadable_rows(self, rows: Span) -> tuple[int, ...]:
        """Return what `Scene.unreadable_rows` returns."""
        return self._scene.unreadable_rows(rows)

    def _holds(self, row: int) -> bool:
        return self._pixels is not None and self._lo <= row < self._lo + self._pixels.shape[1]

    def _end_of_block(self, row: int) -> int:
        """Return the end of the blocks that the row before ``row`` lies in."""
        spec = self._scene.spec
        if spec.is_sequential:  # there the last block can be the whole scene
            return row
        height = spec.block[0]
        return min(-(-row // height) * height, spec.height)


class ResampledScene(Scene):
    """A scene that is brought to another size of the same ground while it is read.

    Its pixels are those that `geop2p.resampling` makes of the whole scene, whatever windows are
    read; `unreadable` has blocks of the scene itself.
    """

    def __init__(self, scene: Scene, source: SceneSource, size: tuple[int, int]) -> None:
        own = scene.spec
        self.source = source
        self._own, self._own_rows = scene, OrderedRows(scene)
        self._rows, self._cols = Axis(own.height, size[0]), Axis(own.width, size[1])
        self.spec = own.resized(size)
        self.unreadable = scene.unreadable

    def read(self, *, rows: Span, cols: Span | None = None) -> tuple[Pixels, Mask]:
        """Read a window; see `Scene.read`."""
        cols = cols or (0, self.spec.width)
        own_cols = self._cols.span(cols)
        per_row = (own_cols[1] - own_cols[0]) * self.spec.count * self._rows.taps
        step = max(1, PIECE // per_row)
        pieces = []
        for start in range(rows[0], rows[1], step):
            wanted = start, min(start + step, rows[1])
            own_rows = self._rows.span(wanted)
            pixels, valid = self._read_own(own_rows, own_cols)
            made = (self._rows, wanted, own_rows[0]), (self._cols, cols, own_cols[0])
            pieces.append(resampled(pixels, valid, rows=made[0], cols=made[1]))
        pixels_made, valid_made = zip(*pieces, strict=True)
        return np.concatenate(pixels_made, axis=1), np.concatenate(valid_made)

    def unreadable_rows(self, rows: Span) -> tuple[int, ...]:
        """Return, for each unreadable block that starts in ``rows``, in which of them it does."""
        height, own_height = self.spec.height, self._own.spec.height
        places = sorted(row * height // own_height for row, _ in self.unreadable)
        return tuple(place for place in places if rows[0] <= place < rows[1])

    def shrunk(self, shape: tuple[int, int]) -> tuple[Pixels, Mask]:
        """Read the whole scene at the size (h, w)."""
        return self._own.shrunk(shape)

    def _read_own(self, rows: Span, cols: Span) -> tuple[Pixels, Mask]:
        """Read a window of the scene itself; whole rows come in order, no block decoded twice."""
        if cols == (0, self._own.spec.width):
            return self._own_rows.read(rows=rows)
        return self._own.read(rows=rows, cols=cols)


@contextmanager
def open_scene(
    path: str | os.PathLike[str],
    *,
    bands: tuple[int, ...] | None = None,
    src_nodata: float | str | None = None,
    mask_rule: str = "any",
) -> Iterator[Scene]:
    """Open a raster for reading; see `SceneSource` for the parameters.

    Raises
    ------
    SceneError
        When the file is missing, is no raster of a known format, or holds what no generator can
        read: no pixels, complex numbers, bands of different types.
    OptionError
        When a band is asked for that the file does not have.
    """
    source = SceneSource(
        path=os.fspath(path), bands=bands, src_nodata=src_nodata, mask_rule=mask_rule
    )
    with open_source(source) as scene:
        yield scene


@contextmanager
def open_source(source: SceneSource) -> Iterator[Scene]:
    """Open what ``source`` describes; raises what `open_scene` raises."""
    with open_dataset(source) as dataset:
        scene = Scene(dataset, replace(source, size=None))
        yield scene if source.size is None else ResampledScene(scene, source, source.size)
