"""What interrupted runs leave is found, told, and removed unless a run is at work on it."""

import json
import os

import pytest

from geop2p.errors import OutputError, SceneError
from geop2p.leftovers import find_leftovers, remove_leftover
from geop2p.locking import held

NO_PROCESS = 2**22 + 1
"""Above the largest process number that Linux gives."""


@pytest.fixture
def maps(tmp_path):
    tmp_path = tmp_path / "maps"
    tmp_path.mkdir()
    parts = tmp_path / ".map.tif.0123456789abcdef.parts"
    parts.mkdir()
    (parts / "strip-00000-00001.part").write_bytes(bytes(100))
    (tmp_path / f".map.tif.{NO_PROCESS}.part.tif").write_bytes(bytes(50))
    (tmp_path / f".map.tif.{NO_PROCESS}.part.plain.tif").write_bytes(bytes(50))
    (tmp_path / ".old.tif.lock").write_text("process 1")
    (tmp_path / "map.tif").write_bytes(b"a map")
    (tmp_path / ".hidden").write_bytes(b"somebody's")
    return tmp_path


def test_leftovers_are_told_by_their_names(maps):
    found = [(one.kind, one.target.name, one.size) for one in find_leftovers(maps)]
    assert sorted(found) == [
        ("lock", "old.tif", 9),
        ("parts", "map.tif", 100),
        ("temporary", "map.tif", 50),
        ("temporary", "map.tif", 50),
    ]


def test_clean_removes_them_and_nothing_else(maps, run_cli):
    status, out, _ = run_cli("clean", maps, "--json")
    assert status == 0
    assert len(json.loads(out)["removed"]) == 4
    assert sorted(path.name for path in maps.iterdir()) == [".hidden", "map.tif"]


def test_a_dry_run_removes_nothing(maps, run_cli):
    before = sorted(maps.rglob("*"))
    status, out, _ = run_cli("clean", maps, "--dry-run")
    assert (status, out.count("would remove")) == (0, 4)
    assert sorted(maps.rglob("*")) == before


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_what_a_run_is_at_work_on_is_left_and_told_by_its_own_name(maps, run_cli, options):
    with held(maps / "map.tif"):
        _, out, _ = run_cli("clean", maps, *options)
        left = [line for line in out.splitlines() if line.startswith("left: ")]
        assert len(set(left)) == 4
        parts = maps / ".map.tif.0123456789abcdef.parts"
        assert left[0].startswith(f"left: {parts}: process {os.getpid()} on ")
        assert left[0].endswith(f"is at work on {maps / 'map.tif'}")
        assert parts.exists()
        told = json.loads(run_cli("clean", maps, "--json", *options)[1])
        assert len(told["left"]) == 4


def test_the_file_of_a_living_process_is_left(tmp_path):
    (tmp_path / f".checkpoint.pt.{os.getpid()}.part.pt").write_bytes(b"x")
    (leftover,) = find_leftovers(tmp_path)
    with pytest.raises(OutputError, match=f"process {os.getpid()} may be writing"):
        remove_leftover(leftover)


def test_folders_below_are_looked_into_when_asked(maps):
    assert find_leftovers(maps.parent) == []
    assert len(find_leftovers(maps.parent, is_recursive=True)) == 4


def test_what_is_no_folder_is_refused(maps):
    with pytest.raises(SceneError, match="is no folder"):
        find_leftovers(maps / "map.tif")
