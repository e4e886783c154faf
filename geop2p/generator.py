"""A generator made ready to run: on a device, in a precision, in batches of one fixed size.

It is always in evaluation mode, so a tile's picture never depends on the tiles beside it, and a
last, short group is padded, so that every tile is computed by the same kernels.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from geop2p.allocator import release_freed_memory
from geop2p.engines.choice import Engine, one_line
from geop2p.engines.int8 import Ranges
from geop2p.engines.reference import TileFunction
from geop2p.engines.runner import Remake, make_runner
from geop2p.errors import Geop2pError, ModelError, OutOfMemoryError
from geop2p.mirrors import mirrored_mean
from geop2p.sampling import Place, Sampler, Sampling

logger = logging.getLogger(__name__)


class ReadyGenerator:
    """Runs a generator on batches of tiles. All calls must come from one thread.

    Parameters
    ----------
    function : torch.nn.Module or callable
        Maps (N, C, S, S) float32 in [-1, 1] to (N, K, S, S) in [-1, 1]. A module is run in
        evaluation mode, and given groups of a fixed size; any other function is given the tiles as
        they come.
    engine : Engine
        How to run it.
    ranges : mapping of str to (float, float) or None
        What precision int8 needs: the ranges of the model's card.
    is_mirrored : bool
        Draw each tile's mirror images, too, and return the mean of the pictures.
    remake : callable or None
        Makes the module anew; then ``function`` itself is used up. None: a copy of it is.
    sampling : Sampling or None
        What `variance` needs; the function is a module, then.

    Attributes
    ----------
    device : torch.device
        Where tiles are expected and pictures are left.
    """

    def __init__(
        self,
        function: TileFunction,
        engine: Engine,
        *,
        ranges: Ranges | None = None,
        is_mirrored: bool = False,
        remake: Remake | None = None,
        sampling: Sampling | None = None,
    ) -> None:
        self.device = torch.device(engine.device)
        self._is_mirrored = is_mirrored
        self._is_halved = False
        self._is_padded = isinstance(function, nn.Module)
        self._group_size = engine.group_size if self._is_padded else engine.batch_size
        torch.set_num_threads(engine.threads)
        with told_when_out_of_memory("the generator"):
            self._sampler: Sampler | None = None
            if sampling is not None and isinstance(function, nn.Module):
                self._sampler = Sampler(function, engine, sampling)  # a copy, before it is used up
            self.runner = make_runner(function, engine, ranges=ranges, remake=remake)
        release_freed_memory()

    @torch.inference_mode()
    def __call__(self, tiles: Tensor) -> Tensor:
        """Translate (n, C, S, S) float32 tiles to (n, K, S, S) float32, both on the device.

        Nothing waits for the device. Where it has too little memory, groups are halved, down to one
        tile, and stay so. The picture's values are as the generator left them, NaN included.

        Raises
        ------
        ModelError
            When the result has another size.
        OutOfMemoryError
            When there is no memory for a single tile, or a CPU has none for a group.
        """
        return mirrored_mean(self._drawn, tiles) if self._is_mirrored else self._drawn(tiles)

    @torch.inference_mode()
    def variance(self, tiles: Tensor, places: Sequence[Place]) -> Tensor:
        """Return how far pictures drawn with dropout differ; see `Sampler.variance`.

        Raises
        ------
        OutOfMemoryError
            When there is no memory for a group.
        """
        if self._sampler is None:
            raise RuntimeError("a generator without sampling is asked for it")
        with told_when_out_of_memory("a group of tiles"):
            return self._sampler.variance(tiles, places, group_size=self._group_size)

    def _drawn(self, tiles: Tensor) -> Tensor:
        pictures: list[Tensor] = []
        done = 0
        with told_when_out_of_memory("a group of tiles"):
            while done < len(tiles):
                group = tiles[done : done + self._group_size]
                picture = self._attempted(group)
                if picture is None:
                    self._halve()
                    continue
                pictures.append(picture)
                done += len(group)
            return pictures[0] if len(pictures) == 1 else torch.cat(pictures)

    def _attempted(self, group: Tensor) -> Tensor | None:
        """Return a group's pictures, or None when the device has no memory for so many.

        What the failure still held is let go before this returns.
        """
        padded_to = self._group_size if self._is_padded else 0
        try:
            return self._translated(group, padded_to=padded_to)
        except torch.OutOfMemoryError:
            if max(len(group), padded_to) == 1:
                raise
        return None

    def _halve(self) -> None:
        """Make groups half as large; the first time, say so."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if not self._is_halved:
            logger.warning(
                "%s has no memory for batches of %d tiles: smaller ones are used "
                "(a smaller --batch-size avoids the attempt)",
                self.device,
                self._group_size,
            )
        self._is_halved = True
        self._group_size = max(1, self._group_size // 2)

    def _translated(self, tiles: Tensor, *, padded_to: int) -> Tensor:
        padded = tiles
        if len(tiles) < padded_to:
            padded = tiles.new_zeros((padded_to, *tiles.shape[1:]))
            padded[: len(tiles)] = tiles
        pictures = self.runner(padded)[: len(tiles)]
        _check_pictures(pictures, tiles)
        return pictures


@contextmanager
def torch_left_alone() -> Iterator[None]:
    """Give torch's thread count and switches back as they were."""
    threads, switches = torch.get_num_threads(), _switches()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        for owner, name, value in switches:
            setattr(owner, name, value)


def use_exact_kernels() -> None:
    """Make CUDA results repeatable: no TF32, no kernels chosen by timing, deterministic ones."""
    for owner, name in _tf32_switches():
        setattr(owner, name, False if name == "allow_tf32" else "ieee")
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def _switches() -> list[tuple[Any, str, Any]]:
    """Return whose switches may be changed, their names, and how they are now."""
    cudnn, found = torch.backends.cudnn, []
    for owner, name in (*_tf32_switches(), (cudnn, "benchmark"), (cudnn, "deterministic")):
        with suppress(RuntimeError):  # an older switch that newer ones contradict is not told
            found.append((owner, name, getattr(owner, name)))
    return found


def _tf32_switches() -> list[tuple[Any, str]]:
    """Return the switches of TF32: first those of every torch, then those from torch 2.9 on.

    The newer ones can say for all of torch what the older ones do not undo.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    older = [(owner, "allow_tf32") for owner in (matmul, cudnn)]
    if not hasattr(cudnn, "conv"):
        return older
    return older + [(owner, "fp32_precision") for owner in (matmul, cudnn.conv, cudnn.rnn)]


@contextmanager
def told_when_out_of_memory(what: str) -> Iterator[None]:
    """Raise what devices and numpy say of memory as `OutOfMemoryError`; our own errors pass."""
    try:
        yield
    except (MemoryError, RuntimeError) as exc:
        if not is_of_memory(exc):
            raise
        raise OutOfMemoryError(
            f"no memory for {what}: {one_line(exc)} (free memory, or use a "
            "smaller model, --device cpu, fewer --workers)"
        ) from None


NO_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "cuda error: out of memory",
    "status_alloc_failed",
)
"""What torch's allocator for the CPU, that of pinned memory, and CUDA's libraries say: they have no
class of error of their own."""


def is_of_memory(exc: BaseException) -> bool:
    """Return whether an error of others is about missing memory, by its class or its words."""
    if isinstance(exc, Geop2pError):
        return False
    text = str(exc).lower()
    is_memory = isinstance(exc, MemoryError | torch.OutOfMemoryError)
    return is_memory or any(words in text for words in NO_MEMORY)


def _check_pictures(pictures: Tensor, tiles: Tensor) -> None:
    expected = (len(tiles), *tiles.shape[2:])
    if pictures.ndim != 4 or (pictures.shape[0], *pictures.shape[2:]) != expected:
        raise ModelError(
            f"the generator turned {tuple(tiles.shape)} into {tuple(pictures.shape)} "
            "(expected the same number of tiles, of the same height and width)"
        )
