"""Lanes: where the generators of several worker processes run."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from geop2p.engines.choice import Engine
from geop2p.pipelines import lanes
from geop2p.pipelines.lanes import LanePlugin, LaneSpec, device_of_worker, make_current

CARDS = {"two alike": ["A", "A"], "two kinds": ["A", "B"], "one": ["A"], "none": []}


@pytest.mark.parametrize(
    ("cards", "device", "expected"),
    [
        ("two alike", "cuda", ["cuda:0", "cuda:1", "cuda:0"]),
        ("two alike", "cuda:1", ["cuda:1"] * 3),
        ("two alike", "cpu", ["cpu"] * 3),
        ("two kinds", "cuda", ["cuda"] * 3),
        ("one", "cuda", ["cuda:0"] * 3),
        ("none", "cuda", ["cuda"] * 3),
    ],
)
def test_workers_of_a_machine_share_its_gpus_out(monkeypatch, cards, device, expected):
    names = CARDS[cards]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(names))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: names[number])
    assert [device_of_worker(device, name) for name in (0, 1, "2")] == expected
    assert device_of_worker(device, "tcp://10.0.0.5:4711") == device


def test_only_a_gpu_with_a_number_is_made_current(monkeypatch):
    made = []
    monkeypatch.setattr(torch._C, "_cuda_setDevice", made.append, raising=False)
    for name in ("cpu", "cpu:0", "cuda", "cuda:1"):
        make_current(torch.device(name))
    assert made == [1]


def test_each_worker_of_ours_opens_its_lane_there_and_those_of_a_cluster_where_asked(monkeypatch):
    opened, spec = [], LaneSpec(engine=Engine(device="cuda", batch_size=3))
    monkeypatch.setattr(lanes, "open_lane", lambda _key, spec: opened.append(spec))
    monkeypatch.setattr(lanes, "depend_on", lambda _owner: None)
    monkeypatch.setattr(lanes, "device_of_worker", lambda device, name: f"{device}:{name}")
    for owner in (1, None):
        LanePlugin("key", spec, owner=owner).setup(SimpleNamespace(name=1))
    assert opened == [replace(spec, engine=replace(spec.engine, device="cuda:1")), spec]
