"""A model file gives back weights and card, and nothing else is taken for one."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from scenes import random_model
from torch import nn

from geop2p.card import ModelCard, Scaling, card_from_json
from geop2p.engines.choice import Engine
from geop2p.errors import ModelError
from geop2p.generator import ReadyGenerator
from geop2p.model import bundled_models, load_model, read_card, save_model, use_tile_statistics
from geop2p.networks import GeneratorConfig, build_generator, initialise
from geop2p.palette import Palette

PALETTE = Palette.from_list([{"index": 1, "name": "land", "colour": "#F2EFE9"}])


def full_card():
    return ModelCard(
        name="full",
        generator=GeneratorConfig(ngf=2, max_channels=4),
        gsd_m=0.8,
        palette=PALETTE,
        limits="none",
        training={"steps": 3},
        scores={"val": {"psnr": 20.5}},
    )


def rewritten(path, *, tensors=None, metadata=None):
    """Write the file again with other tensors or another card."""
    old = load_file(path)
    card = {"geop2p": read_card(path).to_json()}
    save_file({**old, **(tensors or {})}, path, card if metadata is None else metadata)
    return path


def test_a_card_survives_its_file(tmp_path):
    card = full_card()
    save_model(tmp_path / "m.safetensors", build_generator(card.generator), card)
    assert read_card(tmp_path / "m.safetensors") == card
    assert card_from_json(card.to_json()) == card


def test_weights_survive_within_half_precision(tmp_path):
    card = full_card()
    generator = build_generator(card.generator)
    initialise(generator, seed=1)
    sha256 = save_model(tmp_path / "m.safetensors", generator, card)
    model = load_model(tmp_path / "m.safetensors")
    assert model.sha256 == sha256
    assert not model.generator.training
    for name, tensor in model.generator.state_dict().items():
        expected = generator.state_dict()[name]
        assert torch.allclose(tensor, expected.to(tensor.dtype), rtol=1e-3, atol=1e-6)


def test_convolutions_are_stored_in_half_precision_and_norms_are_not(tmp_path):
    stored = load_file(random_model(tmp_path / "m.safetensors"))
    assert {t.dtype for t in stored.values() if t.ndim == 4} == {torch.float16}
    assert {t.dtype for t in stored.values() if t.ndim != 4} == {torch.float32}


def test_tile_statistics_are_what_batch_norm_does_with_a_batch_of_one():
    generator = build_generator(GeneratorConfig(arch="unet_128", ngf=4, dropout=False))
    initialise(generator, seed=2, std=0.2)
    x = torch.randn(1, 3, 256, 256)
    with torch.inference_mode():
        trained = generator.train()(x)
        use_tile_statistics(generator)
        tiled = generator.eval()(x)
    assert torch.allclose(trained, tiled, atol=1e-5)


def test_the_card_chooses_the_statistics(tmp_path):
    card = ModelCard(name="m", generator=GeneratorConfig(ngf=2), norm_statistics="tile")
    save_model(tmp_path / "m.safetensors", build_generator(card.generator), card)
    generator = load_model(tmp_path / "m.safetensors").generator
    assert not any(isinstance(module, nn.BatchNorm2d) for module in generator.modules())


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\x08\0\0\0\0\0\0\0{}      "])
def test_foreign_files_are_refused(tmp_path, content):
    (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match="safetensors"):
        load_model(tmp_path / "m.safetensors")


def test_a_truncated_model_is_refused(tmp_path):
    path = random_model(tmp_path / "m.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match="is the download complete"):
        load_model(path)


def test_a_missing_model_lists_the_bundled_ones(tmp_path):
    with pytest.raises(ModelError, match="a bundled one: "):
        load_model(tmp_path / "no.safetensors")


def test_nan_weights_are_refused_on_both_ways(tmp_path):
    path = random_model(tmp_path / "m.safetensors")
    generator = load_model(path).generator
    with torch.no_grad():
        generator.head[1].bias[0] = float("nan")
    with pytest.raises(ModelError, match=r"head\.1\.bias is not finite"):
        save_model(tmp_path / "nan.safetensors", generator, read_card(path))
    rewritten(path, tensors={"head.1.bias": torch.full((3,), float("nan"))})
    with pytest.raises(ModelError, match="NaN"):
        load_model(path)


def test_weights_of_another_architecture_are_named(tmp_path):
    path = rewritten(
        random_model(tmp_path / "m.safetensors"), tensors={"head.1.bias": torch.zeros(5)}
    )
    with pytest.raises(ModelError, match=r"head\.1\.bias is \(5,\) instead of \(3,\)"):
        load_model(path)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"surprise": 1},
        {"tile": 100},
        {"norm_statistics": "batch"},
        {"scene_bands": ["one"]},
        {"generator": {"arch": "unet_999"}},
        {"map": {"dtype": "complex64", "low": 0, "high": 1}},
        {"scene": {"dtype": "uint8", "low": 1, "high": 1}},
    ],
    ids=str,
)
def test_impossible_cards_are_refused(tmp_path, change):
    path = random_model(tmp_path / "m.safetensors")
    card = json.loads(read_card(path).to_json())
    rewritten(path, metadata={"geop2p": json.dumps(card | change)})
    with pytest.raises(ModelError, match=r"m\.safetensors"):
        load_model(path)


def test_a_file_without_a_card_is_refused(tmp_path):
    path = rewritten(random_model(tmp_path / "m.safetensors"), metadata={"other": "x"})
    with pytest.raises(ModelError, match="without a geop2p card"):
        load_model(path)


def test_a_range_must_rise():
    with pytest.raises(ModelError, match="not a range"):
        Scaling(low=2, high=1)


def test_bf16_is_near_fp32_and_draws_its_last_layer_in_float32(tmp_path):
    model = load_model(random_model(tmp_path / "m.safetensors", ngf=8))
    tiles = torch.rand(2, 3, 256, 256) * 2 - 1
    exact, rough = (
        ReadyGenerator(model.generator, Engine(precision=precision, threads=1))(tiles)
        for precision in ("fp32", "bf16")
    )
    assert rough.dtype == exact.dtype
    assert abs(rough - exact).mean() < 0.02
    assert (rough != exact).any()


def test_every_bundled_model_is_the_one_whose_checksum_is_shipped(tmp_path, monkeypatch):
    for name, path in bundled_models().items():
        load_model(name)
        damaged = bytearray(path.read_bytes())
        damaged[-1000] ^= 1
        (tmp_path / path.name).write_bytes(damaged)
    monkeypatch.setattr("geop2p.model.bundled_models", lambda: {"m": tmp_path / path.name})
    with pytest.raises(ModelError, match="is not the file that was shipped"):
        load_model("m")
