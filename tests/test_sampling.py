"""Dropout with noise that belongs to places: what it depends on, and what it must not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from geop2p.engines.choice import Engine
from geop2p.networks import GeneratorConfig, build_generator, initialise
from geop2p.pipelines.lanes import LaneSpec
from geop2p.sampling import Sampler, Sampling, has_dropout, kept_values

PLACES = [(0, 0), (0, 192), (192, 0), (192, 192), (384, 0)]
pytestmark = pytest.mark.usefixtures("one_thread")


def network(arch="unet_128", **config):
    built = build_generator(GeneratorConfig(arch=arch, ngf=4, **config))
    initialise(built, seed=0, std=0.2)
    return built


def sampler(count=3, seed=0, function=None):
    return Sampler(function or network(), Engine(), Sampling(count=count, seed=seed))


def tiles(count=5):
    return torch.rand((count, 3, 128, 128), generator=torch.Generator().manual_seed(1)) * 2 - 1


@torch.no_grad()
def spread(given, places, **options):
    return sampler(**options).variance(given, places, group_size=4)


def test_what_is_kept_depends_on_every_number_of_the_key_and_on_nothing_else():
    key = (7, 192, 384, 2, 1)
    base = kept_values(key, (64, 8, 8), 0.5)
    assert np.array_equal(base, kept_values(key, (64, 8, 8), 0.5))
    for place in range(len(key)):
        other = [number + (i == place) for i, number in enumerate(key)]
        assert 0.4 < (kept_values(other, (64, 8, 8), 0.5) == base).mean() < 0.6


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.8])
def test_the_share_that_is_dropped_is_the_layers(probability):
    kept = kept_values((1, 2), (100_000,), probability)
    assert kept.mean() == pytest.approx(1 - probability, abs=0.01)


def test_what_is_kept_is_the_same_on_every_machine():
    kept = np.flatnonzero(kept_values((0, 192, 384, 1, 2), (24,), 0.5))
    assert kept.tolist() == [0, 2, 3, 6, 10, 14, 15, 17, 20, 22]


def test_the_variance_is_that_of_passes_made_by_hand():
    given, one = tiles(1), sampler(count=4)
    found = spread(given, PLACES[:1], count=4)
    passes = []
    for number in range(4):
        for layer in one._layers:
            layer.keys = [(0, *PLACES[0], number)]
        with torch.no_grad():
            passes.append(one._runner(given))
    assert torch.allclose(found, torch.stack(passes).var(dim=0), atol=1e-6)
    assert float(found.max()) > 1e-4


def test_a_tile_is_sampled_alike_whatever_is_beside_it():
    given = tiles()
    together = spread(given, PLACES)
    for i, place in enumerate(PLACES):
        assert torch.equal(together[i], spread(given[i : i + 1], [place])[0])


def test_equal_tiles_are_sampled_otherwise_at_other_places_and_with_other_seeds():
    given = tiles(1).expand(2, -1, -1, -1)
    one, other = spread(given, PLACES[:2])
    assert not torch.allclose(one, other)
    assert not torch.allclose(one, spread(given, PLACES[:2], seed=1)[0])


def test_norms_stay_in_evaluation_mode_and_the_network_is_left_as_it_was():
    built = network().train()
    before = {name: value.clone() for name, value in built.state_dict().items()}
    spread(tiles(2), PLACES[:2], function=built)
    assert all(torch.equal(value, before[name]) for name, value in built.state_dict().items())
    assert built.training


def test_equal_pictures_spread_by_exactly_nothing():
    still = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(3, 3, 1))
    nn.init.zeros_(still[1].weight)
    assert not spread(tiles(2), PLACES[:2], function=still).any()


@pytest.mark.parametrize("arch", ["unet_128", "resnet_6blocks"])
def test_a_network_has_dropout_when_its_configuration_says_so(arch):
    assert has_dropout(network(arch))
    assert not has_dropout(network(arch, dropout=False))
    assert not has_dropout(lambda pictures: pictures)


def test_models_in_8_bits_are_sampled_in_float32():
    engine = replace(Engine(), name="packed", precision="int8")
    one = Sampler(network(), engine, Sampling(count=2, seed=0))
    with torch.no_grad():
        found = one.variance(tiles(1), PLACES[:1], group_size=4)
    assert torch.equal(found, spread(tiles(1), PLACES[:1], count=2))


def test_a_lane_knows_how_often_it_draws_a_tile():
    plain = LaneSpec(engine=Engine())
    both = replace(plain, is_mirrored=True, sampling=Sampling(count=6, seed=0))
    assert (plain.passes, replace(plain, is_mirrored=True).passes, both.passes) == (1, 4, 10)
