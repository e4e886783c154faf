"""One run for one output."""

import os
import subprocess
import sys

import pytest

from geop2p.errors import OutputError
from geop2p.locking import held, lock_path

HOLDER = """
import sys
from pathlib import Path
from geop2p.locking import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "map.tif")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_told_who_holds_the_lock(tmp_path, holder):
    with (
        pytest.raises(OutputError, match=f"is being written by process {holder.pid} on "),
        held(tmp_path / "map.tif"),
    ):
        pytest.fail("two hold the lock")


def test_another_target_is_free(tmp_path, holder):
    with held(tmp_path / "other.tif"):
        assert lock_path(tmp_path / "other.tif").exists()


def test_a_killed_holder_leaves_no_lock(tmp_path, holder):
    holder.kill()
    holder.communicate()
    with held(tmp_path / "map.tif"):
        said = lock_path(tmp_path / "map.tif").read_text()
    assert f"process {os.getpid()} " in said
    assert list(tmp_path.iterdir()) == []


def test_two_threads_of_one_process_exclude_each_other(tmp_path):
    with (
        held(tmp_path / "map.tif"),
        pytest.raises(OutputError, match=f"process {os.getpid()} "),
        held(tmp_path / "map.tif"),
    ):
        pytest.fail("held twice")
    with held(tmp_path / "map.tif"):
        pass


def test_a_second_run_fails_fast_and_touches_nothing(tmp_path, holder, run_cli):
    before = sorted(path.name for path in tmp_path.iterdir())
    scene = "sample_tiles/massachusetts/18778720.tif"
    status, _, said = run_cli("translate", scene, "--out", tmp_path / "map.tif")
    assert status == 5
    assert f"process {holder.pid} " in said
    assert sorted(path.name for path in tmp_path.iterdir()) == before
