"""A map that is begun while its strips are drawn is the same map, or nothing."""

import time

import pytest
from scenes import landscape, translated, write_scene

import geop2p
from geop2p.errors import OutputError
from geop2p.parts import part_folders
from geop2p.pipelines import products


@pytest.fixture
def scene(tmp_path):
    (tmp_path / "in").mkdir()
    return write_scene(tmp_path / "in" / "scene.tif", landscape(3, 1500, 300))


@pytest.fixture
def early(monkeypatch):
    """Maps begun early although strips are drawn on a CPU."""
    monkeypatch.setattr(products, "has_free_cores", lambda _plan: True)


def is_begun(out):
    return any(path.name.endswith(".plain.tif") for path in out.parent.iterdir())


def seen_begun(out, *, stop_after=None, seconds=20):
    """Return a listener, and a list that gets whether a map is being written, strip by strip."""
    seen = []

    def listen(progress):
        if progress.stage != "translate" or progress.done == progress.total:
            return
        until = time.monotonic() + (seconds if not seen else 0)
        while not is_begun(out) and time.monotonic() < until:
            time.sleep(0.01)
        seen.append(is_begun(out))
        if len(seen) == stop_after:
            raise KeyboardInterrupt

    return listen, seen


def test_it_is_begun_before_the_last_strip_and_is_the_same_file(scene, out, model, monkeypatch):
    plainly = translated(scene, out.with_name("plainly.tif"), model)
    expected = out.with_name("plainly.tif").read_bytes()
    monkeypatch.setattr(products, "has_free_cores", lambda _plan: True)
    listen, seen = seen_begun(out)
    report = translated(scene, out, model, on_progress=listen)
    assert seen
    assert all(seen)
    assert out.read_bytes() == expected
    assert report.sha256 == plainly.sha256
    assert sorted(path.name for path in out.parent.iterdir()) == ["map.tif", "plainly.tif"]


def test_on_a_cpu_it_is_not(scene, out, model):
    listen, seen = seen_begun(out, seconds=0)
    translated(scene, out, model, on_progress=listen)
    assert seen
    assert not any(seen)


@pytest.mark.usefixtures("early")
def test_an_interrupted_run_leaves_its_strips_alone_and_goes_on(scene, out, model):
    listen, _seen = seen_begun(out, stop_after=2)
    with pytest.raises(KeyboardInterrupt):
        translated(scene, out, model, on_progress=listen)
    assert list(out.parent.iterdir()) == part_folders(out)
    resumed = translated(scene, out, model)
    assert resumed.strips_resumed == 2
    assert resumed.sha256 == translated(scene, out.with_name("whole.tif"), model).sha256


@pytest.mark.usefixtures("early")
def test_a_scene_that_may_have_a_mask_waits_for_all_of_its_strips(tmp_path, out, model):
    pixels = landscape(3, 1500, 300)
    pixels[:, 900:1000] = 0
    scene = write_scene(tmp_path / "gaps.tif", pixels, nodata=0)
    listen, seen = seen_begun(out, seconds=0)
    report = translated(scene, out, model, on_progress=listen)
    assert seen
    assert not any(seen)
    assert report.pixels_invalid > 0


@pytest.mark.usefixtures("early")
def test_a_mask_that_no_header_told_of_is_in_the_map(tmp_path, out, model, monkeypatch):
    pixels = landscape(3, 1500, 300)
    pixels[:, 900:1000] = 0
    scene = write_scene(tmp_path / "gaps.tif", pixels, nodata=0)
    expected = translated(scene, out.with_name("expected.tif"), model)
    monkeypatch.setattr(products, "can_have_invalid", lambda _plan: False)
    listen, seen = seen_begun(out)
    found = translated(scene, out, model, on_progress=listen)
    assert all(seen)
    assert found.sha256 == expected.sha256
    assert sorted(path.name for path in out.parent.iterdir()) == ["expected.tif", "map.tif"]


@pytest.mark.usefixtures("early")
def test_what_fails_while_it_is_written_is_told_and_strips_stay(scene, out, model, monkeypatch):
    def failing(*_arguments, **_options):
        raise OutputError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(products, "staged_map", failing)
        with pytest.raises(OutputError, match="no room"):
            translated(scene, out, model)
    assert list(out.parent.iterdir()) == part_folders(out)
    assert translated(scene, out, model).strips_resumed > 0


@pytest.mark.usefixtures("early")
def test_other_products_are_there_before_the_map_is(scene, out, model, tmp_path, monkeypatch):
    sure = tmp_path / "out" / "sure.tif"

    def failing(*_arguments):
        raise OutputError("no room")

    monkeypatch.setattr(products, "write_confidence", failing)
    with pytest.raises(OutputError, match="no room"):
        translated(scene, out, model, confidence=sure)
    assert list(out.parent.iterdir()) == part_folders(out)


@pytest.mark.usefixtures("early")
def test_several_scenes_are_each_what_they_are_alone(scene, tmp_path, out, model):
    other = write_scene(tmp_path / "in" / "other.tif", landscape(3, 900, 400, seed=2))
    folder = tmp_path / "maps"
    folder.mkdir()
    outcomes = list(geop2p.translate_many([scene, other], folder, model=model, strip_rows=1))
    alone = [translated(each, out.with_name(each.name), model).sha256 for each in (scene, other)]
    assert [outcome.report.sha256 for outcome in outcomes] == alone
    assert sorted(path.name for path in folder.iterdir()) == ["other.tif", "scene.tif"]
