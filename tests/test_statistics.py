import pytest
import torch
from torch import nn

from geop2p.networks import GeneratorConfig, build_generator, initialise
from geop2p.statistics import has_statistics, reestimate_statistics


def pictures(count, *, mean):
    random = torch.Generator().manual_seed(0)
    return [torch.randn(16, 3, 8, 8, generator=random) + mean for _ in range(count)]


def test_statistics_are_those_of_the_pictures():
    network = nn.Sequential(nn.BatchNorm2d(3))
    scenes = pictures(4, mean=2.0)
    reestimate_statistics(network, scenes)
    everything = torch.cat(scenes)
    torch.testing.assert_close(network[0].running_mean, everything.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(
        network[0].running_var, everything.var(dim=(0, 2, 3)), atol=0.01, rtol=0.01
    )


def test_what_was_known_before_does_not_count():
    first, second = (nn.Sequential(nn.BatchNorm2d(3)) for _ in range(2))
    second[0].running_mean.fill_(1e6)
    for network in (first, second):
        reestimate_statistics(network, pictures(2, mean=0.0))
    assert torch.equal(first[0].running_mean, second[0].running_mean)


def test_dropout_is_off_and_weights_stay():
    network = build_generator(GeneratorConfig(arch="resnet_6blocks", ngf=2))
    initialise(network, seed=0)
    weights = [weight.clone() for weight in network.parameters()]
    for _ in range(2):
        reestimate_statistics(network, pictures(1, mean=0.0))
        found = [b.clone() for b in network.buffers()]
    reestimate_statistics(network, pictures(1, mean=0.0))
    assert all(map(torch.equal, found, network.buffers()))
    assert all(map(torch.equal, weights, network.parameters()))


def test_afterwards_the_network_evaluates_and_can_train_on():
    network = nn.Sequential(nn.BatchNorm2d(3, momentum=0.1))
    reestimate_statistics(network, pictures(1, mean=0.0))
    assert not network[0].training
    assert network[0].momentum == 0.1


@pytest.mark.parametrize(("norm", "expected"), [("batch", True), ("instance", False)])
def test_only_batch_norm_has_statistics(norm, expected):
    network = build_generator(GeneratorConfig(arch="resnet_6blocks", ngf=2, norm=norm))
    assert has_statistics(network) is expected
