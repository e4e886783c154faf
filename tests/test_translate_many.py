"""Several scenes in one command: each map is that of its own command, and one failure is one."""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from scenes import landscape, noise, write_scene

import geop2p
from geop2p.errors import OptionError, OutputError, SceneError
from geop2p.faults import observed
from geop2p.locking import held
from geop2p.parts import part_folders


@pytest.fixture
def scenes(tmp_path):
    """Three scenes of different sizes and types, and so of different stretches."""
    (tmp_path / "maps").mkdir()
    pixels = [landscape(3, 300, 200), noise(3, 150, 260, dtype="uint16"), landscape(3, 90, 500)]
    names = ["a.tif", "b.tif", "c.tif"]
    return [write_scene(tmp_path / name, found) for name, found in zip(names, pixels, strict=True)]


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_maps_are_to_the_last_byte_those_of_single_commands(tmp_path, scenes, model):
    outcomes = list(geop2p.translate_many(scenes, tmp_path / "maps", model=model, strip_rows=1))
    assert [outcome.state for outcome in outcomes] == ["translated"] * 3
    for outcome in outcomes:
        single = tmp_path / "single.tif"
        report = geop2p.translate(outcome.scene, single, model=model, strip_rows=1, overwrite=True)
        assert single.read_bytes() == Path(outcome.path).read_bytes()
        assert report.stretch == outcome.report.stretch
    assert names_in(tmp_path / "maps") == ["a.tif", "b.tif", "c.tif"]


def test_what_is_made_beside_the_maps_goes_to_folders(tmp_path, scenes, run_cli):
    options = {"classes": "classes", "vectors": "shapes", "confidence": "sure", "preview": "shown"}
    (tmp_path / "alone").mkdir()
    words = []
    for option, name in options.items():
        (tmp_path / name).mkdir()
        words += [f"--{option}", tmp_path / name]
    words += ["--palette", "roads", "-q"]
    eight_bits = [scenes[0], scenes[2]]
    status, *_ = run_cli("translate", *eight_bits, "--out-dir", tmp_path / "maps", *words)
    assert status == 0
    for scene in eight_bits:
        alone = {
            option: tmp_path / "alone" / f"{option}{suffix}"
            for option, suffix in zip(options, (".tif", ".gpkg", ".tif", ".png"), strict=True)
        }
        single = tmp_path / "alone" / "map.tif"
        geop2p.translate(scene, single, palette="roads", overwrite=True, **alone)
        for option, path in alone.items():
            made = tmp_path / options[option] / f"{scene.stem}{path.suffix}"
            assert made.stat().st_size > 0
            if option in ("classes", "confidence"):
                assert made.read_bytes() == path.read_bytes()
    again = run_cli("translate", *eight_bits, "--out-dir", tmp_path / "maps", *words)
    assert "0 translated, 2 skipped, 0 failed" in again[1]
    (tmp_path / "classes" / "a.tif").unlink()
    mended = run_cli(
        *("translate", *eight_bits, "--out-dir", tmp_path / "maps", *words),
        *("--overwrite", "--skip-existing"),
    )
    assert "1 translated, 1 skipped, 0 failed" in mended[1]
    with pytest.raises(OutputError, match="is the map itself"):
        geop2p.translate_many(scenes, tmp_path / "maps", classes=tmp_path / "maps")


def test_outcomes_come_in_the_order_of_the_scenes(tmp_path, scenes, model):
    (tmp_path / "none.tif").write_bytes(b"no raster")
    names = [scenes[0], tmp_path / "none.tif", scenes[2]]
    outcomes = geop2p.translate_many(names, tmp_path / "maps", model=model)
    assert [Path(outcome.scene) for outcome in outcomes] == names


def test_one_map_is_written_while_the_next_scene_is_drawn(tmp_path, scenes, model):
    """The first map waits until a strip of the second scene is kept: alone, in vain."""
    kept, waited = [], []

    def wait(point):
        if point == "before write map" and not waited:
            assert threading.current_thread().name.startswith("geop2p-finish")
            waited.append(is_kept.wait(30))
        if point == "before write part" and threading.current_thread() is threading.main_thread():
            kept.append(point)
            if len(kept) > first:
                is_kept.set()

    is_kept, first = threading.Event(), 1  # the first scene is one strip
    with observed(wait):
        outcomes = list(geop2p.translate_many(scenes[:2], tmp_path / "maps", model=model))
    assert waited == [True]
    assert [outcome.state for outcome in outcomes] == ["translated"] * 2


def test_one_generator_draws_all_scenes(tmp_path, scenes):
    threads, tiles = set(), []

    def draw(batch):
        threads.add(threading.get_ident())
        tiles.append(len(batch))
        return batch

    outcomes = list(geop2p.translate_many(scenes, tmp_path / "maps", generator=draw))
    assert [outcome.state for outcome in outcomes] == ["translated"] * 3
    assert len(threads) == 1
    assert sum(tiles) == sum(outcome.report.tiles for outcome in outcomes)


