import logging
import pickle

import pytest
import torch

from geop2p.checkpoint import NEWEST, PREVIOUS, load_checkpoint, remove_remains, save_checkpoint
from geop2p.errors import CheckpointError


def test_what_was_saved_comes_back(tmp_path):
    save_checkpoint(tmp_path, {"weights": {"a": torch.arange(3)}, "step": 7})
    state = load_checkpoint(tmp_path)
    assert state["step"] == 7
    assert torch.equal(state["weights"]["a"], torch.arange(3))


def test_the_checkpoint_before_the_newest_is_kept(tmp_path):
    for step in range(3):
        save_checkpoint(tmp_path, {"step": step})
    assert load_checkpoint(tmp_path)["step"] == 2
    (tmp_path / NEWEST).unlink()
    assert load_checkpoint(tmp_path)["step"] == 1


def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(tmp_path, caplog):
    for step in range(2):
        save_checkpoint(tmp_path, {"step": step})
    content = (tmp_path / NEWEST).read_bytes()
    (tmp_path / NEWEST).write_bytes(content[: len(content) // 2])
    with caplog.at_level(logging.WARNING, logger="geop2p"):
        assert load_checkpoint(tmp_path)["step"] == 0
    assert "not a readable checkpoint" in caplog.text
    assert "going on from checkpoint-previous.pt" in caplog.text


def test_a_damaged_newest_checkpoint_never_displaces_a_good_one(tmp_path):
    for step in range(2):
        save_checkpoint(tmp_path, {"step": step})
    (tmp_path / NEWEST).write_bytes(b"damaged")
    load_checkpoint(tmp_path)
    with pytest.raises(AttributeError):  # what ends a save early
        save_checkpoint(tmp_path, {"step": lambda: None})
    assert load_checkpoint(tmp_path)["step"] == 0
    save_checkpoint(tmp_path, {"step": 2})
    (tmp_path / NEWEST).unlink()
    assert load_checkpoint(tmp_path)["step"] == 0


def test_a_failed_save_leaves_the_last_good_one(tmp_path):
    save_checkpoint(tmp_path, {"step": 1})
    with pytest.raises(AttributeError):
        save_checkpoint(tmp_path, {"step": lambda: None})
    assert load_checkpoint(tmp_path)["step"] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [NEWEST]


class Trap:
    """Would write a file if its pickle were ever run."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_no_code_in_a_checkpoint_is_run(tmp_path):
    with (tmp_path / NEWEST).open("wb") as file:
        pickle.dump(Trap(tmp_path / "sprung"), file, protocol=2)  # the one that torch writes
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        load_checkpoint(tmp_path)
    assert not (tmp_path / "sprung").exists()


def test_another_format_is_named(tmp_path):
    torch.save({"format": 99}, tmp_path / NEWEST)
    with pytest.raises(CheckpointError, match="format 99"):
        load_checkpoint(tmp_path)


def test_a_folder_without_checkpoints_is_told(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_checkpoint(tmp_path)


def test_remains_of_a_killed_process_go(tmp_path):
    save_checkpoint(tmp_path, {"step": 1})
    save_checkpoint(tmp_path, {"step": 2})
    (tmp_path / ".checkpoint.pt.4711.part.pt").write_bytes(b"half")
    remove_remains(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {NEWEST, PREVIOUS}
