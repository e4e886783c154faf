"""Pairs that live on the device that trains: decoded once, copied once, batches cut there.

A batch is one gather on the device: what travels for a step is the place and turn of each view.
Batches equal those of `geop2p.batches.epoch_batches` in every bit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from geop2p.augmentation import WHOLE, Pixels, Steps, View, take_view
from geop2p.balance import Draw
from geop2p.batches import Batch, PairStore, ViewRule, epoch_chunks, load_ahead
from geop2p.transfer import sent, staged

COPIED_AS = {torch.uint16: torch.int16, torch.uint32: torch.int32}
"""Types that a device cannot gather, and those of equal size that it can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """What loader threads prepare of a batch.

    Parameters
    ----------
    indexes, views
        Which pairs, and how each is seen.
    table : (N, 6) int64
        `coefficients` of the views, in memory that a device copies from by itself.
    fresh : dict
        Decoded pairs that the device did not hold when they were asked for, by index.
    """

    indexes: tuple[int, ...]
    views: tuple[View, ...]
    table: Tensor
    fresh: dict[int, tuple[Pixels, Pixels]]


class ResidentPairs:
    """The pairs of a store on a device, as many as a bound allows; the others stay on the host.

    Loader threads call only ``_prepare``; the device is filled and read by the caller's thread.

    Parameters
    ----------
    most_bytes : int, bytes
        Bound of what is held on the device. Pairs of another size than the first stay on the host.
    """

    def __init__(self, store: PairStore, *, device: torch.device, most_bytes: int) -> None:
        self._store, self._device, self._most_bytes = store, device, most_bytes
        self._places: dict[int, int] = {}
        self._pictures: tuple[Tensor, Tensor] | None = None  # scenes and maps, (P, C, H, W)
        self._is_pinned = device.type == "cuda"

    def __len__(self) -> int:
        """Return how many pairs the device holds."""
        return len(self._places)

    def epoch_batches(
        self,
        *,
        rule: ViewRule,
        epoch: int,
        batch_size: int,
        first_step: int = 0,
        workers: int = 0,
    ) -> Iterator[Batch]:
        """Yield what `geop2p.batches.epoch_batches` yields, on the device."""
        chunks = epoch_chunks(
            self._store, rule=rule, epoch=epoch, batch_size=batch_size, first_step=first_step
        )

        def prepare(draws: Sequence[Draw]) -> Chunk:
            return self._prepare(draws, rule=rule, epoch=epoch)

        for chunk in load_ahead(prepare, chunks, workers=workers):
            yield self._cut(chunk, rule=rule)

    def _prepare(self, draws: Sequence[Draw], *, rule: ViewRule, epoch: int) -> Chunk:
        fresh, views = {}, []
        indexes = tuple(draw.pair for draw in draws)
        for draw, index in zip(draws, indexes, strict=True):
            if index in self._places and self._pictures is not None:
                height, width = self._pictures[0].shape[2:]
            else:
                fresh[index] = self._store.decoded(index) if self._has_room else self._store[index]
                height, width = fresh[index][0].shape[1:]
            views.append(rule.view(draw, epoch=epoch, patch=(height, width)))
        table = torch.tensor([coefficients(view, size=rule.size) for view in views])
        table = table.pin_memory() if self._is_pinned else table
        return Chunk(indexes=indexes, views=tuple(views), table=table, fresh=fresh)

    @property
    def _has_room(self) -> bool:
        return self._pictures is None or len(self._places) < len(self._pictures[0])

    def _cut(self, chunk: Chunk, *, rule: ViewRule) -> Batch:
        for index, pair in chunk.fresh.items():
            self._take_in(index, pair)
        size = rule.size
        is_scaled = any(view.side not in (0, size) for view in chunk.views)
        if is_scaled or self._pictures is None or not self._places.keys() >= set(chunk.indexes):
            return self._cut_singly(chunk, rule=rule)
        places = [self._places[index] for index in chunk.indexes]
        scenes, maps = self._pictures
        table = chunk.table.to(self._device, non_blocking=True)
        chosen = sent(torch.tensor(places), self._device)
        return (
            cut_views(scenes, chosen, table=table, size=size),
            cut_views(maps, chosen, table=table, size=size),
        )

    def _cut_singly(self, chunk: Chunk, *, rule: ViewRule) -> Batch:
        """Return a batch of which some pairs are not on the device, or shown at another scale."""
        parts: list[tuple[Tensor, Tensor]] = []
        for index, view in zip(chunk.indexes, chunk.views, strict=True):
            if index in self._places and self._pictures is not None:
                place = self._places[index]
                scene, drawn = (
                    cut_view(held[place], view, size=rule.size, is_nearest=is_nearest)
                    for held, is_nearest in zip(self._pictures, rule.is_nearest, strict=True)
                )
            else:
                pair = chunk.fresh.get(index) or self._store[index]
                scene, drawn = (
                    sent(take_view(part, view, size=rule.size, is_nearest=is_nearest), self._device)
                    for part, is_nearest in zip(pair, rule.is_nearest, strict=True)
                )
            parts.append((scene, drawn))
        scenes, maps = zip(*parts, strict=True)
        return _stacked(scenes), _stacked(maps)

    def _take_in(self, index: int, pair: tuple[Pixels, Pixels]) -> None:
        if index in self._places:
            return
        if self._pictures is None:
            self._pictures = self._reserved(pair)
        place = len(self._places)
        if place >= len(self._pictures[0]):
            return
        if any(p.shape != held.shape[1:] for p, held in zip(pair, self._pictures, strict=True)):
            return
        for part, held in zip(pair, self._pictures, strict=True):
            held[place].copy_(staged(part, self._device), non_blocking=True)
        self._places[index] = place

    def _reserved(self, pair: tuple[Pixels, Pixels]) -> tuple[Tensor, Tensor]:
        each = sum(part.nbytes for part in pair)
        count = min(len(self._store), self._most_bytes // each)
        scenes, maps = (
            torch.empty(
                (count, *part.shape),
                dtype=torch.from_numpy(np.empty(0, part.dtype)).dtype,
                device=self._device,
            )
            for part in pair
        )
        return scenes, maps


def coefficients(view: View, *, size: int) -> tuple[int, int, int, int, int, int]:
    """Return what leads from a view's pixel (i, j) to the patch's.

    The row is ``c[0] + c[1] * i + c[2] * j``, the column ``c[3] + c[4] * i + c[5] * j``.
    """
    last = size - 1
    down, across = {  # row and column of the square before its turns: (constant, i, j)
        0: ((0, 1, 0), (0, 0, 1)),
        1: ((0, 0, 1), (last, -1, 0)),
        2: ((last, -1, 0), (last, 0, -1)),
        3: ((last, 0, -1), (0, 1, 0)),
    }[view.quarter_turns % 4]
    if view.is_mirrored:
        across = (last - across[0], -across[1], -across[2])
    return (view.row + down[0], *down[1:], view.col + across[0], *across[1:])


def cut_views(pictures: Tensor, chosen: Tensor, *, table: Tensor, size: int) -> Tensor:
    """Return the views of some pictures: (N, C, size, size), native type, in one gather.

    Parameters
    ----------
    pictures : (P, C, H, W), any type
    chosen : (N,) int64
        Which pictures.
    table : (N, 6) int64
        `coefficients` of each one's view.
    """
    along = torch.arange(size, device=pictures.device)
    i, j = along[:, None], along[None, :]
    row, row_i, row_j, col, col_i, col_j = table[:, :, None, None].unbind(1)  # (N, 1, 1) each
    rows, cols = row + row_i * i + row_j * j, col + col_i * i + col_j * j  # (N, size, size)
    bands = torch.arange(pictures.shape[1], device=pictures.device)[None, :, None, None]
    source = _gatherable(pictures)
    return source[chosen[:, None, None, None], bands, rows[:, None], cols[:, None]].view(
        pictures.dtype
    )


def cut_view(picture: Tensor, view: View, *, size: int, is_nearest: bool = False) -> Tensor:
    """Return what `geop2p.augmentation.take_view` returns, on the device of the picture.

    Parameters
    ----------
    picture : (C, H, W), any type
    """
    side = view.side or size
    part = _gatherable(picture)[:, view.row : view.row + side, view.col : view.col + side]
    if side != size:
        steps = Steps.between(side, size, is_nearest=is_nearest)
        part = _resampled(part, steps, dtype=picture.dtype)
    if view.is_mirrored:
        part = part.flip(2)
    return part.rot90(view.quarter_turns, (1, 2)).contiguous().view(picture.dtype)


def _resampled(square: Tensor, steps: Steps, *, dtype: torch.dtype) -> Tensor:
    """Return a square of `COPIED_AS` type at another side: `geop2p.augmentation` in torch."""
    lower, upper, after = (
        sent(part, square.device) for part in (steps.lower, steps.upper, steps.weight)
    )
    if not steps.weight.any():
        return square[:, lower][:, :, lower]
    is_whole = not square.is_floating_point()
    wide = square.to(torch.int64 if is_whole else torch.float64)
    if dtype in COPIED_AS:  # what is copied as a signed number is none
        wide = wide & (2 ** (8 * square.element_size()) - 1)
    before = WHOLE - after
    rows = wide[:, lower] * before[:, None] + wide[:, upper] * after[:, None]
    sums = rows[:, :, lower] * before + rows[:, :, upper] * after
    mean = (sums + WHOLE**2 // 2) // WHOLE**2 if is_whole else sums / WHOLE**2
    return mean.to(square.dtype)


def _gatherable(pixels: Tensor) -> Tensor:
    return pixels.view(COPIED_AS.get(pixels.dtype, pixels.dtype))


def _stacked(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack([_gatherable(part) for part in parts]).view(parts[0].dtype)