def test_a_scene_that_fails_stops_no_other(tmp_path, run_cli, scenes, model):
    damaged = tmp_path / "damaged.tif"
    damaged.write_bytes(scenes[0].read_bytes()[:-20_000])
    words = [scenes[0], damaged, tmp_path / "missing.tif", scenes[2]]
    status, out, err = run_cli(
        "translate", *words, "--out-dir", tmp_path / "maps", "-m", model, "-q"
    )
    assert status == SceneError.exit_status
    errors = [line for line in err.splitlines() if line.startswith("geop2p: error: ")]
    assert len(errors) == 2
    assert "damaged.tif" in errors[0]
    assert "missing.tif" in errors[1]
    assert out.splitlines()[-1] == "2 translated, 0 skipped, 2 failed"
    assert names_in(tmp_path / "maps") == ["a.tif", "c.tif"]


def test_a_map_that_cannot_be_written_stops_no_other(tmp_path, scenes, model):
    def fail(point):
        if point == "before seal" and len(failures) == 0:
            failures.append(point)
            raise OSError(28, "No space left on device")

    failures = []
    with observed(fail):
        outcomes = list(geop2p.translate_many(scenes, tmp_path / "maps", model=model))
    assert [outcome.state for outcome in outcomes] == ["failed", "translated", "translated"]
    assert outcomes[0].error.exit_status == 6
    assert not (tmp_path / "maps" / "a.tif").exists()
    (again, *_) = geop2p.translate_many(scenes[:1], tmp_path / "maps", model=model)
    assert again.report.strips_resumed == 1


def test_a_generator_that_fails_on_one_scene_draws_the_next(tmp_path, scenes):
    def draw(batch):
        if batch.shape[2] and len(calls) == 0:
            calls.append(1)
            raise geop2p.ModelError("the first is too much")
        return batch

    calls = []
    outcomes = list(geop2p.translate_many(scenes, tmp_path / "maps", generator=draw))
    assert [outcome.state for outcome in outcomes] == ["failed", "translated", "translated"]
    assert names_in(tmp_path / "maps") == ["b.tif", "c.tif"]


def test_names_that_clash_are_refused_before_work(tmp_path, scenes, model):
    (tmp_path / "other").mkdir()
    twin = write_scene(tmp_path / "other" / "a.vrt.tif", landscape(3, 60, 60)).rename(
        tmp_path / "other" / "a.jp2"
    )
    with pytest.raises(OptionError, match="would both become"):
        geop2p.translate_many([*scenes, twin], tmp_path / "maps", model=model)
    with pytest.raises(OptionError, match="would both become"):
        geop2p.translate_many([scenes[0], scenes[0]], tmp_path / "maps", model=model)
    with pytest.raises(OutputError, match=r"is the scene itself|is one of the scenes"):
        geop2p.translate_many(scenes, tmp_path, model=model, overwrite=True)
    assert names_in(tmp_path / "maps") == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preview": "p.png"}, "p.png: no such folder .*--preview names one"),
        ({"precision": "int8"}, "was not quantised"),
        ({"model": "no such"}, "no such model"),
        ({"overlap": 64, "format": "BMP"}, "format 'BMP'"),
    ],
)
def test_options_that_concern_all_scenes_are_refused_at_once(
    tmp_path, scenes, model, options, message
):
    with pytest.raises(geop2p.Geop2pError, match=message):
        geop2p.translate_many(scenes, tmp_path / "maps", **{"model": model, **options})


def test_what_is_there_is_skipped_and_what_is_old_is_named(tmp_path, scenes, model):
    def states(**options):
        found = geop2p.translate_many(scenes, tmp_path / "maps", model=model, **options)
        return [outcome.state for outcome in found]

    list(geop2p.translate_many(scenes[:1], tmp_path / "maps", model=model))
    assert states() == ["skipped", "translated", "translated"]
    assert states(overlap=32) == ["failed"] * 3
    assert states(overwrite=True, skip_existing=True) == ["skipped"] * 3
    assert states(overwrite=True) == ["translated"] * 3


def test_a_target_that_another_run_writes_is_left_to_it(tmp_path, scenes, model):
    with held(tmp_path / "maps" / "a.tif"):
        outcomes = list(geop2p.translate_many(scenes[:2], tmp_path / "maps", model=model))
    assert [outcome.state for outcome in outcomes] == ["failed", "translated"]
    assert "is being written by" in str(outcomes[0].error)


