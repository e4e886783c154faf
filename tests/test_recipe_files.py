import json
from dataclasses import asdict, fields

import pytest
from click.testing import CliRunner
from pair_files import TINY, write_pairs

from geop2p.checkpoint import load_checkpoint
from geop2p.cli.main import geop2p
from geop2p.errors import OptionError
from geop2p.model import read_card
from geop2p.pipelines.recipe_files import read_recipe, recipe_name, shipped_recipes
from geop2p.pipelines.train import train
from geop2p.pipelines.training_options import Settings
from geop2p.recipe_values import CHOICES, RANGES, Range, RecipeValues

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = {name: value for name, value in TINY.items() if name not in ("device", "save_every")}


def write(path, **values):
    path.write_text(json.dumps(values))
    return path


@pytest.mark.parametrize("name", ["paper", "best"])
def test_a_shipped_recipe_states_every_value(name):
    recipe = read_recipe(name)
    assert recipe.keys() == {entry.name for entry in fields(Settings)}
    assert recipe["recipe"] == name
    Settings(**recipe).check()


def test_the_papers_recipe_is_the_default():
    assert Settings(**read_recipe("paper")) == Settings()
    assert list(shipped_recipes()) == ["best", "paper"]


def test_every_number_and_word_of_a_recipe_has_its_bounds():
    kinds = {entry.name: type(entry.default) for entry in fields(RecipeValues)}
    assert {name for name, kind in kinds.items() if kind is str} == CHOICES.keys()
    assert {name for name, kind in kinds.items() if kind in (int, float)} == RANGES.keys()


