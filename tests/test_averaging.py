import pytest
import torch
from torch import nn

from geop2p.averaging import AveragedGenerator


def network(value):
    made = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1))
    nn.init.constant_(made[0].weight, value)
    made[1].running_mean.fill_(value)
    return made


def test_the_average_is_the_one_made_by_hand():
    average = AveragedGenerator(network(0.0), decay=0.5)
    expected = 0.0
    for update, value in enumerate((1.0, -2.0, 5.0, 7.0), start=1):
        average.update(network(value))
        decay = min(0.5, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * value
    assert average.generator[0].weight.item() == pytest.approx(expected)
    assert average.generator[1].running_mean.item() == pytest.approx(expected)


def test_the_first_weights_are_soon_forgotten():
    average = AveragedGenerator(network(100.0), decay=0.9999)
    for _ in range(100):
        average.update(network(1.0))
    assert average.generator[0].weight.item() == pytest.approx(1, abs=1e-3)


def test_what_is_trained_stays_as_it_is():
    trained = network(1.0)
    average = AveragedGenerator(trained, decay=0.9)
    average.update(network(3.0))
    assert trained[0].weight.item() == 1
    assert not any(p.requires_grad for p in average.generator.parameters())
    assert trained[0].weight.requires_grad


def test_frozen_statistics_are_taken_over_as_they_are():
    average = AveragedGenerator(network(0.0), decay=0.9)
    average.take_statistics(network(4.0))
    assert average.generator[1].running_mean.item() == 4
    assert average.generator[0].weight.item() == 0


def test_a_restored_average_goes_on_as_if_never_stopped():
    whole, half = (AveragedGenerator(network(0.0), decay=0.99) for _ in range(2))
    for value in (1.0, 2.0, 3.0):
        whole.update(network(value))
    half.update(network(1.0))
    resumed = AveragedGenerator(network(8.0), decay=0.99)
    resumed.load_state(half.state())
    for value in (2.0, 3.0):
        resumed.update(network(value))
    assert torch.equal(resumed.generator[0].weight, whole.generator[0].weight)
