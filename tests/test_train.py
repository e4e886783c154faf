"""Training from pairs to a model: what a run leaves behind, and what it refuses."""

import json
import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from click import Context
from pair_files import TINY, write_pairs, write_side_by_side
from PIL import Image

from geop2p.checkpoint import load_checkpoint
from geop2p.errors import (
    CheckpointError,
    OptionError,
    OutputError,
    PairsError,
    TrainingError,
)
from geop2p.model import load_model, read_card
from geop2p.pipelines.train import train
from geop2p.pipelines.training_options import RunOptions, Settings
from geop2p.recipe_values import RecipeValues
from geop2p.training import Trainer

pytestmark = pytest.mark.usefixtures("one_thread")
PALETTE = [
    {"index": 0, "name": "dark", "colour": "#282828"},
    {"index": 1, "name": "light", "colour": "#E6E6E6"},
]


PLAIN = {
    "jitter_scale": 0.0,
    "jitter_colour": 0.0,
    "sampling": "uniform",
    "schedule": "linear",
    "augment": "paper",
    "batch_size": 1,
}


@pytest.fixture
def pairs(tmp_path):
    return write_pairs(tmp_path / "pairs")


@pytest.fixture
def palette(tmp_path):
    path = tmp_path / "palette.json"
    path.write_text(json.dumps(PALETTE))
    return path


def log_of(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def weights_of(run):
    return load_checkpoint(run)["generator"]


def test_a_run_leaves_model_log_checkpoint_pictures_and_plot(tmp_path, pairs):
    report = train(pairs, tmp_path / "run", **TINY)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "checkpoint.pt",
        "log.jsonl",
        "losses.png",
        "model.safetensors",
        "pictures",
        "recipe.json",
    }
    assert [entry["epoch"] for entry in log_of(report.folder)] == [1, 2]
    assert (report.epochs, report.steps, report.is_complete) == (2, 12, True)
    grid = Image.open(tmp_path / "run" / "pictures" / "epoch-0002.png")
    assert grid.size == (3 * 24, 2 * 24)  # three pictures of 16 pixels with margins, two pairs
    grid.close()


def test_the_model_loads_with_its_card(tmp_path, pairs):
    report = train(pairs, tmp_path / "run", name="try", gsd_m=2.0, **TINY)
    model = load_model(report.model_path)
    assert (model.sha256, model.card.name) == (report.sha256, "try")
    assert model.card.gsd_m == 2.4  # 24 pixels became 20
    assert model.card.training["pairs"] == {"train": 6, "validation": 2}
    assert model.card.training["options"]["lambda_l1"] == 100
    assert model.generator(torch.zeros(1, 3, 16, 16)).shape == (1, 3, 16, 16)


def test_scores_come_in_every_mode_beside_a_baseline(tmp_path, pairs):
    (tmp_path / "palette.json").write_text(json.dumps(PALETTE))
    report = train(pairs, tmp_path / "run", palette=tmp_path / "palette.json", **TINY)
    scores = read_card(report.model_path).scores["validation"]
    assert scores.keys() == {"pairs", "running", "tile", "training", "mean_colour"}
    for mode in ("running", "tile", "training", "mean_colour"):
        assert scores[mode].keys() >= {"l1", "psnr_db", "ssim", "accuracy", "mean_iou", "classes"}
    assert scores["running"]["classes"].keys() == {"dark", "light"}
    assert log_of(report.folder)[0]["validation"]["mode"] == "tile"


def test_the_card_holds_the_better_mode_and_the_report_says_so(tmp_path, pairs):
    report = train(pairs, tmp_path / "run", **TINY)
    scores = report.scores["validation"]
    gain = scores["tile"]["psnr_db"] - scores["running"]["psnr_db"]
    assert report.norm_statistics == ("tile" if gain > 0.05 else "running")
    assert report.norm_statistics in report.notes[-1] or "worse" in report.notes[-1]


def test_frozen_epochs_are_trained_as_they_are_used(tmp_path, pairs):
    report = train(pairs, tmp_path / "run", freeze_norm_epochs=1, **TINY)
    assert [entry["validation"]["mode"] for entry in log_of(report.folder)] == ["tile", "running"]
    model = load_model(report.model_path)
    kept = {name: tensor for name, tensor in weights_of(report.folder).items() if "running" in name}
    assert read_card(report.model_path).training["has_frozen_norm"]
    stored = dict(model.generator.named_buffers())
    assert all(torch.equal(stored[name], tensor) for name, tensor in kept.items() if name in stored)


