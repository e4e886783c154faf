"""A finished map is verified against its own tags and its scene; every kind of damage is seen."""

import shutil

import numpy as np
import pytest
from affine import Affine
from scenes import GRID, landscape, open_raster, random_model, write_scene

import geop2p
from geop2p.errors import SceneError, VerificationError
from geop2p.pipelines.check import check
from geop2p.raster.checking import compare_with_scene
from geop2p.raster.scene import SceneSource


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("check")
    valid = np.ones((1400, 700), bool)
    valid[:300, :200] = False
    scene = write_scene(folder / "scene.tif", landscape(3, 1400, 700), valid=valid)
    model = random_model(folder / "model.safetensors")
    geop2p.translate(scene, folder / "map.tif", model=model)
    return scene, folder / "map.tif", model


@pytest.fixture
def copy(made, tmp_path):
    return shutil.copy(made[1], tmp_path / "map.tif")


def test_a_map_is_good_with_and_without_its_scene(made):
    scene, path, _ = made
    report = check(path, scene=scene)
    assert (report.height, report.width, report.bands, report.format) == (1400, 700, 3, "COG")
    assert report.checksum == check(path).checksum


def edited(path):
    return open_raster(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES")


@pytest.mark.parametrize(
    "options", [{"COMPRESS": "LERC", "MAX_Z_ERROR": "1"}, {"COMPRESS": "ZSTD"}]
)
def test_other_codecs_are_good(made, tmp_path, options):
    scene, _, model = made
    geop2p.translate(scene, tmp_path / "map.tif", model=model, creation_options=options)
    report = check(tmp_path / "map.tif", scene=scene)
    assert (report.checksum is None) == (options["COMPRESS"] == "LERC")


@pytest.mark.parametrize(("name", "form"), [("map.tif", "GTiff"), ("map.png", "PNG")])
def test_other_formats_are_good(made, tmp_path, name, form):
    scene, _, model = made
    geop2p.translate(scene, tmp_path / name, model=model, format=form)
    assert check(tmp_path / name, scene=scene).format == form


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.9])
def test_a_flipped_byte_among_the_blocks_is_seen(copy, share):
    content = bytearray(copy.read_bytes())
    content[int(len(content) * share)] ^= 0x10
    copy.write_bytes(content)
    with pytest.raises(VerificationError):
        check(copy)


def test_a_truncated_map_is_seen(copy):
    copy.write_bytes(copy.read_bytes()[:-5000])
    with pytest.raises(VerificationError, match="does not decode"):
        check(copy)


def test_a_pixel_painted_over_is_seen(copy):
    with edited(copy) as dataset:
        pixels = dataset.read()
        pixels[0, 500, 500] ^= 1
        dataset.write(pixels)
    with pytest.raises(VerificationError, match="its tag says"):
        check(copy)


@pytest.mark.parametrize("change", ["moved", "masked", "smaller"])
def test_a_map_that_does_not_lie_on_its_scene_is_seen(made, tmp_path, change):
    height = 1300 if change == "smaller" else 1400
    valid = np.ones((height, 700), bool)
    valid[:300, : 210 if change == "masked" else 200] = False
    grid = GRID @ Affine.translation(1, 0) if change == "moved" else GRID
    pixels = landscape(3, height, 700)
    other = write_scene(tmp_path / "scene.tif", pixels, valid=valid, transform=grid)
    with pytest.raises(VerificationError, match=r"transform|masked otherwise|height"):
        compare_with_scene(made[1], SceneSource(path=str(other)))


def test_of_a_picture_it_is_told_that_it_was_only_decoded(tmp_path, run_cli):
    write_scene(tmp_path / "map.png", landscape(3, 60, 70), driver="PNG", crs=None, transform=None)
    status, said, _ = run_cli("check", tmp_path / "map.png")
    assert status == 0
    assert "every pixel decodes; a picture has no tags, so nothing else was checked" in said


@pytest.mark.parametrize(("name", "said"), [("m.png", "size and mask"), ("m.jpg", "size")])
def test_a_picture_is_compared_with_its_scene_as_far_as_it_goes(tmp_path, run_cli, name, said):
    scene = write_scene(tmp_path / "scene.tif", landscape(3, 300, 200))
    geop2p.translate(scene, tmp_path / name, generator=lambda tiles: tiles)
    status, told, _ = run_cli("check", tmp_path / name, "--scene", scene)
    assert status == 0
    assert f"a picture has no tags to check: 200 x 300, 3 bands, of the {said} of {scene}" in told


def test_one_band_is_not_bands(tmp_path, run_cli):
    write_scene(tmp_path / "map.png", landscape(1, 60, 70), driver="PNG", crs=None, transform=None)
    said = run_cli("check", tmp_path / "map.png")[1]
    assert "70 x 60, 1 band" in said
    assert "1 bands" not in said


def test_another_scene_is_seen(made, copy, tmp_path):
    other = write_scene(tmp_path / "other.tif", landscape(3, 1400, 700, seed=5))
    with pytest.raises(VerificationError, match="was made of another file"):
        check(copy, scene=other)


def test_a_lost_tag_is_seen(copy):
    with edited(copy) as dataset:
        dataset.update_tags(GEOP2P_MODEL="")
    with pytest.raises(VerificationError, match="has no tag GEOP2P_MODEL"):
        check(copy)


def test_a_map_that_was_edited_is_no_cog_any_more(copy, run_cli):
    with edited(copy) as dataset:
        dataset.update_tags(NOTE="x" * 5000)
    status, _, said = run_cli("check", copy)
    assert status == 9
    assert "is no valid Cloud-Optimised GeoTIFF" in said


@pytest.mark.parametrize(
    ("content", "status", "found"),
    [
        (b"no raster", 3, "is no map: a text of 9 bytes"),
        (b'{"a": 1}', 3, "is no map: a JSON text"),
        (b"<PAMDataset>\n</PAMDataset>\n", 3, "is no map: an XML file"),
        (bytes(5000), 9, "does not decode"),
        (b"II*\0" + bytes(5000), 9, "does not decode"),
        (b"J" + bytes(range(256)), 9, "does not decode"),
    ],
)
def test_what_was_never_a_map_has_status_3_and_a_damaged_one_9(
    tmp_path, run_cli, content, status, found
):
    (tmp_path / "map.tif").write_bytes(content)
    ended, _, said = run_cli("check", tmp_path / "map.tif")
    assert (ended, said.count("\n")) == (status, 1)
    assert found in said


def test_what_is_missing_has_status_3(tmp_path):
    with pytest.raises(SceneError, match="no such file"):
        check(tmp_path / "none.tif")
