"""Preparing pairs on a failing disk, killed, or twice at once: the old folder, none, or the new."""

import errno
import os
import resource

import pytest
from scenes import landscape, noise, write_scene

from geop2p.errors import DiskFullError, OutputError, PairsError, SceneError
from geop2p.faults import observed
from geop2p.locking import held
from geop2p.pairs import find_pairs
from geop2p.pipelines.prepare import prepare

OPTIONS = {"palette": "streets", "size": 32}


@pytest.fixture
def ground(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", landscape(3, 64, 96))
    labels = write_scene(tmp_path / "labels.tif", noise(1, 64, 96, seed=1) % 6)
    return [scene], [labels]


def names(folder):
    return {path.name for path in folder.iterdir()}


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}


@pytest.mark.parametrize("layout", ["side-by-side", "folders"])
@pytest.mark.parametrize("size", [0, 500])
def test_a_full_disk_leaves_nothing_and_has_its_own_status(tmp_path, ground, size, layout):
    before = names(tmp_path)
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, former[1]))
    try:
        with pytest.raises(DiskFullError) as error:
            prepare(*ground, tmp_path / "out", layout=layout, **OPTIONS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    assert error.value.exit_status == 6
    assert names(tmp_path) == before


def test_a_full_disk_loses_no_pixels_of_a_raster(tmp_path, ground):
    wide = [write_scene(tmp_path / "wide.tif", noise(4, 64, 96, dtype="uint16"))]
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, former[1]))
    try:
        with pytest.raises(DiskFullError):
            prepare(wide, ground[1], tmp_path / "out", layout="folders", **OPTIONS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    assert not (tmp_path / "out").exists()


def test_whatever_step_fails_the_old_folder_or_the_new_is_there(tmp_path, ground):
    out = tmp_path / "out"
    prepare(*ground, out, **OPTIONS)
    old = content(out)
    new = content(prepare(*ground, tmp_path / "new", **OPTIONS | {"stride": 16}).out)
    for number in range(50):
        points = iter(range(10**6))

        def fail(point, points=points, number=number):
            if next(points) == number:
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        try:
            with observed(fail):
                prepare(*ground, out, overwrite=True, stride=16, **OPTIONS)
        except OutputError:
            assert content(out) in (old, new)
            assert names(tmp_path) == {"out", "new", "scene.tif", "labels.tif"}
        else:
            break
    assert 2 < number < 50


def test_what_a_killed_run_left_is_no_data_set_and_goes_at_the_next_run(tmp_path, ground):
    out = tmp_path / "out"
    prepare(*ground, out, **OPTIONS)
    old = content(out)
    half = tmp_path / ".out.4711.part" / "train"
    half.mkdir(parents=True)
    (half / "a.png").write_bytes(b"half")
    with pytest.raises(PairsError, match="no pairs"):
        find_pairs(tmp_path)
    out.rename(tmp_path / ".out.4711.part-former")  # killed between two renames
    with pytest.raises(OutputError, match="exists and is not empty"):
        prepare(*ground, out, **OPTIONS)
    assert content(out) == old
    assert names(tmp_path) == {"out", "scene.tif", "labels.tif"}


def test_a_second_run_fails_at_once(tmp_path, ground):
    with held(tmp_path / "out"), pytest.raises(OutputError, match=f"process {os.getpid()} "):
        prepare(*ground, tmp_path / "out", **OPTIONS)


def test_labels_without_a_palette_are_told(tmp_path, ground):
    same = write_scene(tmp_path / "same.tif", noise(1, 64, 96) * 0 + 1)
    with pytest.raises(SceneError, match="class indexes with --palette"):
        prepare(ground[0], [same], tmp_path / "out", size=32)