def test_training_learns(tmp_path):
    pairs = write_pairs(tmp_path / "pairs", train=8, val=4)
    report = train(pairs, tmp_path / "run", **TINY | {"epochs": 5, "lr": 2e-3})
    log = log_of(report.folder)
    assert log[-1]["losses"]["generator_l1"] < 0.95 * log[0]["losses"]["generator_l1"]


def test_equal_seeds_give_equal_models(tmp_path, pairs):
    reports = [
        train(pairs, tmp_path / name, name="same", workers=workers, seed=seed, **TINY)
        for name, workers, seed in (("a", 0, 1), ("b", 2, 1), ("c", 0, 2))
    ]
    a, b, c = (weights_of(report.folder) for report in reports)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


def test_training_leaves_torch_as_it_was(tmp_path, pairs):
    torch.manual_seed(5)
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    train(pairs, tmp_path / "run", **TINY)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_few_pairs_validate_on_themselves_and_it_is_said(tmp_path):
    report = train(write_side_by_side(tmp_path / "p", count=3), tmp_path / "run", **TINY)
    assert report.scores.keys() == {"training_pairs"}
    assert "too few" in report.notes[0]


@pytest.mark.parametrize(("scene_bands", "map_bands"), [(4, 1), (2, 5)])
def test_bands_and_types_follow_the_pairs(tmp_path, scene_bands, map_bands):
    random = np.random.default_rng(0)
    for folder, bands in (("A", scene_bands), ("B", map_bands)):
        (tmp_path / "p" / folder).mkdir(parents=True)
        for name in range(2):
            pixels = random.integers(0, 4000, (bands, 24, 24)).astype(np.uint16)
            facts = {"count": bands, "height": 24, "width": 24, "dtype": "uint16"}
            facts |= {"transform": Affine(1, 0, 500, 0, -1, 900), "crs": "EPSG:32633"}
            with rasterio.open(tmp_path / "p" / folder / f"{name}.tif", "w", **facts) as file:
                file.write(pixels)
    card = tmp_path / "card.json"
    card.write_text('{"scene_range": [0, 4000], "map_range": [0, 4000]}')
    found = read_card(train(tmp_path / "p", tmp_path / "run", card=card, **TINY).model_path)
    assert (found.generator.in_bands, found.generator.out_bands) == (scene_bands, map_bands)
    assert (found.scene.dtype, found.map.dtype, found.map.high) == ("uint16", "uint16", 4000)


def test_the_other_direction_swaps_both_sides(tmp_path, pairs):
    run = tmp_path / "run"
    card = tmp_path / "card.json"
    card.write_text('{"map_bands": ["a", "b", "c"]}')
    found = train(pairs, run, direction="map-to-scene", card=card, **TINY)
    assert read_card(found.model_path).scene_bands == ("a", "b", "c")
    again = train(resume=run, device="cpu", epochs=2)
    assert read_card(again.model_path).scene_bands == ("a", "b", "c")


def test_instance_norm_has_no_statistics_to_choose(tmp_path, pairs):
    report = train(pairs, tmp_path / "run", norm="instance", **TINY)
    assert report.scores["validation"].keys() == {"pairs", "running", "training", "mean_colour"}


def test_a_loss_that_is_no_number_stops_and_names_the_step(tmp_path, pairs):
    with pytest.raises(TrainingError, match=r"the loss \w+ is (nan|inf) at step \d+ of epoch 1"):
        train(
            pairs,
            tmp_path / "run",
            **TINY
            | {"lr": 1e35, "arch": "unet_128", "crop_size": 128}
            | {"load_size": 128, "ngf": 1},
        )


def test_a_run_is_not_begun_over_another(tmp_path, pairs):
    train(pairs, tmp_path / "run", **TINY)
    with pytest.raises(OutputError, match="holds a run already"):
        train(pairs, tmp_path / "run", **TINY)


@pytest.mark.parametrize(
    ("changes", "error", "expected"),
    [
        ({"load_size": 0, "crop_size": 32}, PairsError, "24x24 pixels"),
        ({"direction": "down"}, OptionError, "--direction"),
        ({"device": "abacus"}, OptionError, "device 'abacus'"),
        ({"device": "meta"}, OptionError, "device 'meta'"),
        ({"device": "cuda:99"}, OptionError, "CUDA device"),
        ({"save_every": 0}, OptionError, "--save-every"),
        ({"arch": "unet_7"}, OptionError, "unet_7"),
        ({"attention": 16}, OptionError, "attention at 1/16 of resnet_6blocks"),
        ({"scales": 5}, OptionError, "scales is 5"),
        ({"lambda_gan": 0.0, "spectral_norm": True}, OptionError, "--spectral-norm without a dis"),
        ({"lambda_gan": 0.0, "gan_mode": "hinge"}, OptionError, "--gan-mode hinge without a dis"),
        ({"lambda_gan": 0.0, "scales": 2}, OptionError, "--scales 2 without a discriminator"),
        ({"class_weights": "inverse-sqrt"}, OptionError, "--class-weights without --lambda-ce"),
        ({"seed": -1}, OptionError, "--seed"),
        ({"palette": "nowhere.json"}, OptionError, "nowhere.json"),
    ],
)
def test_unfit_options_are_refused_before_anything_is_written(
    tmp_path, pairs, changes, error, expected
):
    with pytest.raises(error, match=expected):
        train(pairs, tmp_path / "run", **TINY | changes)
    assert not (tmp_path / "run").exists()


