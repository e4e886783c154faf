"""What ``make models`` runs, stage by stage; nothing is trained here."""

from pathlib import Path

import pytest

from geop2p.checkpoint import NEWEST
from geop2p.model import bundled_models
from geop2p.pipelines.training_run import MODEL

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
    made = [words[words.index("--name") + 1] for words in commands if words[0] == "train"]
    assert sorted(made) == sorted(bundled_models())


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
