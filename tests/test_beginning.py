"""A run that begins with another model's weights."""

import pytest
import torch
from pair_files import TINY, write_pairs

from geop2p import train
from geop2p.errors import ModelError, OptionError
from geop2p.model import load_model, read_card


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def model(pairs, tmp_path_factory):
    return train(pairs, tmp_path_factory.mktemp("first") / "run", **TINY).model_path


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_run_that_learns_nothing_ends_with_the_weights_that_it_began_with(
    pairs, model, tmp_path, ema
):
    options = TINY | {"seed": 5, "lr": 1e-12, "ema": ema}
    report = train(pairs, tmp_path / "run", start_from=str(model), **options)
    begun, ended = (
        dict(load_model(f).generator.named_parameters()) for f in (model, report.model_path)
    )
    assert all(torch.allclose(begun[name], ended[name], rtol=0, atol=1e-9) for name in begun)
    told = read_card(report.model_path).training["options"]["start_from"]
    assert told == f"{model.parent.name}/{model.name}"


def test_another_network_is_refused_and_nothing_is_left(pairs, model, tmp_path):
    other = {"ngf": 8, "max_channels": 16}
    with pytest.raises(OptionError) as caught:
        train(pairs, tmp_path / "run", start_from=str(model), **TINY | other)
    assert str(caught.value) == (
        f"--start-from {model}: its generator has ngf 4, max_channels none; this run's has ngf 8, "
        "max_channels 16 (give --ngf 4, leave --max-channels away)"
    )
    with pytest.raises(ModelError, match=r"none\.safetensors"):
        train(pairs, tmp_path / "run", start_from=str(tmp_path / "none.safetensors"), **TINY)
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_other_values_are_told_by_type_and_range(pairs, model, tmp_path):
    card = tmp_path / "card.json"
    card.write_text('{"scene_range": [0, 100]}')
    with pytest.raises(OptionError, match=r"scenes are uint8 \(0 to 255\), .* uint8 \(0 to 100\)"):
        train(pairs, tmp_path / "run", start_from=str(model), card=card, **TINY)
