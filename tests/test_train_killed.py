"""A training killed at any moment goes on to the weights of one that was never stopped."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from pair_files import TINY, write_pairs

from geop2p.checkpoint import NEWEST, load_checkpoint

OPTIONS = TINY | {"epochs": 4, "epochs_decay": 4, "save_minutes": 1e-9}


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "geop2p", "train", "-q", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def options():
    return [
        part for name, value in OPTIONS.items() for part in (f"--{name.replace('_', '-')}", value)
    ]


def kill_after(process, run, *, steps):
    """Kill -9 once the newest checkpoint is past ``steps`` steps; return where it stood."""
    changes, seen = 0, None
    while process.poll() is None and changes <= steps:
        found = (run / NEWEST).stat().st_mtime_ns if (run / NEWEST).exists() else None
        changes += found != seen
        seen = found
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return load_checkpoint(run)["position"]


@pytest.mark.slow
@pytest.mark.parametrize("steps", [2, 8, 20])
def test_kill_9_and_resume_gives_bit_identical_weights(tmp_path, steps):
    pairs = write_pairs(tmp_path / "pairs", train=7)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start("--pairs", pairs, "--out", whole, *options()).wait() == 0
    position = kill_after(start("--pairs", pairs, "--out", killed, *options()), killed, steps=steps)
    assert 0 < position["total_steps"] < 56
    assert start("--resume", killed).wait() == 0
    a, b = load_checkpoint(whole), load_checkpoint(killed)
    for network in ("generator", "discriminator"):
        assert all(torch.equal(a[network][name], b[network][name]) for name in a[network])
    assert a["position"] == b["position"]
