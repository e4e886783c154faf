"""Recipes other than the paper's, from pairs to a model: what they leave, and that they resume."""

import json

import pytest
import torch
from pair_files import TINY, write_pairs

from geop2p.checkpoint import load_checkpoint
from geop2p.errors import CheckpointError, OptionError
from geop2p.model import load_model
from geop2p.pipelines.train import train
from geop2p.pipelines.training_run import tensors_of

pytestmark = pytest.mark.usefixtures("one_thread")
PALETTE = [
    {"index": 0, "name": "dark", "colour": "#282828"},
    {"index": 1, "name": "light", "colour": "#E6E6E6"},
]
CLASSES = {"lambda_ce": 1.0, "class_weights": "inverse-sqrt", "ema": 0.9, "gan_mode": "hinge"}


@pytest.fixture(autouse=True)
def every_warning():
    """Torch tells some things once a process; here a test fails on them whatever ran before."""
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(False)


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


def assert_equal_runs(one, other):
    """Compare everything but times: weights, moments, averages, losses and scores."""
    states = [
        {name: part for name, part in load_checkpoint(run).items() if name != "seconds"}
        for run in (one, other)
    ]
    for (name, a), (_name, b) in zip(*(tensors_of(s, name="") for s in states), strict=True):
        assert torch.equal(a, b), name
    logs = [[{**entry, "seconds": 0} for entry in log_of(run)] for run in (one, other)]
    assert logs[0] == logs[1]


def test_classes_and_averages_resume_as_if_never_stopped(tmp_path, pairs, palette):
    whole = train(pairs, tmp_path / "whole", palette=palette, **TINY, **CLASSES)
    stopped = train(pairs, tmp_path / "parts", palette=palette, max_minutes=1e-9, **TINY, **CLASSES)
    train(resume=stopped.folder, max_minutes=0.003)
    resumed = train(resume=stopped.folder)
    assert resumed.is_complete
    assert_equal_runs(whole.folder, resumed.folder)


def test_the_log_names_the_losses_that_are_switched_on(tmp_path, pairs, palette):
    run = train(pairs, tmp_path / "run", palette=palette, **TINY, lambda_gan=0.0, lambda_ce=1.0)
    assert [list(entry["losses"]) for entry in log_of(run.folder)] == [
        ["generator_l1", "generator_ce"]
    ] * 2


def test_the_model_holds_the_averaged_weights(tmp_path, pairs):
    run = train(pairs, tmp_path / "run", **TINY, ema=0.9)
    state = load_checkpoint(run.folder)
    saved = load_model(run.model_path).generator.state_dict()["stem.1.weight"]
    averaged = state["average"]["generator"]["stem.1.weight"]
    assert torch.equal(saved, averaged.half().float())
    assert not torch.equal(saved, state["generator"]["stem.1.weight"].half().float())


def test_statistics_are_those_of_the_averaged_weights_after_frozen_epochs_too(tmp_path, pairs):
    options = TINY | {"ema": 0.9, "freeze_norm_epochs": 1, "lr": 2e-3}
    report = train(pairs, tmp_path / "run", **options)
    frozen = load_checkpoint(report.folder)["average"]["generator"]
    model = load_model(report.model_path).generator
    stored = {name: part for name, part in model.named_buffers() if "running_var" in name}
    assert stored
    assert not any(torch.equal(frozen[name], part) for name, part in stored.items())


def test_l1_alone_resumes_without_a_discriminator(tmp_path, pairs):
    whole = train(pairs, tmp_path / "whole", **TINY, lambda_gan=0.0)
    stopped = train(pairs, tmp_path / "parts", max_minutes=1e-9, **TINY, lambda_gan=0.0)
    resumed = train(resume=stopped.folder)
    assert_equal_runs(whole.folder, resumed.folder)
    assert "discriminator" not in load_checkpoint(resumed.folder)


def test_every_option_of_the_networks_resumes_as_if_never_stopped(tmp_path, pairs):
    options = {"upsample": "resize", "scales": 2, "spectral_norm": True, "lambda_fm": 10.0}
    options |= TINY | {"diffaug": "colour+translation+cutout"}
    whole = train(pairs, tmp_path / "whole", **options)
    stopped = train(pairs, tmp_path / "parts", max_minutes=0.003, **options)
    resumed = train(resume=stopped.folder)
    assert_equal_runs(whole.folder, resumed.folder)
    model = load_model(resumed.model_path)
    assert model.card.generator.upsample == "resize"
    assert "generator_fm" in log_of(resumed.folder)[0]["losses"]