def test_pairs_must_be_alike(tmp_path, pairs):
    Image.new("L", (48, 24)).save(pairs / "train" / "grey.png")
    with pytest.raises(PairsError, match=r"bands of uint8, the first pair has"):
        train(pairs, tmp_path / "run", **TINY)


def test_unknown_options_and_missing_folders_are_told(tmp_path, pairs):
    with pytest.raises(TypeError, match="no option epoch"):
        train(pairs, tmp_path / "run", epoch=3)
    with pytest.raises(OptionError, match="--pairs DIR and --out RUN"):
        train(pairs)


def test_time_ends_a_run_that_still_gives_a_model(tmp_path, pairs):
    report = train(pairs, tmp_path / "run", max_minutes=1e-9, **TINY)
    assert not report.is_complete
    assert load_model(report.model_path).card.training["epochs_done"] == 0


def test_a_run_that_was_stopped_goes_on_and_equals_one_that_was_not(tmp_path, pairs):
    whole = train(pairs, tmp_path / "whole", **TINY)
    stopped = train(pairs, tmp_path / "parts", max_minutes=0.003, **TINY)
    resumed = train(resume=stopped.folder, device="cpu")
    assert resumed.is_complete
    a, b = weights_of(whole.folder), weights_of(resumed.folder)
    assert all(torch.equal(a[name], b[name]) for name in a)
    losses = [[entry["losses"] for entry in log_of(run.folder)] for run in (whole, resumed)]
    assert losses[0] == losses[1]


def test_a_finished_run_takes_more_epochs(tmp_path, pairs):
    whole = train(pairs, tmp_path / "whole", **TINY | {"epochs": 3, "epochs_decay": 0})
    train(pairs, tmp_path / "parts", **TINY | {"epochs": 1, "epochs_decay": 0})
    longer = train(resume=tmp_path / "parts", epochs=3, device="cpu")
    assert (longer.epochs, longer.steps) == (3, 18)
    a, b = weights_of(whole.folder), weights_of(longer.folder)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_epochs_that_are_done_cannot_be_taken_back(tmp_path, pairs):
    finished = train(pairs, tmp_path / "run", **TINY | {"epochs": 3, "epochs_decay": 0})
    before = finished.model_path.read_bytes()
    with pytest.raises(OptionError, match="3 epochs are done, 2 were asked for"):
        train(resume=tmp_path / "run", epochs=2)
    assert finished.model_path.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "error", "expected"),
    [
        ({"ngf": 8}, OptionError, "begun with --ngf 4, not 8"),
        ({"out": "elsewhere"}, OptionError, "differ"),
        ({"pairs": "others"}, PairsError, "not the pairs"),
        ({"resume": "nowhere"}, CheckpointError, "no checkpoint"),
    ],
)
def test_what_a_resumed_run_cannot_be_is_refused(tmp_path, pairs, options, error, expected):
    run = tmp_path / "run"
    train(pairs, run, max_minutes=1e-9, **TINY)
    write_pairs(tmp_path / "others", train=3)
    options = {"resume": run} | options
    if "pairs" in options:
        options["pairs"] = tmp_path / options["pairs"]
    with pytest.raises(error, match=expected):
        train(**options)


def cli_options(**changes):
    options = (TINY | changes).items()
    return [part for name, value in options for part in (f"--{name.replace('_', '-')}", str(value))]


def test_the_command_tells_its_result(tmp_path, pairs, run_cli):
    status, out, err = run_cli("train", "--pairs", pairs, "--out", tmp_path / "run", *cli_options())
    assert status == 0
    assert "2 epochs, 12 steps" in out
    assert "PSNR" in out
    assert "train 100%" in err


