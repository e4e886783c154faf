"""A generator made ready to run: on a device, in a precision, in batches of one fixed size.

It is always in evaluation mode, so a tile's picture never depends on the tiles beside it, and a
last, short group is padded, so that every tile is computed by the same kernels.
"""

import copy
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from geop2p.errors import Geop2pError, ModelError, OptionError, OutOfMemoryError
from geop2p.networks import ResNet, UNet

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]
TileFunction = Callable[[Tensor], Tensor]
"""(N, C, H, W) float32 in [-1, 1] to (N, K, H, W) in [-1, 1]."""

PRECISIONS = ("auto", "fp32", "bf16")
CPU_BATCH = 4
"""Tiles. A CPU always computes this many at a time, whatever the batch size: oneDNN chooses its
kernels, and so the last bits, by the size of the batch. 4 to 8 are the quickest."""
CUDA_BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """How a generator is run, with nothing left open.

    Parameters
    ----------
    device : str
        ``cpu``, ``cuda`` or ``cuda:N``.
    precision : str
        ``fp32``, or ``bf16`` for the body of the network; the head is always float32.
    batch_size : int, tiles, at least 1
        Every batch has this size.
    threads : int, at least 1
        torch's threads on a CPU.
    """

    device: str = "cpu"
    precision: str = "fp32"
    batch_size: int = CPU_BATCH
    threads: int = 1

    @property
    def group_size(self) -> int:
        """Tiles that are computed at a time; on a CPU always the same, so that bits are."""
        return CPU_BATCH if self.kind == "cpu" else self.batch_size

    @property
    def kind(self) -> str:
        """``cpu`` or ``cuda``: the kind of device, which bits may depend on."""
        return self.device.split(":", maxsplit=1)[0]


def choose_engine(
    *, device: str = "auto", precision: str = "auto", batch_size: int | None = None, threads: int
) -> Engine:
    """Resolve what was left to geop2p.

    ``auto`` is the GPU where there is one that works, else the CPU, and a GPU that does not work is
    told of; precision ``auto`` is fp32 everywhere.

    Raises
    ------
    OptionError
        When a GPU was asked for by name and there is none, or the batch is smaller than 1.
    """
    if batch_size is not None and batch_size < 1:
        raise OptionError(f"batch size {batch_size} (expected at least 1 tile)")
    chosen = choose_device(device)
    default = CPU_BATCH if chosen == "cpu" else CUDA_BATCH
    return Engine(
        device=chosen,
        precision="fp32" if precision == "auto" else precision,
        batch_size=batch_size or default,
        threads=threads,
    )


def choose_device(device: str) -> str:
    """Return ``cpu`` or a CUDA device for ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises
    ------
    OptionError
        For another word, or for a GPU that is not there or does not work.
    """
    kind, _, number = device.partition(":")
    if device != "auto" and (kind not in ("cpu", "cuda") or (number and not number.isdigit())):
        raise OptionError(f"device {device!r} (expected auto, cpu, cuda or cuda:N)")
    if kind == "cpu":
        return device
    is_asked_for = kind == "cuda"
    fault = _fault_of_gpu(device if is_asked_for else "cuda")
    if fault is None:
        return device if is_asked_for else "cuda"
    if is_asked_for:
        raise OptionError(f"device {device!r}: {fault} (use --device cpu)")
    log = logger.info if fault == _NO_GPU else logger.warning
    log("%s: the CPU is used", fault)
    return "cpu"


_NO_GPU = "no CUDA device is usable"


def _fault_of_gpu(device: str) -> str | None:
    """Return why a CUDA device cannot be used, after trying it, or None when it can.

    A driver that is too old is a warning of torch's, a card that this torch has no kernels for an
    error of the first kernel.
    """
    number = int(device.partition(":")[2] or 0)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            if not torch.cuda.is_available():
                reasons = [_one_line(warning.message) for warning in told]
                return f"the GPU is not usable: {reasons[0]}" if reasons else _NO_GPU
            count = torch.cuda.device_count()
            if number >= count:
                return f"{count} CUDA devices are usable"
            torch.ones(8, device=device).add_(1).sum().item()
        except (RuntimeError, AssertionError, OSError) as exc:
            return f"the GPU is not usable: {_one_line(exc)}"
    return None


def _one_line(message: object) -> str:
    """Return the first sentence of what torch says."""
    lines = str(message).strip().splitlines() or [type(message).__name__]
    return lines[0].strip()


