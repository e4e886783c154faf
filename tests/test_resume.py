"""A run goes on from what an earlier one of the same kind had finished, and from nothing else."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from scenes import landscape, noise, random_model, translated, write_scene

import geop2p
from geop2p.errors import NothingToDoError, OutputError, SceneError
from geop2p.parts import part_folders
from geop2p.pipelines import preflight
from geop2p.raster.mapfile import PROOF_TAGS


@pytest.fixture
def scene(tmp_path):
    (tmp_path / "in").mkdir()
    return write_scene(tmp_path / "in" / "scene.tif", landscape(3, 700, 300))


def interrupted(scene, out, model, *, strips=2, **options):
    """Run until so many strips are finished; return the folder of parts."""
    seen = []

    def stop(progress):
        seen.append(progress)
        if len(seen) == strips:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        translated(scene, out, model, on_progress=stop, **options)
    return part_folders(out)[-1]


def test_finished_strips_are_used_and_the_map_is_the_same(scene, out, model):
    whole = translated(scene, out.with_name("whole.tif"), model)
    interrupted(scene, out, model)
    report = translated(scene, out, model)
    assert (report.strips_resumed, report.sha256) == (2, whole.sha256)
    assert sorted(path.name for path in out.parent.iterdir()) == ["map.tif", "whole.tif"]


@pytest.mark.parametrize(
    "change", [{"overlap": 32}, {"blend": "linear"}, {"stretch": "5,250"}, {"mask_rule": "all"}]
)
def test_parts_of_other_options_are_never_met(scene, out, model, change):
    interrupted(scene, out, model)
    assert translated(scene, out, model, **change).strips_resumed == 0
    assert list(out.parent.iterdir()) == [out]


def test_parts_of_another_model_are_never_met(scene, out, model, tmp_path):
    interrupted(scene, out, model)
    other = random_model(tmp_path / "other.safetensors", seed=1)
    assert translated(scene, out, other).strips_resumed == 0


def test_parts_of_a_scene_that_was_written_again_are_never_met(scene, out, model):
    interrupted(scene, out, model)
    write_scene(scene, landscape(3, 700, 300, seed=3))
    assert translated(scene, out, model).strips_resumed == 0


def test_a_new_side_car_mask_is_another_scene(scene, out, model):
    interrupted(scene, out, model)
    write_scene(scene.with_name("scene.tif.msk"), noise(1, 700, 300))
    assert translated(scene, out, model).strips_resumed == 0


def test_fresh_starts_over(scene, out, model):
    interrupted(scene, out, model)
    assert translated(scene, out, model, fresh=True).strips_resumed == 0


def damage_state(folder):
    (folder / "state.json").write_text('{"torn')


def replace_state(folder):
    (folder / "state.json").write_text(json.dumps({"of": "another run"}))


def replace_folder(folder):
    shutil.rmtree(folder)
    folder.write_text("a file of the same name")


@pytest.mark.parametrize("disturb", [damage_state, replace_state, replace_folder])
def test_a_torn_or_foreign_state_makes_every_strip_again(scene, out, model, disturb, caplog):
    whole = translated(scene, out.with_name("whole.tif"), model)
    disturb(interrupted(scene, out, model))
    report = translated(scene, out, model)
    assert (report.strips_resumed, report.sha256) == (0, whole.sha256)
    assert "its state is damaged or of another run" in caplog.text


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)


def tear(path):
    path.write_bytes(path.read_bytes()[:-100])


def empty(path):
    path.write_bytes(b"")


def swap(path):
    shutil.copy(path.with_name("strip-00000-00001.part"), path)


@pytest.mark.parametrize("disturb", [flip, tear, empty, swap])
def test_a_damaged_part_is_made_again_with_a_warning(scene, out, model, disturb, caplog):
    whole = translated(scene, out.with_name("whole.tif"), model)
    folder = interrupted(scene, out, model, strips=3)
    disturb(sorted(folder.glob("strip-*.part"))[1])
    report = translated(scene, out, model)
    assert (report.strips_resumed, report.sha256) == (2, whole.sha256)
    assert "the strip is made again" in caplog.text


def test_a_scene_that_changes_while_it_is_read_fails_the_run(scene, out, model):
    def touch(progress):
        if progress.done < progress.total:
            os.utime(scene, ns=(1, 10**18))

    with pytest.raises(SceneError, match=r"was changed while it was read: .* was written again"):
        translated(scene, out, model, on_progress=touch)
    assert list(out.parent.iterdir()) == []


def test_the_same_command_has_nothing_to_do_when_asked_to_skip(scene, out, model):
    translated(scene, out, model)
    with pytest.raises(NothingToDoError, match="is there already"):
        translated(scene, out, model, skip_existing=True)
    with pytest.raises(OutputError, match="exists, of another blend"):
        translated(scene, out, model, skip_existing=True, blend="cut")
    translated(scene, out, model, skip_existing=True, blend="cut", overwrite=True)


def test_a_map_that_is_older_than_its_scene_is_made_again(scene, out, model):
    first = translated(scene, out, model)
    os.utime(scene)
    again = translated(scene, out, model, skip_existing=True, overwrite=True)
    assert again.sha256 == first.sha256
    assert again.tiles > 0


def test_a_source_of_a_nested_vrt_that_was_written_again_is_another_scene(scene, out, model):
    from rasterio.shutil import copy

    inner, outer = scene.with_name("inner.xml"), scene.with_name("outer.vrt")
    copy(scene, inner, driver="VRT")
    copy(inner, outer, driver="VRT")
    interrupted(outer, out, model)
    os.utime(scene, ns=(1, 10**18))
    assert translated(outer, out, model).strips_resumed == 0


def test_a_source_of_the_scene_is_never_written_over(scene, model):
    from rasterio.shutil import copy

    virtual = scene.with_name("scene.vrt")
    copy(scene, virtual, driver="VRT")
    before = scene.read_bytes()
    with pytest.raises(OutputError, match="the scene is made of this file"):
        translated(virtual, scene, model, overwrite=True)
    assert scene.read_bytes() == before


def test_the_folder_of_the_scene_is_never_touched(scene, out, model):
    folder = scene.parent
    write_scene(folder / "scene.tif.msk", np.full((1, 700, 300), 255, np.uint8))
    state = [(path.name, path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()]
    times = folder.stat().st_mtime_ns
    translated(scene, out, model, stretch="auto", preview=out.with_name("preview.png"))
    after = [(path.name, path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()]
    assert (after, folder.stat().st_mtime_ns) == (state, times)


def test_a_scene_that_is_too_wide_for_the_memory_is_refused(scene, out, model, run_cli):
    band = (
        '<VRTRasterBand dataType="Byte" band="{0}"><SimpleSource>'
        f"<SourceFilename>{scene}</SourceFilename><SourceBand>{{0}}</SourceBand>"
        '<SrcRect xOff="0" yOff="0" xSize="300" ySize="300"/>'
        '<DstRect xOff="0" yOff="0" xSize="100000000" ySize="300"/>'
        "</SimpleSource></VRTRasterBand>"
    )
    bands = "".join(band.format(number) for number in (1, 2, 3))
    wide = scene.with_name("wide.vrt")
    wide.write_text(f'<VRTDataset rasterXSize="100000000" rasterYSize="300">{bands}</VRTDataset>')
    lifted = ("--no-space-check", "--max-pixels", 10**11)
    status, _, said = run_cli("translate", wide, "--out", out, "-m", model, *lifted)
    assert (status, said.count("\n")) == (7, 1)
    assert "a strip of 100000000 columns takes about" in said


def test_a_picture_is_not_taken_for_the_same_map(scene, out, model):
    told = "PNG or JPEG does not say what it was made of.*--overwrite makes it anew, or write .tif"
    picture = out.with_name("scene.png")
    translated(scene, picture, model)
    out.with_name("scene.jpg").touch()
    for name in ("scene.png", "scene.jpg"):
        with pytest.raises(OutputError, match=told):
            translated(scene, out.with_name(name), model, skip_existing=True)
    (outcome,) = geop2p.translate_many([scene], out.parent, model=model, format="PNG")
    assert "does not say what it was made of" in str(outcome.error)
    assert translated(scene, picture, model, skip_existing=True, overwrite=True).tiles > 0


def test_a_raster_without_tags_is_not_taken_for_a_map(scene, out, model):
    shutil.copy(scene, out)
    told = "exists, and does not say what it was made of .*--overwrite --skip-existing"
    with pytest.raises(OutputError, match=told):
        translated(scene, out, model, skip_existing=True)


def test_every_tag_of_provenance_has_its_words():
    sources = Path(preflight.__file__).parent.glob("*.py")
    names = {name for path in sources for name in re.findall(r'"(GEOP2P_\w+)"', path.read_text())}
    assert names - set(PROOF_TAGS) == preflight.TAG_WORDS.keys() - {"TIFFTAG_SOFTWARE"}


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_folder_in_place_of_the_map_is_told_of_the_other_option(scene, out, run_cli, slash):
    status, _, said = run_cli("translate", scene, "--out", f"{out.parent}{slash}")
    assert (status, said.count("\n")) == (5, 1)
    assert "is a folder (give a file, or --out-dir for several scenes)" in said
