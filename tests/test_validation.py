import pytest
import torch
from pair_files import write_pairs
from torch import nn

from geop2p.batches import PairStore
from geop2p.card import Scaling
from geop2p.networks import GeneratorConfig, build_generator, initialise
from geop2p.pairs import find_pairs
from geop2p.recipe import TrainingConfig
from geop2p.training import from_unit, to_unit
from geop2p.validation import MODES, Validator, as_rgb, spread

GENERATOR = GeneratorConfig(arch="resnet_6blocks", ngf=2)


@pytest.fixture
def validator(tmp_path):
    store = PairStore(find_pairs(write_pairs(tmp_path, val=5)).val, load_size=20)
    return Validator(
        store=store, config=TrainingConfig(generator=GENERATOR, crop_size=16, load_size=20)
    )


@pytest.fixture
def generator():
    network = build_generator(GENERATOR)
    initialise(network, seed=3)
    return network.train()


@pytest.mark.parametrize("mode", MODES)
def test_scores_are_repeatable_and_leave_the_generator_alone(validator, generator, mode):
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    first, again = (validator.score(generator, mode=mode, indexes=range(5)) for _ in range(2))
    assert first == again
    assert generator.training
    assert all(torch.equal(before[name], t) for name, t in generator.state_dict().items())


def test_modes_differ(validator, generator):
    scores = [validator.score(generator, mode=mode, indexes=[0, 1])["l1"] for mode in MODES]
    assert len(set(scores)) == 3


def test_a_tiles_own_statistics_are_those_of_a_batch_of_one(validator, generator):
    (scene, generated, _truth), *_ = validator.generate(generator, mode="tile", indexes=[2])
    for module in generator.modules():
        module.train(not isinstance(module, nn.Dropout))
    config = validator.config
    with torch.no_grad():
        alone = generator(to_unit(scene, config.scene, device=torch.device("cpu")))
    torch.testing.assert_close(generated, from_unit(alone, config.map), atol=1, rtol=0)


def test_the_baseline_is_one_colour(validator):
    scores = validator.score_baseline(indexes=range(5))
    assert 0 < scores["psnr_db"] < 20


@pytest.mark.parametrize(("count", "expected"), [(3, [0, 1, 2]), (10, [0, 2, 5, 7])])
def test_indexes_are_spread_evenly(count, expected):
    assert spread(count, 4) == expected


@pytest.mark.parametrize("bands", [1, 2, 3, 5])
def test_any_bands_can_be_looked_at(bands):
    picture = as_rgb(torch.full((bands, 4, 4), 1000.0), Scaling(dtype="uint16", low=0, high=2000))
    assert picture.shape == (4, 4, 3)
    assert (picture == 128).all()
