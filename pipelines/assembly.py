"""From finished strips to the rows of the map, from the first to the last."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from geop2p.errors import OutputError
from geop2p.grid import Strip
from geop2p.parts import Parts, StripResult
from geop2p.radiometry import MapValues

Pixels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


def map_rows(
    store: Parts, strips: Sequence[Strip], *, values: MapValues, bands: int, rows: int
) -> Iterator[tuple[Pixels, Mask]]:
    """Yield the map ``rows`` rows at a time: (bands, rows, W) pixels and (rows, W) valid.

    Where two strips meet, the upper one's foot and the lower one's head are added and rounded.

    Raises
    ------
    OutputError
        When a part is gone or damaged.
    """
    pieces = _finished(store, strips, values)
    yield from regrouped(
        ((np.broadcast_to(pixels, (bands, *pixels.shape[1:])), valid) for pixels, valid in pieces),
        rows,
    )


def regrouped(pieces: Iterable[tuple[Pixels, Mask]], rows: int) -> Iterator[tuple[Pixels, Mask]]:
    """Yield pieces of a raster, (B, h, W) and (h, W), ``rows`` rows at a time."""
    pending: list[tuple[Pixels, Mask]] = []
    for piece in pieces:
        pending.append(piece)
        while sum(len(mask) for _, mask in pending) >= rows:
            merged, mask = _merged(pending)
            yield merged[:, :rows], mask[:rows]
            pending = [(merged[:, rows:], mask[rows:])]
    merged, mask = _merged(pending)
    if len(mask):
        yield merged, mask


def _finished(
    store: Parts, strips: Sequence[Strip], values: MapValues
) -> Iterator[tuple[Pixels, Mask]]:
    """Yield finished rows as they come: a seam, a strip's inner rows, a seam ..."""
    above: StripResult | None = None
    for strip in strips:
        part = loaded(store, strip)
        head, foot = part.head.shape[1], len(part.valid) - part.foot.shape[1]
        if above is not None and head:
            yield values.draw(above.foot + part.head, part.valid[:head]), part.valid[:head]
        yield part.inner, part.valid[head:foot]
        above = part


def loaded(store: Parts, strip: Strip) -> StripResult:
    """Return a strip that was kept; raises `OutputError` when its part is gone or damaged."""
    part = store.load(strip)
    if part is None:
        raise OutputError(
            f"{store.folder}: the part of tile rows {strip.first} to {strip.last - 1} is gone or "
            "damaged (run the same command again, it is made anew)"
        )
    return part


def _merged(pending: Sequence[tuple[Pixels, Mask]]) -> tuple[Pixels, Mask]:
    pixels, masks = zip(*pending, strict=True)
    return np.concatenate(pixels, axis=1), np.concatenate(masks)
