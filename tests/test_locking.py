"""One run for one output."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from geop2p.errors import DiskFullError, OutputError
from geop2p.locking import held, holder_of, lock_path
from geop2p.writing import replacing

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


def test_a_holder_is_told_without_a_trace(tmp_path, holder):
    before = sorted(tmp_path.iterdir())
    assert holder_of(tmp_path / "map.tif").startswith(f"process {holder.pid} on ")
    assert holder_of(tmp_path / "other.tif") is None
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.skipif(not os.access("/proc", os.W_OK), reason="not as root, or without /proc")
def test_a_file_system_that_takes_no_lock_is_no_holder():
    target = Path("/proc/map.tif")
    with pytest.raises(OutputError, match="cannot be written") as caught, held(target):
        pytest.fail("held")
    assert "being written" not in str(caught.value)


def test_a_second_run_fails_fast_and_touches_nothing(tmp_path, holder, run_cli):
    before = sorted(path.name for path in tmp_path.iterdir())
    scene = "sample_tiles/massachusetts/18778720.tif"
    status, _, said = run_cli("translate", scene, "--out", tmp_path / "map.tif")
    assert status == 5
    assert f"process {holder.pid} " in said
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_disk_that_turns_read_only_is_told_as_such_and_the_lock_let_go(tmp_path, monkeypatch):
    def refuse(path, *_args, **_kwargs):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    def write(target):
        with held(target), replacing(target) as temporary:
            monkeypatch.setattr(Path, "unlink", refuse)
            refuse(temporary)

    target = tmp_path / "map.tif"
    with pytest.raises(DiskFullError, match=r"map\.tif.*Read-only file system"):
        write(target)
    monkeypatch.undo()
    with held(target):
        assert holder_of(target) is not None
