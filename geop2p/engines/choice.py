"""Which engine, device, precision and batch size: what was left open is settled here."""

import logging
import platform
import warnings
from dataclasses import dataclass
from functools import cache

import torch

from geop2p.errors import OptionError

logger = logging.getLogger(__name__)

PRECISIONS = ("auto", "fp32", "bf16", "int8")
ENGINES = ("auto", "torch", "packed")
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
        ``fp32``; ``bf16`` for the body of the network, the head is always float32; ``int8`` for the
        convolutions of a model whose card has their ranges.
    batch_size : int, tiles, at least 1
        Every batch has this size.
    threads : int, at least 1
        torch's threads on a CPU.
    name : str
        One of `ENGINES` but ``auto``; ``torch`` is the reference. Precision int8 has an engine of
        its own, whatever the name.
    """

    device: str = "cpu"
    precision: str = "fp32"
    batch_size: int = CPU_BATCH
    threads: int = 1
    name: str = "torch"

    @property
    def group_size(self) -> int:
        """Tiles that are computed at a time; on a CPU always the same, so that bits are."""
        return CPU_BATCH if self.kind == "cpu" else self.batch_size

    @property
    def label(self) -> str:
        """What tags call it: everything that bits may depend on, but torch and the machine."""
        return f"{self.kind} {self.name} {self.precision}"

    @property
    def kind(self) -> str:
        """``cpu`` or ``cuda``: the kind of device, which bits may depend on."""
        return self.device.split(":", maxsplit=1)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitness:
    """What a generator and this machine can do besides the reference.

    Parameters
    ----------
    is_packable : bool
        The packed engine takes it.
    int8_fault : str or None
        Why it cannot be run in int8; None: it can.
    is_int8_close : bool
        int8 was measured, and loses next to nothing.
    """

    is_packable: bool = False
    int8_fault: str | None = "the generator has no card"
    is_int8_close: bool = False


def choose_engine(
    *,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    threads: int,
    name: str = "auto",
    fitness: Fitness = Fitness(),
) -> Engine:
    """Resolve what was left to geop2p.

    Device ``auto`` is the GPU where there is one that works, else the CPU, and a GPU that does not
    work is told of. Where nothing else is asked for, a CPU works in int8 if ``fitness`` says that
    it loses next to nothing, else in fp32 with packed weights; a GPU in fp32, by torch.

    Raises
    ------
    OptionError
        When a GPU was asked for by name and there is none, the batch is smaller than 1, or an
        engine or precision does not go with the device, the other, or the generator.
    """
    if batch_size is not None and batch_size < 1:
        raise OptionError(f"batch size {batch_size} (expected at least 1 tile)")
    chosen = choose_device(device)
    is_cpu = not chosen.startswith("cuda")
    if not is_cpu:
        _check_for_gpu(chosen, precision=precision, name=name)
    if precision == "auto":
        is_int8 = is_cpu and name == "auto" and fitness.is_int8_close
        precision = "int8" if is_int8 and fitness.int8_fault is None else "fp32"
    _refuse(
        name == "packed" and precision == "bf16",
        "engine packed and precision bf16 (give --engine torch, or another precision)",
    )
    if precision == "int8":
        _refuse(name == "torch", "engine torch and precision int8 (give one of them)")
        _refuse(fitness.int8_fault is not None, f"precision int8: {fitness.int8_fault}")
    if is_cpu and precision == "bf16":
        _warn_of_bf16()
    if name == "auto":
        is_packed = is_cpu and precision != "bf16" and fitness.is_packable
        name = "packed" if is_packed else "torch"
    return Engine(
        device=chosen,
        precision=precision,
        batch_size=batch_size or (CPU_BATCH if is_cpu else CUDA_BATCH),
        threads=threads,
        name=name,
    )


def _check_for_gpu(device: str, *, precision: str, name: str) -> None:
    _refuse(name == "packed", f"engine packed on {device} (it is for the CPU)")
    _refuse(precision == "int8", f"precision int8 on {device} (it is for the CPU)")
    _refuse(
        precision == "bf16" and not has_bf16(device),
        f"precision bf16 on {device}, a GPU without such arithmetic (leave --precision away)",
    )


def _refuse(is_wrong: bool, message: str) -> None:  # noqa: FBT001
    if is_wrong:
        raise OptionError(message)


@cache
def _warn_of_bf16() -> None:
    """Tell once that this processor has no instructions for bf16, if it is of a known kind."""
    knows = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    if platform.machine() in ("x86_64", "AMD64") and knows is not None and not knows():
        logger.warning(
            "precision bf16: this processor has no instructions for it, and is many times slower "
            "than in fp32 (leave --precision away)"
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


def has_bf16(device: str) -> bool:
    """Return whether a GPU computes in bfloat16; older ones, which emulate it, do not."""
    with torch.cuda.device(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))


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
                reasons = [one_line(warning.message) for warning in told]
                return f"the GPU is not usable: {reasons[0]}" if reasons else _NO_GPU
            count = torch.cuda.device_count()
            if number >= count:
                return f"{count} CUDA devices are usable"
            torch.ones(8, device=device).add_(1).sum().item()
        except (RuntimeError, AssertionError, OSError) as exc:
            return f"the GPU is not usable: {one_line(exc)}"
    return None


def one_line(message: object) -> str:
    """Return the first sentence of what torch says."""
    lines = str(message).strip().splitlines() or [type(message).__name__]
    return lines[0].strip()
