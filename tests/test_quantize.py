"""A quantised model is the same model with a longer card; a card that lies is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from scenes import landscape, noise, random_model, read_raster, write_scene
from torch import nn

import geop2p
from geop2p.card import card_from_json
from geop2p.cli.quantize import _summary
from geop2p.errors import ModelError
from geop2p.model import load_model, read_card, save_model
from geop2p.networks import GENERATORS, GeneratorConfig, build_generator
from geop2p.palette import Palette
from geop2p.pipelines.quantize import QuantizeReport
from geop2p.quantisation import Int8Entry, Int8Losses, SourceScene, convolution_names

SAMPLES = Path(__file__).parents[1] / "sample_tiles" / "dubai"
SCENE, LABELS = SAMPLES / "scene3_part.jpg", SAMPLES / "scene3_part_labels.png"
SOURCE = (SourceScene(name="scene.tif", sha256="0" * 64),)
HELD_BACK = (SourceScene(name="scene.tif", sha256="1" * 64),)
PALETTE = Palette.from_list(
    [
        {"index": 0, "name": "none", "colour": "#F2EFE9", "scored": False},
        {"index": 1, "name": "land", "colour": "#F2EFE9"},
        {"index": 2, "name": "water", "colour": "#A3CCFF"},
        {"index": 3, "name": "green", "colour": "#C8E6B0"},
        {"index": 4, "name": "building", "colour": "#D9D0C9"},
        {"index": 5, "name": "road", "colour": "#FFFFFF"},
    ]
)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    model = load_model(random_model(path, ngf=2))
    save_model(path, model.generator, replace(model.card, palette=PALETTE, tile=128))
    return path


@pytest.fixture(scope="module")
def quantised_file(model_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("quantised")
    scene = write_scene(folder / "scene.tif", landscape(3, 300, 300))
    geop2p.quantize(model_file, folder / "m8.safetensors", calibrate=[scene], tiles=2)
    return folder / "m8.safetensors"


def entry_of(config, **changes):
    ranges = dict.fromkeys(convolution_names(config), (-1.0, 1.0))
    entry = {"ranges": ranges, "method": "99.99%", "scenes": SOURCE, "tiles": 4}
    return Int8Entry(**entry | changes)


@pytest.mark.usefixtures("one_thread")
def test_the_command_quantises_measures_and_the_map_is_drawn(tmp_path, model_file, run_cli):
    out, scene, labels = (tmp_path / name for name in ("m8.safetensors", "s.tif", "labels.tif"))
    for path, sample in ((scene, SCENE), (labels, LABELS)):
        write_scene(path, read_raster(sample)[0][:, 300:560, 100:400])
    status, told, err = run_cli(
        *("quantize", model_file, "--calibrate", scene, "--tiles", 2, "--out", out),
        *("--scene", scene, "--truth", labels, "--json"),
    )
    assert status == 0, err
    report, entry = json.loads(told), read_card(out).int8
    assert (report["tiles"], entry.tiles, entry.scenes[0].name) == (2, 2, scene.name)
    assert report["psnr_db"] == entry.losses.psnr_db > 30
    assert (report["is_within_limits"], entry.is_within_limits) == (False, False)
    assert entry.losses.truth_psnr_db[0] == pytest.approx(entry.losses.truth_psnr_db[1], abs=0.5)
    map_path = tmp_path / "map.tif"
    drawn = run_cli("translate", scene, "--model", out, "--precision", "int8", "--out", map_path)
    assert drawn[0] == 0, drawn[2]
    assert read_raster(map_path)[0].std() > 1


@pytest.mark.usefixtures("one_thread")
def test_ranges_that_no_card_may_hold_leave_no_file(tmp_path, model_file, run_cli):
    model = load_model(model_file)
    norms = [layer for layer in model.generator.modules() if isinstance(layer, nn.BatchNorm2d)]
    nn.init.constant_(norms[0].weight, 1e9)
    save_model(tmp_path / "huge.safetensors", model.generator, model.card)
    scene = write_scene(tmp_path / "scene.tif", landscape(3, 128, 128))
    before = sorted(tmp_path.iterdir())
    out = tmp_path / "m8.safetensors"
    status, _, err = run_cli(
        *("quantize", tmp_path / "huge.safetensors", "--calibrate", scene, "--out", out)
    )
    assert status == ModelError.exit_status
    assert "huge.safetensors: int8: the range of encoder.2.1 is" in err
    assert err.endswith("it stays a model for float32\n")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.usefixtures("one_thread")
def test_losses_count_on_scenes_that_were_held_back(tmp_path, model_file, run_cli):
    shown, copy, other = (tmp_path / f"{name}.tif" for name in ("shown", "copy", "other"))
    write_scene(shown, landscape(3, 128, 128))
    copy.write_bytes(shown.read_bytes())
    write_scene(other, landscape(3, 128, 128, seed=1))
    told = {}
    for scene in (shown, copy, other):
        out = tmp_path / f"m8-{scene.name}.safetensors"
        words = ("--calibrate", shown, "--tiles", 1, "--scene", scene, "--truth", scene)
        status, told[scene], err = run_cli("quantize", model_file, *words, "--out", out)
        assert status == 0, err
        assert read_card(out).int8.is_within_limits is (scene == other)
    for scene in (shown, copy):
        line = f"measured on what it was calibrated with ({scene.name}), which does not count"
        assert line in told[scene]
        assert "--precision auto does not take int8 on a CPU" in told[scene]
    assert "does not count" not in told[other]
    assert "--precision auto takes int8 on a CPU" in told[other]


def test_weights_are_the_same_bytes_and_the_rest_of_the_card_is_the_same(
    model_file, quantised_file
):
    before, after = load_file(model_file), load_file(quantised_file)
    assert before.keys() == after.keys()
    assert all(before[name].dtype == after[name].dtype for name in before)
    assert all(torch.equal(before[name], after[name]) for name in before)
    card = read_card(quantised_file)
    assert replace(card, int8=None) == read_card(model_file)
    assert card_from_json(card.to_json()) == card


def test_the_same_scenes_give_the_same_file(tmp_path, model_file, quantised_file):
    scene = quantised_file.with_name("scene.tif")
    again = tmp_path / "m8.safetensors"
    geop2p.quantize(model_file, again, calibrate=[scene], tiles=2)
    assert again.read_bytes() == quantised_file.read_bytes()


def test_a_card_without_the_entry_is_written_as_it_always_was(model_file):
    assert "int8" not in json.loads(read_card(model_file).to_json())


@pytest.mark.parametrize("dropout", [True, False])
@pytest.mark.parametrize("arch", GENERATORS)
def test_the_names_of_convolutions_are_the_networks(arch, dropout):
    config = GeneratorConfig(arch=arch, ngf=1, dropout=dropout)
    with torch.device("meta"):
        modules = build_generator(config).named_modules()
    convolutions = (nn.Conv2d, nn.ConvTranspose2d)
    expected = [name for name, module in modules if isinstance(module, convolutions)]
    assert convolution_names(config) == expected


def losses(psnr_loss, accuracy_loss, *, scenes=HELD_BACK):
    accuracy = None if accuracy_loss is None else (0.8, 0.8 - accuracy_loss / 100)
    truth = None if psnr_loss is None else (25.0, 25.0 - psnr_loss)
    return Int8Losses(scenes=scenes, psnr_db=50.0, truth_psnr_db=truth, accuracy=accuracy)


@pytest.mark.parametrize(
    ("measured", "is_within"),
    [
        (None, False),
        (losses(None, None), False),
        (losses(0.1, 0.3), True),
        (losses(-2.0, -5.0), True),
        (losses(0.05, None), True),
        (losses(0.11, 0.0), False),
        (losses(0.0, 0.31), False),
        (losses(0.0, 0.0, scenes=SOURCE), False),
        (losses(0.0, 0.0, scenes=HELD_BACK + SOURCE), False),
    ],
)
def test_auto_takes_what_was_measured_and_loses_next_to_nothing(measured, is_within):
    entry = entry_of(GeneratorConfig(), losses=measured)
    assert entry.is_within_limits is is_within


def changed(**changes):
    return lambda entry: entry.update(changes)


def range_of(limits):
    return lambda entry: entry["ranges"].update({"head.1": limits})


DAMAGES = {
    "no object": (lambda entry: entry.clear() or entry.update(x=1), "missing or unknown"),
    "unknown": (changed(weights=[1]), "weights"),
    "ranges": (changed(ranges=[1]), "no object"),
    "missing": (lambda entry: entry["ranges"].pop("head.1"), "head.1.*missing"),
    "left over": (lambda entry: entry["ranges"].update({"x": [0, 1]}), "x.*left over"),
    "backwards": (range_of([1.0, -1.0]), "low < high"),
    "empty": (range_of([1.0, 1.0]), "low < high"),
    "null": (range_of(None), "low < high"),
    "infinite": (range_of([0.0, 1e999]), "Infinity|expected"),
    "huge": (range_of([0.0, 1e30]), "expected"),
    "whole and huge": (range_of([0, 10**400]), "expected"),
    "text": (range_of(["0", "1"]), "expected"),
    "true": (range_of([False, True]), "expected"),
    "three": (range_of([0, 1, 2]), "pair"),
    "method": (changed(method=5), "method"),
    "tiles": (changed(tiles=0), "tiles"),
    "half tiles": (changed(tiles=1.5), "tiles"),
    "scenes": (changed(scenes=[]), "scenes"),
    "scene": (changed(scenes=[{"name": "x", "sha256": "zz"}]), "SHA-256"),
    "losses": (changed(losses=[1]), "no object"),
    "accuracy": (lambda entry: entry["losses"].update(accuracy=[0.5, 2]), "expected"),
    "psnr": (lambda entry: entry["losses"].update(psnr_db=None), "psnr_db"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_entry_is_refused(model_file, kind):
    card = read_card(model_file)
    whole = replace(card, int8=entry_of(card.generator, losses=losses(0.0, 0.0)))
    content = json.loads(whole.to_json())
    damage, expected = DAMAGES[kind]
    damage(content["int8"])
    with pytest.raises((ModelError, ValueError), match=expected):
        card_from_json(json.dumps(content))


def test_ranges_of_a_generator_with_instance_norm_are_refused():
    config = GeneratorConfig(norm="instance")
    with pytest.raises(ModelError, match="instance norm"):
        entry_of(config).check_fits(config)


def test_statistics_of_each_tile_leave_the_ranges_out(quantised_file):
    assert load_model(quantised_file).card.int8 is not None
    assert load_model(quantised_file, norm_statistics="tile").card.int8 is None


@pytest.mark.parametrize(
    ("arguments", "status", "expected"),
    [
        (["--calibrate", "missing.tif", "--out", "m8.safetensors"], 3, "missing.tif"),
        (["--calibrate", "s.tif", "--out", "m8.bin"], 2, "safetensors"),
        (["--calibrate", "s.tif", "--out", "no/m8.safetensors"], 5, "does not exist"),
        (["--calibrate", "s.tif", "--out", "there.safetensors"], 5, "exists"),
        (["--calibrate", "s.tif", "--out", "m8.safetensors", "--tiles", "0"], 2, "tiles"),
        (["--calibrate", "s.tif", "--out", "m8.safetensors", "--truth", "s.tif"], 2, "--truth"),
        (["--calibrate", "four.tif", "--out", "m8.safetensors"], 3, "4 bands"),
        (
            [
                *("--calibrate", "s.tif", "--out", "m8.safetensors"),
                *("--scene", "s.tif", "--truth", "small.tif"),
            ],
            3,
            "small.tif",
        ),
        (["--calibrate", "masked.tif", "--out", "m8.safetensors"], 3, "valid"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    tmp_path, monkeypatch, model_file, run_cli, arguments, status, expected
):
    monkeypatch.chdir(tmp_path)
    write_scene(Path("s.tif"), noise(3, 64, 64))
    write_scene(Path("four.tif"), noise(4, 64, 64), photometric="MINISBLACK")
    write_scene(Path("small.tif"), noise(3, 60, 64), crs=None, transform=None)
    write_scene(Path("masked.tif"), noise(3, 64, 64), valid=noise(1, 64, 64)[0] > 128)
    Path("there.safetensors").write_text("something")
    found, out, err = run_cli("quantize", model_file, *arguments, "--quiet")
    assert (found, out, err.count("\n")) == (status, "", 1), err
    assert expected in err
    assert not Path("m8.safetensors").exists()
    assert not list(tmp_path.glob(".*"))


def test_a_model_that_cannot_run_in_8_bits_is_told_of(tmp_path, run_cli):
    model = random_model(tmp_path / "m.safetensors", ngf=2, norm="instance")
    scene = write_scene(tmp_path / "s.tif", noise(3, 64, 64))
    status, _out, err = run_cli(
        "quantize", model, "--calibrate", scene, "--out", tmp_path / "m8.safetensors"
    )
    assert (status, err.count("\n")) == (4, 1)
    assert "8 bits" in err


def test_a_scene_without_a_whole_valid_tile_is_passed_over_and_named(tmp_path, model_file, caplog):
    masked = write_scene(tmp_path / "masked.tif", noise(3, 64, 64), valid=noise(1, 64, 64)[0] > 128)
    sound = write_scene(tmp_path / "sound.tif", noise(3, 64, 64, seed=1))
    out = tmp_path / "m8.safetensors"
    geop2p.quantize(model_file, out, calibrate=[masked, sound])
    assert "masked.tif" in caplog.text
    (kept,) = read_card(out).int8.scenes
    assert kept.name == "sound.tif"


@pytest.mark.parametrize(
    ("psnr", "accuracy", "said"),
    [
        (0.026, -0.009, "int8 loses 0.0260 dB of PSNR, gains 0.009 points of accuracy"),
        (-0.5, None, "int8 gains 0.5000 dB of PSNR\n"),
        (0.0, 0.1, "int8 loses 0.0000 dB of PSNR, loses 0.100 points of accuracy"),
    ],
)
def test_losses_and_gains_are_words_not_signs(psnr, accuracy, said):
    report = QuantizeReport(
        path="m8.safetensors",
        sha256="0" * 64,
        tiles=1,
        method="m",
        psnr_by_method_db={"m": 50.0},
        not_held_back=(),
        psnr_db=50.0,
        psnr_loss_db=psnr,
        accuracy_loss=accuracy,
        is_within_limits=True,
        seconds=1.0,
    )
    assert said in _summary(report)
