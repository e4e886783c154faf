"""Where a training runs, and what is particular to GPUs in it, as far as a CPU can show it."""

import re

import pytest
import torch
from pair_files import TINY, write_pairs

from geop2p.pipelines.train import _undisturbed_torch, train
from geop2p.pipelines.training_device import training_device

pytestmark = pytest.mark.usefixtures("one_thread")


def notes_of(tmp_path, name, pairs):
    notes = []
    options = TINY | {"epochs": 1, "epochs_decay": 0, "batch_size": 1}

    def tell(progress):
        notes.append(progress.note)

    train(pairs, tmp_path / name, on_progress=tell, **options)
    return [found[1] for note in notes if (found := re.search("L1 (.*)", note))], len(notes)


def test_losses_that_are_looked_at_seldom_are_told_as_the_mean_of_those_seen(tmp_path, monkeypatch):
    pairs = write_pairs(tmp_path / "pairs", train=5)
    always, steps = notes_of(tmp_path, "always", pairs)
    monkeypatch.setattr("geop2p.pipelines.training_run._check_every", lambda _device: 2)
    seldom, _ = notes_of(tmp_path, "seldom", pairs)
    assert len(always) == steps == 5
    assert seldom == [always[1], always[1], always[3], always[3]]


def test_a_driver_that_lists_gpus_which_do_not_work_stops_no_training(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with _undisturbed_torch():
        assert training_device("auto") == torch.device("cpu")
