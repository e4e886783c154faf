"""What ``make models`` runs, stage by stage, and what bundles its models; nothing is trained."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from scenes import random_model

from geop2p.checkpoint import NEWEST
from geop2p.errors import ModelError
from geop2p.model import bundled_models, load_model, save_model
from geop2p.pipelines.training_run import MODEL
from geop2p.writing import file_sha256

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def make_models(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS / "models")
    import make_models

    return make_models


@pytest.fixture
def commands(make_models, monkeypatch):
    """The commands that would have been run, as lists of words."""
    found = []
    monkeypatch.setattr(make_models, "_run", lambda *words: found.append(list(map(str, words))))
    return found


def test_prepared_pairs_are_trained_on_and_scored(make_models, commands, tmp_path):
    (tmp_path / "pairs_streets").mkdir()
    make_models.main([str(tmp_path), "streets"])
    assert [words[0] for words in commands] == ["train", "evaluate"]
    assert str(tmp_path / "pairs_streets") in commands[0]
    assert str(tmp_path / "run_streets" / MODEL) in commands[1]


def test_raw_data_become_pairs_and_the_held_back_scene_is_scored(make_models, commands, tmp_path):
    make_models.main([str(tmp_path), "streets", "--data", str(tmp_path / "data")])
    assert [words[0] for words in commands] == ["prepare", "train", "evaluate", "evaluate"]
    assert str(tmp_path / "data/dubai/scene3.jpg") in commands[3]


def test_without_names_every_bundled_generator_is_made(make_models, commands, tmp_path):
    for name in bundled_models():
        (tmp_path / f"pairs_{name}").mkdir()
    make_models.main([str(tmp_path)])
    made = {words[words.index("--name") + 1] for words in commands if words[0] == "train"}
    assert made == set(bundled_models())


def test_a_generator_may_have_the_pairs_of_another_and_its_own_blend(
    make_models, commands, tmp_path
):
    (tmp_path / "pairs_streets").mkdir()
    make_models.main([str(tmp_path), "streets-exact", "--data", str(tmp_path / "data")])
    trained, pairs_scored, scene_scored = commands
    assert trained[trained.index("--pairs") + 1] == str(tmp_path / "pairs_streets")
    assert "--blend" not in pairs_scored
    assert scene_scored[scene_scored.index("--blend") + 1] == "exact"
    assert str(tmp_path / "data/dubai/scene3.jpg") in scene_scored


def test_a_stage_begins_with_the_model_of_the_one_before(make_models, commands, tmp_path):
    (tmp_path / "pairs_roads").mkdir()
    make_models.main([str(tmp_path), "roads"])
    first, second, scored = commands
    model = Path(first[first.index("--out") + 1]) / MODEL
    assert "--start-from" not in first
    assert second[second.index("--start-from") + 1] == str(model)
    assert scored[-1] == str(Path(second[second.index("--out") + 1]) / MODEL)


def test_a_run_goes_on_and_a_finished_one_is_left(make_models, commands, tmp_path):
    (tmp_path / "pairs_streets").mkdir()
    run = tmp_path / "run_streets"
    run.mkdir()
    (run / NEWEST).touch()
    make_models.main([str(tmp_path), "streets"])
    (run / MODEL).touch()
    make_models.main([str(tmp_path), "streets"])
    assert commands[0][:3] == ["train", "--resume", str(run)]
    assert [words[0] for words in commands] == ["train", "evaluate", "evaluate"]


def test_no_pairs_and_no_data_or_an_unknown_name_is_told(make_models, commands, tmp_path, capsys):
    with pytest.raises(SystemExit, match=r"pairs_streets: not there .*--data"):
        make_models.main([str(tmp_path), "streets"])
    with pytest.raises(SystemExit):
        make_models.main([str(tmp_path), "lakes"])
    assert "no recipe lakes" in capsys.readouterr().err
    assert not commands


@pytest.fixture
def bundle(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS / "models")
    import bundle

    return bundle


@pytest.fixture
def lakes(tmp_path):
    """A model whose card calls it so."""
    model = load_model(random_model(tmp_path / "m.safetensors", ngf=2))
    save_model(tmp_path / "m.safetensors", model.generator, replace(model.card, name="lakes"))
    return tmp_path / "m.safetensors"


@pytest.fixture
def shipped(tmp_path):
    """A folder of models, one of which is known."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "checksums.json").write_text('{"streets": "0"}')
    return tmp_path / "models"


def test_a_bundled_model_is_the_same_file_and_its_checksum_known(
    bundle, lakes, shipped, monkeypatch, capsys
):
    monkeypatch.setattr(bundle, "MODELS", shipped)
    bundle.main(["lakes", str(lakes)])
    assert (shipped / "lakes.safetensors").read_bytes() == lakes.read_bytes()
    known = {"lakes": file_sha256(lakes), "streets": "0"}
    text = (shipped / "checksums.json").read_text()
    assert text == json.dumps(known, indent=2) + "\n"
    assert known["lakes"] in capsys.readouterr().out


def test_the_checksums_that_ship_are_as_the_script_writes_them(bundle):
    text = (bundle.MODELS / bundle.CHECKSUMS).read_text()
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"
    known = {name: file_sha256(path) for name, path in bundled_models().items()}
    assert json.loads(text) == known


def test_what_is_no_model_or_has_another_name_is_not_bundled(bundle, lakes, shipped, tmp_path):
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(lakes.read_bytes()[:-100])
    refusals = {("lakes", damaged): "damaged", ("streets", lakes): "calls it 'lakes'"}
    refusals |= {("../x", lakes): "no name", ("lakes", tmp_path / "none"): "no such model"}
    for (name, model), reason in refusals.items():
        with pytest.raises(ModelError, match=reason):
            bundle.bundle(name, model, folder=shipped)
    with pytest.raises(SystemExit, match="calls it 'lakes'"):
        bundle.main(["streets", str(lakes)])
    assert [path.name for path in shipped.iterdir()] == ["checksums.json"]
    assert (shipped / "checksums.json").read_text() == '{"streets": "0"}'
