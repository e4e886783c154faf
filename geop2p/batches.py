"""Batches: the pairs of an epoch, decoded, cut and stacked, a little ahead of their use.

The order is a pure function of (seed, epoch) and every view of (seed, epoch, index), so an epoch
can be entered at any step, and loader threads change nothing but the time it takes.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from geop2p.augmentation import Pixels, View, draw_view, take_view
from geop2p.balance import Draw, chosen_order
from geop2p.pairs import Pair, read_pair
from geop2p.streams import Stream

T = TypeVar("T")
R = TypeVar("R")

Batch = tuple[Tensor, Tensor]
"""Scenes and maps, (N, C, H, W) and (N, K, H, W), in their native types, on the CPU."""

CACHE_BYTES = 2 * 2**30
"""Decoded pairs kept in memory, 2 GiB: 286x286 RGB pairs up to about 4,300."""


class PairStore:
    """Decoded pairs, resized to the loading size, kept in memory while they fit a bound.

    Safe to use from several threads.

    Parameters
    ----------
    load_size : int, pixels
        Side that both patches are resized to; 0 keeps their own size.
    is_reversed : bool
        The map is the input and the scene the output.
    cache_bytes : int, bytes
        Bound of what is kept.

    Attributes
    ----------
    chances : (P,) float64 or None
        Share of an epoch that each pair is to have, sum 1; None: every pair comes once.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        *,
        load_size: int,
        is_reversed: bool = False,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.pairs = tuple(pairs)
        self._load_size, self._is_reversed = load_size, is_reversed
        self.chances: npt.NDArray[np.float64] | None = None
        self._free_bytes = cache_bytes
        self._kept: dict[int, tuple[Pixels, Pixels]] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Pixels, Pixels]:
        """Return input and truth of one pair, (C, H, W) and (K, H, W), native types."""
        kept = self._kept.get(index)
        if kept is not None:
            return kept
        pair = self.decoded(index)
        self._keep(index, pair)
        return pair

    def decoded(self, index: int) -> tuple[Pixels, Pixels]:
        """Return input and truth of one pair from its files, and keep nothing."""
        scene, drawn = (resized(part, self._load_size) for part in read_pair(self.pairs[index]))
        return (drawn, scene) if self._is_reversed else (scene, drawn)

    def _keep(self, index: int, pair: tuple[Pixels, Pixels]) -> None:
        size = pair[0].nbytes + pair[1].nbytes
        with self._lock:
            if index not in self._kept and size <= self._free_bytes:
                self._kept[index] = (np.ascontiguousarray(pair[0]), np.ascontiguousarray(pair[1]))
                self._free_bytes -= size


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewRule:
    """How patches become pictures: kind of augmentation, side in pixels, and the seed.

    Parameters
    ----------
    jitter : float
        Of the scale, see `geop2p.augmentation.draw_view`.
    is_nearest : (bool, bool)
        Whether input and truth are resampled without new values: pictures of classes are.
    """

    augment: str
    size: int
    seed: int
    jitter: float = 0.0
    is_nearest: tuple[bool, bool] = (False, False)

    def view(self, draw: Draw, *, epoch: int, patch: tuple[int, int]) -> View:
        """Return the view of a drawn pair, whose patches have (height, width) pixels."""
        key = (self.seed, epoch, draw.pair, *([draw.repeat] if draw.repeat else []))
        spare = (patch[0] - self.size, patch[1] - self.size)
        return draw_view(self.augment, key, spare=spare, size=self.size, jitter=self.jitter)


def resized(picture: Pixels, size: int) -> Pixels:
    """Return (C, size, size) by bicubic interpolation with antialiasing, rounded for integers.

    ``size`` 0, or the size that the picture has, gives the picture itself.
    """
    if size == 0 or picture.shape[1:] == (size, size):
        return picture
    planes = torch.from_numpy(np.ascontiguousarray(picture).astype(np.float32))[None]
    smooth = F.interpolate(planes, (size, size), mode="bicubic", antialias=True)[0].numpy()
    if not np.issubdtype(picture.dtype, np.integer):
        return smooth.astype(picture.dtype)
    info = np.iinfo(picture.dtype)
    whole: Pixels = np.rint(smooth).clip(info.min, info.max).astype(picture.dtype)
    return whole


def epoch_order(count: int, *, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Return the indexes 0 to count - 1 in the order of that epoch."""
    return np.random.default_rng((Stream.ORDER, seed, epoch)).permutation(count)


def count_steps(count: int, *, batch_size: int) -> int:
    """Return the batches of an epoch; the last one may be smaller."""
    return -(-count // batch_size)


def take_pair(
    store: PairStore, index: int, *, rule: ViewRule, epoch: int, repeat: int = 0
) -> tuple[Pixels, Pixels]:
    """Return the augmented pair, each (C, size, size) in its native type."""
    scene, drawn = store[index]
    height, width = scene.shape[1:]
    view = rule.view(Draw(index, repeat), epoch=epoch, patch=(height, width))
    for_scene, for_map = rule.is_nearest
    return (
        take_view(scene, view, size=rule.size, is_nearest=for_scene),
        take_view(drawn, view, size=rule.size, is_nearest=for_map),
    )


def epoch_batches(
    store: PairStore,
    *,
    rule: ViewRule,
    epoch: int,
    batch_size: int,
    first_step: int = 0,
    workers: int = 0,
) -> Iterator[Batch]:
    """Yield the batches of an epoch from ``first_step`` on.

    Parameters
    ----------
    workers : int
        Threads that decode and cut ahead of use; 0 does it in the caller's thread.
    """
    chunks = epoch_chunks(
        store, rule=rule, epoch=epoch, batch_size=batch_size, first_step=first_step
    )

    def load(chunk: Sequence[Draw]) -> Batch:
        return stack([take_pair(store, i, rule=rule, epoch=epoch, repeat=n) for i, n in chunk])

    return load_ahead(load, chunks, workers=workers)


def epoch_chunks(
    store: PairStore, *, rule: ViewRule, epoch: int, batch_size: int, first_step: int = 0
) -> list[list[Draw]]:
    """Return what each batch of an epoch is made of, from ``first_step`` on."""
    count = len(store)
    if store.chances is None:
        draws = [Draw(int(i), 0) for i in epoch_order(count, seed=rule.seed, epoch=epoch)]
    else:
        draws = chosen_order(store.chances, key=(Stream.ORDER, rule.seed, epoch))
    steps = range(first_step, count_steps(count, batch_size=batch_size))
    return [draws[step * batch_size : (step + 1) * batch_size] for step in steps]


def load_ahead(load: Callable[[T], R], items: Sequence[T], *, workers: int) -> Iterator[R]:
    """Yield ``load(item)`` in order, at most ``2 * workers`` items ahead of the caller."""
    if workers == 0:
        yield from map(load, items)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="geop2p-loader")
    try:
        waiting: deque[Future[R]] = deque()
        for item in items:
            waiting.append(pool.submit(load, item))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def stack(pairs: Sequence[tuple[Pixels, Pixels]]) -> Batch:
    """Return a batch of pairs of equal sizes."""
    scenes, maps = zip(*pairs, strict=True)
    return torch.from_numpy(np.stack(scenes)), torch.from_numpy(np.stack(maps))
