"""The device that a training runs on: chosen, large enough, and what is made ready there."""

import logging
import os

import torch

from geop2p.batches import PairStore
from geop2p.engines.choice import choose_device
from geop2p.errors import OptionError, OutOfMemoryError
from geop2p.objective import Guidance
from geop2p.recipe import TrainingConfig
from geop2p.resident import ResidentPairs
from geop2p.training import Trainer, is_amp_slow, least_bytes

logger = logging.getLogger(__name__)

GPU_LOADERS = 4
"""Threads that load pairs ahead for a GPU."""
RESIDENT_SHARE = 4
"""One part in so many of a GPU's free memory holds pairs."""


def training_device(name: str) -> torch.device:
    """Return the device that ``--device`` names; see `geop2p.engines.choice.choose_device`.

    Raises
    ------
    OptionError
        When it is unknown, not in this machine, or does not work.
    """
    return torch.device(choose_device(name))


def ready_trainer(
    config: TrainingConfig,
    device: torch.device,
    *,
    guidance: Guidance,
    compile_networks: bool = False,
) -> Trainer:
    """Return a trainer on ``device``; what will make it slow is told in one line.

    Raises
    ------
    OutOfMemoryError
        When the networks cannot fit.
    OptionError
        When the recipe needs a guidance that is not given, or its view is too small to be judged.
    """
    _check_view(config)
    _check_memory(config, device)
    if config.amp and is_amp_slow(device):
        logger.warning("--amp: this CPU has no bfloat16 arithmetic, float32 is quicker (--no-amp)")
    trainer = Trainer(config, device=device, guidance=guidance)
    problem = trainer.compile_networks() if compile_networks else ""
    if problem:
        logger.warning("--compile: trained without, torch cannot compile here: %s", problem)
    return trainer


def resident_pairs(store: PairStore, device: torch.device) -> ResidentPairs | None:
    """Return the store's pairs on a GPU, in a share of what is free there; None on a CPU."""
    if device.type != "cuda":
        return None
    most_bytes = torch.cuda.mem_get_info(device)[0] // RESIDENT_SHARE
    return ResidentPairs(store, device=device, most_bytes=most_bytes)


def loader_threads(given: int | None, device: torch.device) -> int:
    """Return how many threads load pairs ahead: none on a CPU, whose cores all train."""
    if given is not None:
        return given
    return GPU_LOADERS if device.type == "cuda" else 0


def _check_view(config: TrainingConfig) -> None:
    least = config.discriminator.least_side
    if config.is_adversarial and config.crop_size < least:
        raise OptionError(
            f"--crop-size {config.crop_size} is too small for the discriminator "
            f"(at least {least}; or choose a smaller --n-layers or --scales)"
        )


def _check_memory(config: TrainingConfig, device: torch.device) -> None:
    """Refuse networks that cannot fit, before a system that promises any memory kills for it."""
    if device.type == "cuda":
        there = torch.cuda.mem_get_info(device)[1]
    else:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    needed = least_bytes(config)
    if needed > there:
        raise OutOfMemoryError(
            f"both networks need {needed / 2**30:.1f} GiB to be trained, {device} has "
            f"{there / 2**30:.1f} GiB (choose a smaller --ngf, --ndf or --max-channels)"
        )
