"""Pixels reach a device and come back as they were; on a CPU nothing is copied."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from scenes import noise

from geop2p.transfer import Bus, Timeline, sent, staged

CPU = torch.device("cpu")


def test_on_a_cpu_pixels_are_used_where_they_are():
    pixels = noise(3, 20, 30, dtype="uint16")
    bus = Bus(CPU)
    (back,) = bus.fetch([bus.send(staged(pixels, CPU))]).wait()
    assert np.shares_memory(back, pixels)
    assert np.array_equal(back, pixels)


def test_arrays_that_must_not_be_written_are_copied():
    pixels = noise(1, 4, 4)
    pixels.flags.writeable = False
    assert not np.shares_memory(staged(pixels, CPU).numpy(), pixels)


def test_small_values_are_sent_as_they_are_and_on_a_cpu_not_copied():
    values = np.arange(6.0)[::2]
    assert np.shares_memory(sent(values, CPU).numpy(), values)
    values.flags.writeable = False
    assert np.array_equal(sent(values, CPU).numpy(), values)
    assert torch.equal(sent(torch.ones(3), CPU), torch.ones(3))


def test_time_is_given_to_the_stage_that_ended():
    timeline = Timeline(CPU)
    for stage in ("prepare", "generate", "", "prepare"):
        timeline.mark(stage)
    seconds = timeline.seconds()
    assert seconds.keys() == {"prepare", "generate"}
    assert min(seconds.values()) >= 0


@pytest.mark.gpu
@torch.inference_mode()
def test_what_is_sent_to_a_gpu_waits_for_nothing():
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    values = np.arange(1000.0)[::2]
    with no_waiting():
        there = sent(values, torch.device("cuda"))
    assert np.array_equal(there.cpu().numpy(), values)


@contextmanager
def no_waiting():
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_pixels_come_back_from_a_gpu_as_they_were(dtype):
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    device = torch.device("cuda")
    pixels, bus, timeline = noise(3, 500, 700, dtype=dtype), Bus(device), Timeline(device)
    returning = [bus.fetch([bus.send(staged(pixels, device))]) for _ in range(4)]
    timeline.mark("copy")
    assert all(np.array_equal(each.wait()[0], pixels) for each in returning)
    torch.cuda.synchronize()
    assert timeline.seconds()["copy"] >= 0