class ReadyGenerator:
    """Runs a generator on batches of tiles. All calls must come from one thread.

    Parameters
    ----------
    function : torch.nn.Module or callable
        Maps (N, C, S, S) float32 in [-1, 1] to (N, K, S, S) in [-1, 1]. A module is copied, the
        copy put into evaluation mode, and given groups of a fixed size; any other function is given
        the tiles as they come.
    engine : Engine
        How to run it.
    """

    def __init__(self, function: TileFunction, engine: Engine) -> None:
        self._engine = engine
        self._device = torch.device(engine.device)
        self._is_halved = False
        is_network = isinstance(function, nn.Module)
        self._group_size = engine.group_size if is_network else engine.batch_size
        torch.set_num_threads(engine.threads)
        if isinstance(function, nn.Module):
            with _told_when_out_of_memory("the generator"):
                function = copy.deepcopy(function).eval().to(self._device)
                function.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._function = function

    @torch.inference_mode()
    def __call__(self, tiles: Floats) -> Floats:
        """Translate (n, C, S, S) float32 tiles, n <= batch size, to (n, K, S, S) float32.

        Where a device has too little memory, groups are halved, down to one tile, and stay so.

        Raises
        ------
        ModelError
            When the result has another size or holds NaN.
        OutOfMemoryError
            When there is no memory for a single tile, or a CPU has none for a group.
        """
        pictures: list[Floats] = []
        done = 0
        with _told_when_out_of_memory("a group of tiles"):
            while done < len(tiles):
                group = tiles[done : done + self._group_size]
                picture = self._attempted(group)
                if picture is None:
                    self._halve()
                    continue
                pictures.append(picture)
                done += len(group)
        return np.concatenate(pictures)

    def _attempted(self, group: Floats) -> Floats | None:
        """Return a group's pictures, or None when the device has no memory for so many.

        What the failure still held is let go before this returns.
        """
        padded_to = self._group_size if isinstance(self._function, nn.Module) else 0
        try:
            return self._translated(group, padded_to=padded_to)
        except torch.OutOfMemoryError:
            if max(len(group), padded_to) == 1:
                raise
        return None

    def _halve(self) -> None:
        """Make groups half as large; the first time, say so."""
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        if not self._is_halved:
            logger.warning(
                "%s has no memory for batches of %d tiles: smaller ones are used "
                "(a smaller --batch-size avoids the attempt)",
                self._device,
                self._group_size,
            )
        self._is_halved = True
        self._group_size = max(1, self._group_size // 2)

    def _translated(self, tiles: Floats, *, padded_to: int = 0) -> Floats:
        missing = max(padded_to - len(tiles), 0)
        padded = np.pad(tiles, ((0, missing), (0, 0), (0, 0), (0, 0)))
        x = torch.from_numpy(padded).to(self._device).contiguous(memory_format=torch.channels_last)
        pictures = self._run(x)[: len(tiles)].float().cpu().contiguous()
        _check_pictures(pictures, tiles)
        return pictures.numpy()

    def _run(self, x: Tensor) -> Tensor:
        if self._engine.precision == "fp32":
            return self._function(x)
        with torch.autocast(self._device.type, dtype=torch.bfloat16):
            if not isinstance(self._function, (UNet, ResNet)):
                return self._function(x)
            features = self._function.body(x)
        picture: Tensor = self._function.head(features.float())
        return picture


@contextmanager
def torch_left_alone() -> Iterator[None]:
    """Give torch's thread count and switches back as they were."""
    threads = torch.get_num_threads()
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    switches = (matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic = switches


def use_exact_kernels() -> None:
    """Make CUDA results repeatable: no TF32, no kernels chosen by timing, deterministic ones."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


@contextmanager
def _told_when_out_of_memory(what: str) -> Iterator[None]:
    """Raise what devices and numpy say of memory as `OutOfMemoryError`; our own errors pass."""
    try:
        yield
    except (MemoryError, RuntimeError) as exc:
        is_memory = isinstance(exc, MemoryError | torch.OutOfMemoryError)
        if isinstance(exc, Geop2pError) or not (is_memory or _speaks_of_memory(exc)):
            raise
        raise OutOfMemoryError(
            f"no memory for {what}: {_one_line(exc)} (free memory, or use a "
            "smaller model, --device cpu, fewer --workers)"
        ) from None


def _speaks_of_memory(exc: BaseException) -> bool:
    """Return whether torch's allocator for the CPU failed; it has no class of error of its own."""
    text = str(exc).lower()
    return "can't allocate memory" in text or "not enough memory" in text


def _check_pictures(pictures: Tensor, tiles: Floats) -> None:
    expected = (len(tiles), *tiles.shape[2:])
    if pictures.ndim != 4 or (pictures.shape[0], *pictures.shape[2:]) != expected:
        raise ModelError(
            f"the generator turned {tiles.shape} into {tuple(pictures.shape)} "
            "(expected the same number of tiles, of the same height and width)"
        )
    if torch.isnan(pictures).any():
        raise ModelError(
            "the generator drew NaN (are the weights sound, is the scene's range finite?)"
        )
