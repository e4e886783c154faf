"""From finished strips to the rows of the map, from the first to the last."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from geop2p.errors import OutputError
from geop2p.grid import Strip
from geop2p.parts import PartStore, StripResult
from geop2p.radiometry import MapValues

Pixels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


def map_rows(
    store: PartStore, strips: Sequence[Strip], *, values: MapValues, bands: int, rows: int
) -> Iterator[tuple[Pixels, Mask]]:
    """Yield the map ``rows`` rows at a time: (bands, rows, W) pixels and (rows, W) valid.

    Where two strips meet, the upper one's foot and the lower one's head are added and rounded.

    Raises
    ------
    OutputError
        When a part is gone or damaged.
    """
    pending: list[tuple[Pixels, Mask]] = []
    for pixels, valid in _finished(store, strips, values):
        wide = np.broadcast_to(pixels, (bands, *pixels.shape[1:]))
        pending.append((wide, valid))
        while sum(len(mask) for _, mask in pending) >= rows:
            merged, mask = _merged(pending)
            yield merged[:, :rows], mask[:rows]
            pending = [(merged[:, rows:], mask[rows:])]
    merged, mask = _merged(pending)
    if len(mask):
        yield merged, mask


def _finished(
    store: PartStore, strips: Sequence[Strip], values: MapValues
) -> Iterator[tuple[Pixels, Mask]]:
    """Yield finished rows as they come: a seam, a strip's inner rows, a seam ..."""
    above: StripResult | None = None
    for strip in strips:
        part = _loaded(store, strip)
        head, foot = part.head.shape[1], len(part.valid) - part.foot.shape[1]
        if above is not None and head:
            yield values.draw(above.foot + part.head, part.valid[:head]), part.valid[:head]
        yield part.inner, part.valid[head:foot]
        above = part


def _loaded(store: PartStore, strip: Strip) -> StripResult:
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