def test_an_iterator_that_is_closed_keeps_what_is_finished(tmp_path, scenes, model):
    outcomes = geop2p.translate_many(scenes, tmp_path / "maps", model=model)
    assert next(outcomes).state == "translated"
    outcomes.close()
    assert {name for name in names_in(tmp_path / "maps") if not name.startswith(".")} <= {
        "a.tif",
        "b.tif",
    }
    states = [one.state for one in geop2p.translate_many(scenes, tmp_path / "maps", model=model)]
    assert states[0] == "skipped"
    assert names_in(tmp_path / "maps") == ["a.tif", "b.tif", "c.tif"]


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"a.tif\nsc\xe4ne.tif\n", "line 2 is no UTF-8"), (b"II*\0", "holds bytes")],
)
def test_a_list_that_is_no_text_is_refused_in_one_line(tmp_path, run_cli, content, found):
    (tmp_path / "list.txt").write_bytes(content)
    words = ["translate", "--scenes-from", tmp_path / "list.txt", "--out-dir", tmp_path]
    status, _, said = run_cli(*words)
    assert (status, said.count("\n")) == (3, 1)
    assert f"list.txt: {found}" in said
    assert "a list of scenes in UTF-8, one a line" in said


def test_a_list_may_have_a_byte_order_mark_and_names_with_a_hash(tmp_path, run_cli):
    text = "\ufeff# one.tif\r\n \r\nt\u00e4l.tif"
    (tmp_path / "list.txt").write_bytes(text.encode())
    words = ["translate", "--scenes-from", tmp_path / "list.txt", "--out-dir", tmp_path, "--json"]
    status, out, _ = run_cli(*words)
    assert status == 3
    assert [fact["scene"] for fact in json.loads(out)] == ["# one.tif", "t\u00e4l.tif"]


def test_a_file_in_place_of_a_folder_is_told(tmp_path, run_cli, scenes):
    status, _, said = run_cli("translate", scenes[0], "--out-dir", scenes[1])
    assert (status, f"{scenes[1]} is a file (expected a folder" in said) == (5, True)


def test_json_is_a_list_and_a_second_run_has_nothing_to_do(tmp_path, run_cli, scenes, model):
    (tmp_path / "list.txt").write_text(f"{scenes[1]}\n\n{scenes[2]}\n")
    words = ["translate", scenes[0], "--scenes-from", tmp_path / "list.txt", "-m", model]
    words += ["--out-dir", tmp_path / "maps", "--json", "-q", "--format", "PNG"]
    status, out, _ = run_cli(*words)
    assert status == 0
    facts = json.loads(out)
    assert [fact["state"] for fact in facts] == ["translated"] * 3
    assert [fact["path"] for fact in facts] == [
        str(tmp_path / "maps" / name) for name in ("a.png", "b.png", "c.png")
    ]
    assert facts[0]["tiles"] == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.tif"], "no output"),
        (["--out-dir", "maps"], "no scene"),
        (["a.tif", "b.tif", "--out", "m.tif"], "--out m.tif and 2 scenes"),
        (["a.tif", "--out", "m.tif", "--out-dir", "maps"], "give one of them"),
    ],
)
def test_usage_is_told(run_cli, words, message):
    status, _, err = run_cli("translate", *words)
    assert status == 2
    assert message in err


def test_progress_tells_which_scene(tmp_path, scenes, model):
    stages = []
    for _ in geop2p.translate_many(
        scenes[:2],
        tmp_path / "maps",
        model=model,
        on_progress=lambda progress: stages.append(progress.stage),
    ):
        pass
    assert stages == ["translate 1/2", "translate 2/2"]


@pytest.mark.slow
def test_worker_processes_draw_all_scenes(tmp_path, scenes, model):
    outcomes = list(geop2p.translate_many(scenes, tmp_path / "maps", model=model, workers=1))
    for outcome in outcomes:
        report = geop2p.translate(
            outcome.scene, tmp_path / "single.tif", model=model, overwrite=True
        )
        assert report.sha256 == outcome.report.sha256


def test_a_signal_ends_it_and_the_same_command_goes_on(tmp_path, model):
    maps = tmp_path / "maps"
    maps.mkdir()
    first = write_scene(tmp_path / "first.tif", landscape(3, 200, 200))
    long = write_scene(tmp_path / "long.tif", landscape(3, 2000, 1000))
    words = [sys.executable, "-m", "geop2p", "translate", str(first), str(long), "--out-dir"]
    words += [str(maps), "-m", str(model), "--strip-rows", "1"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not any(list(folder.glob("strip-*.part")) for folder in part_folders(maps / "long.tif")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 143
    assert said.splitlines()[-1].startswith("geop2p: terminated; the same command goes on")
    left = {re.sub("[0-9a-f]{16}", "", path.name) for path in maps.iterdir()}
    assert ".long.tif..parts" in left
    assert left <= {"first.tif", ".long.tif..parts", ".first.tif..parts"}
    found = {
        one.path.rsplit("/", 1)[1]: one
        for one in geop2p.translate_many([first, long], maps, model=model, strip_rows=1)
    }
    assert found["long.tif"].report.strips_resumed > 0
    assert names_in(maps) == ["first.tif", "long.tif"]
