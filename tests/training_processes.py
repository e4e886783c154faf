"""Trainings in processes of their own that can be killed, forked from one that has torch loaded."""

import multiprocessing
import os
import signal
import time

from pair_files import TINY

from geop2p.checkpoint import NEWEST, load_checkpoint
from geop2p.errors import Geop2pError

OPTIONS = TINY | {"epochs": 2, "epochs_decay": 2, "save_minutes": 1e-9}
"""Four epochs, with a checkpoint after every step."""

os.environ["OMP_NUM_THREADS"] = "1"  # of the server, and so of all that it forks
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["geop2p.pipelines.train", "training_processes"])


def _train(pairs, out, options):
    import torch

    from geop2p.pipelines.train import train

    torch.set_num_threads(1)
    try:
        train(pairs, out, **options)
    except Geop2pError as exc:
        os._exit(exc.exit_status)


def start(pairs, out, options):
    process = _context.Process(target=_train, args=(pairs, out, options), daemon=True)
    process.start()
    return process


def train_whole(pairs, out):
    """Train without a break; return the seconds from start to end."""
    began = time.monotonic()
    process = start(pairs, out, OPTIONS)
    process.join()
    assert process.exitcode == 0
    return time.monotonic() - began


def train_with_kills(pairs, out, *, delays):
    """Kill -9 after each delay, go on each time; return how many kills met a live process."""
    kills = 0
    for delay in delays:
        process = go_on(pairs, out)
        process.join(delay)
        if process.exitcode is None:
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            kills += 1
    process = go_on(pairs, out)
    process.join()
    assert process.exitcode == 0
    return kills


def go_on(pairs, out):
    """Start the training, or resume it where it has got to a first checkpoint."""
    if (out / NEWEST).exists():
        return start(None, None, {"resume": out})
    return start(pairs, out, OPTIONS)


def position_of(run):
    return load_checkpoint(run)["position"]
