"""Whatever fails, and whenever: the target is absent, old or new, and the rerun gives the map."""

import errno
import os
import random
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
from processes import REACHED_NO_FAULT, finished, start
from scenes import landscape, random_model, write_scene

import geop2p
from geop2p.errors import DiskFullError
from geop2p.parts import part_folders

OLD = b"the map of last night"
FAULTS = {"kill": "kill", "ENOSPC": errno.ENOSPC, "EIO": errno.EIO}
EXPECTED = {"kill": {-signal.SIGKILL}, "ENOSPC": {0, 6}, "EIO": {0, 6}}
"""Exit statuses; 0 where what failed was a removal after the map had its name."""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


class Job:
    """One scene, one model, and the bytes that the map should have."""

    def __init__(self, folder, *, height=600, width=400):
        valid = np.ones((height, width), bool)
        valid[100:220, 50:300] = False
        pixels = landscape(3, height, width)
        self.scene = str(write_scene(folder / "scene.tif", pixels, valid=valid))
        self.options = {
            "model": str(random_model(folder / "model.safetensors")),
            "strip_rows": 1,
            "overwrite": True,
            "threads": 1,
        }
        geop2p.translate(self.scene, folder / "right.tif", **self.options)
        self.right = (folder / "right.tif").read_bytes()

    def start(self, out, **disturbance):
        return start(self.scene, str(out), **self.options, **disturbance)

    def finish(self, out):
        """Run the same command undisturbed."""
        return geop2p.translate(self.scene, out, **self.options)

    def is_finished(self, out):
        """Return whether the map is right and nothing else is left."""
        return names(out.parent) == [out.name] and out.read_bytes() == self.right


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    return Job(tmp_path_factory.mktemp("job"))


def fresh_folder(tmp_path, number):
    folder = tmp_path / str(number)
    folder.mkdir()
    (folder / "map.tif").write_bytes(OLD)
    return folder


def names(folder):
    return [path.name for path in folder.iterdir()]


def fail_every(job, tmp_path, kind, *, step, first):
    """Fail the Nth point, for N from ``first`` in ``step``s until none fails; return how many."""
    number = first
    while True:
        out = fresh_folder(tmp_path, number) / "map.tif"
        status = finished(job.start(out, fault=(number, FAULTS[kind])))
        if status == REACHED_NO_FAULT:
            return number
        assert status in EXPECTED[kind], f"point {number}"
        assert out.read_bytes() in (OLD, job.right), f"point {number}"
        kept = sum(len(list(folder.glob("strip-*.part"))) for folder in part_folders(out))
        is_done = out.read_bytes() == job.right
        report = job.finish(out)
        assert job.is_finished(out), f"point {number}"
        assert is_done or report.strips_resumed == kept, f"point {number}"
        number += step


@pytest.mark.parametrize(("kind", "first"), [("kill", 1), ("ENOSPC", 9)])
def test_a_fault_at_some_points_leaves_old_or_new_and_the_rerun_is_right(
    job, tmp_path, kind, first
):
    assert fail_every(job, tmp_path, kind, step=16, first=first) > 40


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_at_every_point_leaves_old_or_new_and_the_rerun_is_right(job, tmp_path, kind):
    assert fail_every(job, tmp_path, kind, step=1, first=1) > 40


def limited(job, out, share):
    """Limit files to a share of what the largest one, the uncompressed map, would have."""
    largest = 1024 * 512 * 4
    return finished(job.start(out, file_limit=int(share * largest)))


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_a_limit_of_file_sizes_is_told_as_a_full_disk(job, tmp_path, share):
    out = fresh_folder(tmp_path, 0) / "map.tif"
    status = limited(job, out, share)
    assert (status, out.read_bytes()) in ((0, job.right), (6, OLD))
    job.finish(out)
    assert job.is_finished(out)


@pytest.mark.slow
@pytest.mark.parametrize("position", range(20))
def test_a_limit_of_file_sizes_at_20_positions(job, tmp_path, position):
    out = fresh_folder(tmp_path, 0) / "map.tif"
    status = limited(job, out, (position + 0.5) / 20)
    assert (status, out.read_bytes()) in ((0, job.right), (6, OLD))
    job.finish(out)
    assert job.is_finished(out)


def kill_at_random(job, out, *, kills, seed):
    """Kill the same command at random moments, again and again; return how many maps it made."""
    moments = random.Random(seed)
    maps = 0
    for _ in range(kills):
        process = job.start(out)
        time.sleep(moments.uniform(0.02, 1.2))
        process.kill()
        if finished(process) == 0:
            assert out.read_bytes() == job.right
            out.unlink()
            maps += 1
        assert not out.exists() or out.read_bytes() == job.right
    return maps


def test_a_job_that_is_killed_again_and_again_ends_in_the_same_bytes(tmp_path):
    job = Job(tmp_path, height=2000, width=300)
    out = tmp_path / "maps" / "map.tif"
    out.parent.mkdir()
    kill_at_random(job, out, kills=8, seed=1)
    job.finish(out)
    assert job.is_finished(out)


@pytest.mark.slow
def test_50_kills_at_random_moments_end_in_the_same_bytes(tmp_path):
    job = Job(tmp_path, height=6000, width=700)
    out = tmp_path / "maps" / "map.tif"
    out.parent.mkdir()
    assert kill_at_random(job, out, kills=50, seed=2) < 40
    job.finish(out)
    assert job.is_finished(out)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 16 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", folder], check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def leave_free(folder, size):
    free = shutil.disk_usage(folder).free
    (folder / "ballast").write_bytes(bytes(free - size))


@needs_root
def test_a_disk_that_is_too_small_is_told_before_the_start(job, small_disk):
    leave_free(small_disk, 500_000)
    with pytest.raises(DiskFullError, match=r"\d+ bytes are needed, \d+ bytes are free in"):
        geop2p.translate(job.scene, small_disk / "map.tif", **job.options)
    assert names(small_disk) == ["ballast"]


@needs_root
@pytest.mark.parametrize("free", [60_000, 400_000, 900_000, 1_500_000, 2_300_000])
def test_a_disk_that_fills_up_keeps_finished_strips_and_the_rerun_goes_on(job, small_disk, free):
    out = small_disk / "map.tif"
    out.write_bytes(OLD)
    leave_free(small_disk, free)
    with pytest.raises(DiskFullError, match="bytes are free in"):
        geop2p.translate(job.scene, out, **job.options, space_check=False)
    assert out.read_bytes() == OLD
    kept = sum(len(list(folder.glob("strip-*.part"))) for folder in part_folders(out))
    (small_disk / "ballast").unlink()
    report = geop2p.translate(job.scene, out, **job.options)
    assert (out.read_bytes(), report.strips_resumed) == (job.right, kept)


@needs_root
def test_a_read_only_folder_is_told_in_one_line(job, small_disk, run_cli):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    out = small_disk / "map.tif"
    status, _, said = run_cli("translate", job.scene, "-o", out, "-m", job.options["model"])
    assert status == 5
    assert said.count("\n") == 1
    assert "is not writable" in said
