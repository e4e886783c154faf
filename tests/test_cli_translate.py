"""The command: options in, one result out, documented endings."""

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scenes import landscape, noise, random_model, read_raster, write_scene

from geop2p.version import __version__


@pytest.fixture
def scene(tmp_path):
    return write_scene(tmp_path / "scene.tif", landscape(3, 300, 400))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return random_model(tmp_path_factory.mktemp("model") / "random.safetensors")


def test_a_map_is_made_and_summed_up(tmp_path, run_cli, scene, model):
    status, out, err = run_cli("translate", scene, "--out", tmp_path / "map.tif", "-m", model)
    assert status == 0
    assert "400 x 300, 3 bands, 4 tiles by random" in out
    assert "translate 100% (4/4 tiles)" in err
    assert read_raster(tmp_path / "map.tif")[0].shape == (3, 300, 400)


def test_json_is_one_object_and_quiet_says_nothing(tmp_path, run_cli, scene, model):
    status, out, err = run_cli(
        "translate", scene, "-o", tmp_path / "map.tif", "-m", model, "--json", "-q"
    )
    assert (status, err) == (0, "")
    report = json.loads(out)
    assert report["tiles"] == 4
    assert report["path"] == str(tmp_path / "map.tif")


def test_options_reach_the_pipeline(tmp_path, run_cli, model):
    scene = write_scene(tmp_path / "scene.tif", noise(4, 90, 80, dtype="uint16"))
    words = "-b 4,3,2 --stretch 0,1000 --stretch 0,2000 --stretch 0,3000 --overlap 32 "
    words += "--blend cut --src-nodata none --dst-nodata 0 --mask-rule all --co compress=LZW "
    words += "--format GTiff --batch-size 2 --threads 1 --strip-rows 1 --precision fp32"
    status, _, err = run_cli(
        "translate", scene, "-o", tmp_path / "m.tif", "-m", model, "-q", *words.split()
    )
    assert (status, err) == (0, "")
    _, out, _ = run_cli("info", tmp_path / "m.tif", "--json")
    facts = json.loads(out)
    assert (facts["compression"], facts["nodata"], facts["overviews"]) == ("lzw", "0.0", [])
    assert facts["tags"]["GEOP2P_STRETCH"] == "0,1000 0,2000 0,3000"
    assert facts["tags"]["GEOP2P_BANDS"] == "4,3,2"


def test_a_preview_shows_both(tmp_path, run_cli, scene, model):
    preview = tmp_path / "both.png"
    run_cli("translate", scene, "-o", tmp_path / "m.tif", "-m", model, "-q", "--preview", preview)
    pixels, _ = read_raster(preview)
    assert pixels.shape == (4, 300 + 56, 2 * 400 + 48)
    shown = pixels[:3, 40 + 20 : 40 + 280, 16 + 20 : 16 + 380].astype(int)
    original = read_raster(scene)[0][:, 20:280, 20:380]
    assert np.abs(shown - original).mean() < 12