@pytest.fixture
def teacher(tmp_path, pairs):
    return str(
        train(pairs, tmp_path / "teacher", **TINY | {"epochs": 1, "epochs_decay": 0}).model_path
    )


def test_a_student_resumes_as_if_never_stopped(tmp_path, pairs, teacher):
    options = TINY | {"ngf": 2, "lambda_distill": 50.0, "lambda_gan": 0.0, "teacher": teacher}
    whole = train(pairs, tmp_path / "whole", **options)
    stopped = train(pairs, tmp_path / "parts", max_minutes=1e-9, **options)
    resumed = train(resume=stopped.folder)
    assert_equal_runs(whole.folder, resumed.folder)
    assert list(log_of(whole.folder)[0]["losses"]) == ["generator_l1", "generator_distill"]
    told = load_model(whole.model_path).card.training["options"]["teacher"]
    assert told == "teacher/model.safetensors"


def test_a_student_of_nothing_but_its_teacher_comes_nearer_to_it(tmp_path, pairs, teacher):
    options = {"lambda_distill": 50.0, "lambda_gan": 0.0, "lambda_l1": 0.0, "teacher": teacher}
    options |= TINY | {"epochs": 6, "lr": 2e-3}
    log = log_of(train(pairs, tmp_path / "run", **options).folder)
    first, last = (log[i]["losses"]["generator_distill"] for i in (0, -1))
    assert last < 0.85 * first


def test_another_teacher_does_not_go_on(tmp_path, pairs, teacher):
    options = TINY | {"lambda_distill": 50.0, "teacher": teacher}
    run = train(pairs, tmp_path / "run", max_minutes=1e-9, **options).folder
    other = train(pairs, tmp_path / "other", max_minutes=1e-9, **TINY).model_path
    other.replace(teacher)
    with pytest.raises(CheckpointError, match="is not the model that the run was begun with"):
        train(resume=run)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"lambda_distill": 50.0}, "needs --teacher"),
        ({"teacher": "streets"}, "without --lambda-distill"),
        ({"teacher": "streets", "lambda_distill": 50.0}, "--crop-size 16 does not fit unet_256"),
    ],
)
def test_a_teacher_that_cannot_teach_is_refused(tmp_path, pairs, options, expected):
    with pytest.raises(OptionError, match=expected):
        train(pairs, tmp_path / "run", **TINY, **options)
    assert not (tmp_path / "run").exists()


def test_a_teacher_of_other_values_is_refused(tmp_path, pairs, teacher):
    card = tmp_path / "card.json"
    card.write_text('{"scene_range": [0, 100]}')
    with pytest.raises(OptionError, match=r"3 bands of uint8 \(0 to 255\) .* \(0 to 100\)"):
        train(pairs, tmp_path / "run", **TINY, card=card, teacher=teacher, lambda_distill=50.0)


def test_a_view_too_small_to_be_judged_is_refused(tmp_path, pairs):
    with pytest.raises(OptionError, match="--crop-size 16 is too small"):
        train(pairs, tmp_path / "run", **TINY | {"n_layers": 3})


def test_cross_entropy_without_classes_is_refused_before_anything_is_written(tmp_path, pairs):
    with pytest.raises(OptionError, match="--lambda-ce needs the classes"):
        train(pairs, tmp_path / "run", **TINY, lambda_ce=1.0)
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_without_the_average_of_its_recipe_is_refused(tmp_path, pairs):
    run = train(pairs, tmp_path / "run", **TINY, ema=0.9).folder
    state = load_checkpoint(run)
    del state["average"]["generator"]["stem.1.weight"]
    torch.save(state, run / "checkpoint.pt")
    with pytest.raises(CheckpointError, match=r"average: stem\.1\.weight is missing"):
        train(resume=run)


def test_a_checkpoint_from_before_there_were_such_options_goes_on(tmp_path, pairs):
    whole = train(pairs, tmp_path / "whole", **TINY)
    run = train(pairs, tmp_path / "run", max_minutes=1e-9, **TINY).folder
    state = load_checkpoint(run)
    for name in ("lambda_gan", "lambda_ce", "ce_temperature", "class_weights", "ema", "scales"):
        del state["settings"][name]
    torch.save(state, run / "checkpoint.pt")
    assert_equal_runs(whole.folder, train(resume=run).folder)