def test_a_file_is_called_as_it_says_or_as_it_is_named(tmp_path):
    assert recipe_name(write(tmp_path / "mine.json", epochs=3)) == "mine"
    assert recipe_name(write(tmp_path / "mine.json", recipe="other")) == "other"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"epoch": 3}', "'epoch' is no setting"),
        ('{"epochs": "3"}', "the setting epochs is '3'"),
        ('{"amp": 1}', "the setting amp is '1'"),
        ('{"pairs": "x"}', "'pairs' is no setting"),
        ('{"lr": NaN}', "its JSON holds NaN"),
        ("[1]", "a JSON object was expected"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused_in_one_line(tmp_path, content, told):
    path = tmp_path / "mine.json"
    path.write_text(content)
    with pytest.raises(OptionError, match=r"mine\.json: not a recipe: ") as caught:
        read_recipe(path)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_recipe_that_does_not_exist_is_refused_with_the_names_of_those_that_do():
    with pytest.raises(OptionError, match=r"bset: no such recipe .* best, paper"):
        read_recipe("bset")


def test_given_options_go_before_the_recipes(tmp_path):
    recipe = write(tmp_path / "mine.json", **SMALL | {"seed": 5, "lr": 1e-3})
    pairs = write_pairs(tmp_path / "pairs")
    report = train(pairs, tmp_path / "run", recipe=recipe, seed=7, device="cpu")
    kept = load_checkpoint(tmp_path / "run")["settings"]
    assert (kept["recipe"], kept["seed"], kept["lr"]) == ("mine", 7, 1e-3)
    assert kept["ngf"] == SMALL["ngf"]
    assert read_card(report.model_path).training["options"]["recipe"] == "mine"
    assert read_recipe(tmp_path / "run/recipe.json") == asdict(
        Settings(**SMALL | {"seed": 7, "lr": 1e-3, "recipe": "mine"})
    )


def test_a_resumed_run_keeps_its_recipe(tmp_path):
    pairs = write_pairs(tmp_path / "pairs")
    recipe = write(tmp_path / "mine.json", **SMALL)
    train(pairs, tmp_path / "run", recipe=recipe, device="cpu")
    write(tmp_path / "mine.json", **SMALL | {"seed": 9})
    train(resume=tmp_path / "run", recipe=recipe, device="cpu")
    assert load_checkpoint(tmp_path / "run")["settings"]["seed"] == SMALL.get("seed", 0)
    with pytest.raises(OptionError, match="was begun with --recipe mine, not best"):
        train(resume=tmp_path / "run", recipe="best", device="cpu")


@pytest.mark.parametrize(
    "wrong", [{"epochs": -1, "lr": 0}, {"attention": 7}, {"crop_size": 18}, {"gan_mode": "dcgan"}]
)
def test_a_value_that_no_training_can_have_is_told_with_the_recipes_file(tmp_path, wrong):
    recipe = write(tmp_path / "mine.json", **SMALL | wrong)
    with pytest.raises(OptionError, match=r"^--recipe .*mine\.json: "):
        train(write_pairs(tmp_path / "pairs"), tmp_path / "run", recipe=recipe)
    with pytest.raises(OptionError, match=r"^--lr 0 \(above 0\)"):
        train(tmp_path / "pairs", tmp_path / "run", recipe="best", lr=0)


def test_a_value_of_the_recipe_that_what_was_given_does_not_allow_says_whose_it_is(tmp_path):
    pairs = write_pairs(tmp_path / "pairs")
    short = {"recipe": "best", "epochs": 1, "epochs_decay": 0, "lambda_ce": 0}
    told = r"--freeze-norm-epochs 1 \(0 to 0\), which recipe best says .*give --freeze-norm-epochs"
    with pytest.raises(OptionError, match=told):
        train(pairs, tmp_path / "run", **short)
    with pytest.raises(OptionError, match=r"^--freeze-norm-epochs 1 \(0 to 0\)$"):
        train(pairs, tmp_path / "run", **short, freeze_norm_epochs=1)


def test_a_recipe_with_classes_names_itself_and_both_ways_out(tmp_path):
    pairs = write_pairs(tmp_path / "pairs")
    told = r"--recipe best has .*lambda_ce 2.*--palette FILE or NAME.*--lambda-ce 0"
    with pytest.raises(OptionError, match=told):
        train(pairs, tmp_path / "run", recipe="best", device="cpu")
    assert not (tmp_path / "run").exists()
    small = SMALL | {"lambda_ce": 0.0}
    run = train(pairs, tmp_path / "run", recipe="best", device="cpu", **small).folder
    assert read_recipe(run / "recipe.json")["class_weights"] == "inverse-sqrt"


def test_a_recipe_that_balances_classes_names_itself_too(tmp_path):
    recipe = write(tmp_path / "mine.json", **SMALL | {"sampling": "balanced"})
    with pytest.raises(OptionError, match=r"mine\.json balances .*--palette.*--sampling uniform"):
        train(write_pairs(tmp_path / "pairs"), tmp_path / "run", recipe=recipe)


def test_a_recipe_with_classes_cannot_draw_scenes(tmp_path):
    options = {"recipe": "best", "direction": "map-to-scene", "palette": "streets"}
    with pytest.raises(OptionError, match=r"--recipe best .* scenes have no classes"):
        train(write_pairs(tmp_path / "pairs"), tmp_path / "run", **options)


def test_a_recipe_that_contradicts_its_run_is_a_wrong_use(tmp_path):
    run = train(write_pairs(tmp_path / "pairs"), tmp_path / "run", **TINY).folder
    for given in (["--recipe", "best"], ["--lr", "0.1"]):
        result = CliRunner().invoke(geop2p, ["train", "--resume", str(run), *given])
        assert isinstance(result.exception, OptionError), result.output


def test_the_command_takes_a_recipe(tmp_path):
    pairs = write_pairs(tmp_path / "pairs")
    recipe = write(tmp_path / "mine.json", **SMALL)
    given = ["--pairs", pairs, "--out", tmp_path / "run", "--recipe", recipe, "--epochs", 0]
    result = CliRunner().invoke(geop2p, ["train", *map(str, given)])
    assert result.exit_code == 0, result.output
    kept = load_checkpoint(tmp_path / "run")["settings"]
    assert (kept["recipe"], kept["epochs"]) == ("mine", 0)


def test_a_range_tells_what_it_holds():
    assert str(Range(0, 1, is_most_open=True)) == "at least 0, below 1"
    assert str(Range(0, is_least_open=True)) == "above 0"
    assert Range(0, 1).holds(1)
    for bounds, number in [
        (Range(0, 1, is_most_open=True), 1),
        (Range(0, is_least_open=True), 0),
        (Range(0), float("nan")),
        (Range(0), float("inf")),
    ]:
        assert not bounds.holds(number)
