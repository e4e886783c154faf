"""Rows brought from the grid that the generator saw to the scene's own, a few at a time."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from geop2p.pipelines.planning import Plan
from geop2p.raster.reader import SceneReader
from geop2p.raster.scene import PIECE
from geop2p.resampling import Axis, Span, resampled

Pixels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Rows = Iterator[tuple[Pixels, Mask]]


def can_have_invalid(plan: Plan) -> bool:
    """Return whether a pixel of the scene can be masked, as far as its header says."""
    own, source = plan.ground.own, plan.job.source
    is_float = np.dtype(plan.spec.dtype).kind == "f"
    is_asked = source.src_nodata is not None or source.on_read_error != "fail"
    return own.has_mask or own.is_expanded or is_float or is_asked


def on_scene_grid(rows: Rows, plan: Plan, *, height: int) -> Rows:
    """Yield rows of the generator's grid on the scene's own, ``height`` at a time.

    Values are averages of valid ones by area, or lie on lines between centres; the mask is that of
    the scene itself, which is read for it once more where it can have one.

    Parameters
    ----------
    rows : iterator of ((K, h, w) array, (h, w) bool)
        From the first to the last; each array may have another number of rows.
    height : int, pixels

    Yields
    ------
    tuple of (K, height, W) array and (height, W) bool
        Marked as `MapValues.marked` says; the last may have fewer rows.

    Raises
    ------
    SceneError
        When the scene cannot be read again.
    """
    own, seen = plan.ground.own, plan.spec
    axis, cols = Axis(seen.height, own.height), Axis(seen.width, own.width)
    held = _Held(rows)
    with _masks(plan) as mask_of:
        for start in range(0, own.height, height):
            stop = min(start + height, own.height)
            pieces = []
            for wanted in _pieces((start, stop), axis=axis, cols=cols, bands=held.bands):
                span = axis.span(wanted)
                pixels, valid = held.read(span)
                made, _ = resampled(
                    pixels,
                    valid,
                    rows=(axis, wanted, span[0]),
                    cols=(cols, (0, own.width), 0),
                )
                pieces.append(made)
            valid = mask_of((start, stop))
            yield plan.job.values.marked(np.concatenate(pieces, axis=1), valid), valid


def _pieces(span: Span, *, axis: Axis, cols: Axis, bands: int) -> Iterator[Span]:
    """Yield spans that make up ``span``, so small that sums of them take little memory."""
    step = max(1, PIECE // (bands * max(cols.size, axis.taps * cols.length)))
    for start in range(span[0], span[1], step):
        yield start, min(start + step, span[1])


@contextmanager
def _masks(plan: Plan) -> Iterator[Any]:
    """Yield a function from a span of rows to the scene's own (h, W) mask."""
    if not can_have_invalid(plan):
        yield lambda rows: np.ones((rows[1] - rows[0], plan.ground.own.width), bool)
        return
    with closing(SceneReader(plan.own_source)) as reader:
        yield lambda rows: reader.read(rows=rows)[1]


class _Held:
    """Rows that come in order, of which the last ones are kept for the next span."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._first = 0
        self._pixels, self._valid = next(rows)
        self.bands = len(self._pixels)

    def read(self, span: Span) -> tuple[Pixels, Mask]:
        """Return the rows of a span that starts where the last one did, or after."""
        drop = span[0] - self._first
        pixels, valid = [self._pixels[:, drop:]], [self._valid[drop:]]
        count = len(valid[0])
        while count < span[1] - span[0]:
            more, more_valid = next(self._rows)
            pixels.append(more)
            valid.append(more_valid)
            count += len(more_valid)
        self._first = span[0]
        self._pixels = np.concatenate(pixels, axis=1) if len(pixels) > 1 else pixels[0]
        self._valid = np.concatenate(valid) if len(valid) > 1 else valid[0]
        return self._pixels[:, : span[1] - span[0]], self._valid[: span[1] - span[0]]