def test_the_command_gives_json(tmp_path, pairs, run_cli):
    run = tmp_path / "run"
    status, out, err = run_cli(
        "train", "--pairs", pairs, "--out", run, "-q", "--json", *cli_options()
    )
    assert (status, err) == (0, "")
    assert json.loads(out)["epochs"] == 2
    status, out, _err = run_cli("train", "--resume", run, "--epochs", 2, "-q", "--json")
    assert json.loads(out)["epochs"] == 3


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(("--pairs", "nowhere", "--out", "run"), 3), (("--resume", "nowhere"), 4), ((), 2)],
)
def test_the_command_ends_with_the_errors_status(
    tmp_path, monkeypatch, run_cli, arguments, expected
):
    monkeypatch.chdir(tmp_path)
    status, _out, err = run_cli("train", *arguments)
    assert status == expected
    assert err.startswith("geop2p: error: ")


def test_pictures_need_neither_rasterio_nor_dask(tmp_path, pairs):
    script = (
        "import sys; from geop2p.pipelines.train import train; train(sys.argv[1], sys.argv[2],"
        f" **{TINY!r}); print(*{{'rasterio', 'dask', 'distributed', 'shapely'}} & set(sys.modules))"
    )
    found = subprocess.run(
        [sys.executable, "-c", script, pairs, tmp_path / "run"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == ""


@pytest.mark.parametrize("is_slow", [True, False])
def test_mixed_precision_that_does_not_pay_is_told_in_one_line(
    tmp_path, pairs, monkeypatch, caplog, is_slow
):
    monkeypatch.setattr("geop2p.pipelines.training_device.is_amp_slow", lambda _device: is_slow)
    train(pairs, tmp_path / "run", amp=True, **TINY | {"epochs": 0})
    assert [record.getMessage().count("--amp") for record in caplog.records] == [1] * is_slow


@pytest.mark.gpu
def test_a_gpu_trains_in_mixed_precision(tmp_path, pairs):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    report = train(pairs, tmp_path / "run", amp=True, **TINY | {"device": "cuda"})
    assert report.is_complete


@pytest.mark.parametrize(
    "changes",
    [
        {"jitter_scale": 0.2, "augment": "dihedral"},
        {"jitter_colour": 0.2},
        {"sampling": "balanced", "batch_size": 2},
        {"schedule": "cosine"},
    ],
)
def test_a_run_stopped_within_an_epoch_goes_on_to_the_same_weights(
    tmp_path, pairs, palette, changes
):
    options = TINY | {"palette": palette, "epochs": 0, "epochs_decay": 2} | changes
    whole = train(pairs, tmp_path / "whole", **options)
    stopped = train(pairs, tmp_path / "stopped", max_steps=whole.steps // 2 + 2, **options)
    assert (stopped.is_complete, stopped.steps) == (False, whole.steps // 2 + 2)
    resumed = train(resume=stopped.folder, device="cpu")
    plain = train(pairs, tmp_path / "plain", **options | {name: PLAIN[name] for name in changes})
    a, b, c = (weights_of(run.folder) for run in (whole, resumed, plain))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


def test_the_rate_falls_as_half_a_cosine():
    rates = [
        RecipeValues(epochs=1, epochs_decay=3, lr=1.0, schedule="cosine").learning_rate(epoch)
        for epoch in range(5)
    ]
    assert rates == pytest.approx([1, 0.853553, 0.5, 0.146447, 0], abs=1e-6)


def test_balanced_pairs_need_classes(tmp_path, pairs):
    with pytest.raises(OptionError, match="--sampling balanced without classes"):
        train(pairs, tmp_path / "run", sampling="balanced", **TINY)


def test_maps_as_input_keep_their_colours(tmp_path, pairs):
    with pytest.raises(OptionError, match="--jitter-colour with maps as input"):
        train(pairs, tmp_path / "run", jitter_colour=0.1, direction="map-to-scene", **TINY)


@pytest.mark.parametrize("direction", ["scene-to-map", "map-to-scene"])
def test_maps_of_classes_keep_their_colours_at_any_scale(
    tmp_path, pairs, palette, monkeypatch, direction
):
    seen = []
    step = Trainer.step

    def watched(self, scene, truth, **position):
        seen.append(truth if direction == "scene-to-map" else scene)
        return step(self, scene, truth, **position)

    monkeypatch.setattr(Trainer, "step", watched)
    train(
        pairs,
        tmp_path / "run",
        jitter_scale=0.3,
        palette=palette,
        direction=direction,
        **TINY | {"load_size": 0},
    )
    assert set(torch.cat(seen).unique().tolist()) == {40, 230}


def test_the_commands_defaults_are_the_librarys():
    from geop2p.cli.train import train as command

    known = {entry.name: entry.default for kind in (Settings, RunOptions) for entry in fields(kind)}
    given = {o.name: o for o in command.params if known.get(o.name) is not None}
    assert len(given) > 20
    for name, option in given.items():
        assert option.get_default(Context(command)) == known[name], name