@pytest.mark.parametrize(
    ("arguments", "status", "finding"),
    [
        (["missing.tif", "-o", "m.tif"], 3, "missing.tif: no such file"),
        (["text.tif", "-o", "m.tif"], 3, "a text of 11 bytes"),
        (["scene.tif", "-o", "m.tif", "-m", "text.tif"], 4, "text.tif: is a text"),
        (["scene.tif", "-o", "m.tif", "-m", "nobody"], 4, "nobody: no such model"),
        (["scene.tif", "-o", "scene.tif"], 5, "is the scene itself"),
        (["scene.tif", "-o", "text.tif"], 5, "exists"),
        (["scene.tif", "-o", "no/m.tif"], 5, "does not exist"),
        (["scene.tif", "-o", "m.tif", "-b", "7,1,1"], 2, "band 7 was asked for"),
        (["scene.tif", "-o", "m.tif", "--overlap", "200"], 2, "expected 0 to 128"),
    ],
)
def test_bad_input_is_one_line_and_a_status(
    tmp_path, monkeypatch, run_cli, scene, model, arguments, status, finding
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.tif").write_text("dear reader")
    arguments += [] if "-m" in arguments else ["-m", str(model)]
    found, out, err = run_cli("translate", *arguments)
    assert (found, out) == (status, "")
    assert err.startswith("geop2p: error: ")
    assert err.count("\n") == 1
    assert finding in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scene.tif", "text.tif"]


def test_a_scene_that_may_not_be_read_is_one_line(tmp_path, monkeypatch, run_cli, scene):
    """As for a file of mode 000, which root may read all the same."""
    opened, allowed = os.open, os.access

    def refuse(path, *args, **kwargs):
        if str(path) == str(scene):
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "access", lambda path, mode: path != str(scene) and allowed(path, mode))
    status, _, said = run_cli("translate", scene, "-o", tmp_path / "m.tif")
    assert (status, said.count("\n")) == (3, 1)
    assert "no permission to read it" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["translate"],
        ["translate", "scene.tif"],
        ["translate", "s.tif", "-o", "m.tif", "--co", "COMPRESS"],
        ["translate", "s.tif", "-o", "m.tif", "-b", "1,x"],
        ["translate", "s.tif", "-o", "m.tif", "--src-nodata", "black"],
        ["translate", "s.tif", "-o", "m.tif", "--batch-size", "many"],
        ["nonsense"],
    ],
)
def test_wrong_usage_ends_with_2(run_cli, arguments):
    status, _, err = run_cli(*arguments)
    assert status == 2
    assert "Error" in err


def test_debug_shows_the_traceback(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-m", "geop2p", "translate", "no.tif", "-o", "m.tif", "--debug"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr


def test_the_module_and_the_command_are_the_same():
    for start in ([Path(sys.executable).with_name("geop2p")], [sys.executable, "-m", "geop2p"]):
        ended = subprocess.run([*start, "--version"], capture_output=True, text=True)
        assert ended.stdout.strip() == f"geop2p, version {__version__}"


def is_gone(group):
    """Return whether nobody of a process group is left, some moments later at most."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_a_reader_that_leaves_is_no_error_message(tmp_path, scene, model):
    command = f"{sys.executable} -m geop2p info {scene} | head -0"
    ended = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert ended.stderr == ""


def test_info_explains_models_and_rasters(run_cli, scene, model):
    status, out, _ = run_cli("info", model)
    assert status == 0
    assert "arch: unet_128" in out
    status, out, _ = run_cli("info", scene)
    assert status == 0
    assert "crs: EPSG:32633" in out


def test_info_of_a_model_tells_what_it_is_for_first_and_int8_in_short(run_cli):
    told = run_cli("info", "streets")[1]
    names = ["description:", "gsd m:", "limits:", "licence:", "generator:", "int8:", "sha256:"]
    places = [told.index(f"\n{name}") for name in names]
    assert places == sorted(places)
    facts = json.loads(run_cli("info", "streets", "--json")[1])
    assert f"  ranges: {len(facts['int8']['ranges'])} layers\n" in told
    assert "  scenes: scene4.jpg, scene5.jpg" in told
    assert told.count("sha256") == 1


def test_info_of_no_file_names_the_bundled_models(run_cli):
    status, _, said = run_cli("info", "nosuch")
    assert (status, said.count("\n")) == (3, 1)
    assert "no such file or bundled model" in said
    assert "roads, streets" in said


def test_info_of_a_missing_file_is_one_line(run_cli):
    assert run_cli("info", "no.tif")[0] == 3
    assert run_cli("info", "no.safetensors")[0] == 4


def test_models_lists_what_is_bundled(run_cli):
    from geop2p.model import bundled_models

    status, out, _ = run_cli("models", "--json")
    assert status == 0
    assert list(json.loads(out)) == list(bundled_models())
