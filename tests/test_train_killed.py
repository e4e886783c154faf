"""A training killed at any moment goes on to the weights of one that was never stopped."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
import torch
from pair_files import write_pairs
from training_processes import OPTIONS, train_whole, train_with_kills

from geop2p.checkpoint import NEWEST, load_checkpoint
from geop2p.model import load_model


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("data") / "pairs", train=7)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, pairs):
    run = tmp_path_factory.mktemp("runs") / "whole"
    return run, train_whole(pairs, run)


def assert_equal_runs(one, other):
    a, b = load_checkpoint(one), load_checkpoint(other)
    for network in ("generator", "discriminator"):
        assert all(torch.equal(a[network][name], b[network][name]) for name in a[network])
    assert a["position"] == b["position"]
    models = [load_model(run / "model.safetensors").generator.state_dict() for run in (one, other)]
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])
    logs = [(run / "log.jsonl").read_text().splitlines() for run in (one, other)]
    losses = [[json.loads(line)["losses"] for line in log] for log in logs]
    assert losses[0] == losses[1]
    names = [
        {path.name for path in run.rglob("*")} - {"checkpoint-previous.pt"} for run in (one, other)
    ]
    assert names[0] == names[1]


def kill_and_compare(tmp_path, pairs, whole, *, kills, seed):
    reference, seconds = whole
    delays = np.random.default_rng(seed).uniform(0.02, 0.7 * seconds, kills)
    met = train_with_kills(pairs, tmp_path / "killed", delays=delays)
    assert_equal_runs(reference, tmp_path / "killed")
    return met


@pytest.mark.slow
def test_kills_at_fifteen_random_moments_change_no_weight(tmp_path, pairs, whole):
    assert sum(kill_and_compare(tmp_path / str(n), pairs, whole, kills=5, seed=n) for n in range(3))


def command(*arguments):
    given = [part for name, value in OPTIONS.items() for part in (option(name), str(value))]
    more = [] if "--resume" in arguments else given
    return [sys.executable, "-m", "geop2p", "train", "-q", *map(str, arguments), *more]


def option(name):
    return f"--{name.replace('_', '-')}"


def start(*arguments):
    return subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def wait_for(path, process):
    while not path.exists() and process.poll() is None:
        time.sleep(0.01)


STATUS = {signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGINT: 130}


def stop_and_resume(run, pairs, number):
    """End a training by a signal; return what it said, after the run was completed."""
    process = start("--pairs", pairs, "--out", run)
    wait_for(run / NEWEST, process)
    began = time.monotonic()
    process.send_signal(number)
    _out, err = process.communicate(timeout=60)
    assert time.monotonic() - began < 5
    assert process.returncode == STATUS[number]
    assert load_checkpoint(run)["position"]["total_steps"] > 0
    again = start("--resume", run)
    assert (again.communicate(timeout=120)[1], again.returncode) == ("", 0)
    return err


def test_a_signal_leaves_a_checkpoint_and_says_how_to_go_on(tmp_path, pairs, whole):
    err = stop_and_resume(tmp_path / "run", pairs, signal.SIGTERM)
    assert re.fullmatch(r"geop2p: terminated; .*--resume.*\n", err)
    assert_equal_runs(whole[0], tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_every_signal_does(tmp_path, pairs, whole, number):
    assert "--resume" in stop_and_resume(tmp_path / "run", pairs, number)
    assert_equal_runs(whole[0], tmp_path / "run")


@pytest.mark.slow
def test_a_killed_training_leaves_no_process(tmp_path, pairs):
    process = start("--pairs", pairs, "--out", tmp_path / "run", "--workers", "3")
    wait_for(tmp_path / "run" / NEWEST, process)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    psutil.wait_procs(children, timeout=5)
    assert not [child for child in children if child.is_running()]
