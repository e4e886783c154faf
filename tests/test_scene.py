"""Scenes of every layout are read alike; what cannot be read is named."""

import numpy as np
import pytest
from rasterio.enums import ColorInterp
from scenes import noise, open_raster, write_scene

from geop2p.errors import OptionError, SceneError
from geop2p.raster.scene import OrderedRows, describe, open_scene

LAYOUTS = {
    "tiled": {"tiled": True, "blockxsize": 64, "blockysize": 64},
    "striped": {"blockysize": 3},
    "one block": {"blockysize": 200},
    "planar": {"interleave": "band"},
    "pixel interleaved": {"interleave": "pixel", "compress": "deflate"},
    "bigtiff": {"BIGTIFF": "YES"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_window(tmp_path, layout):
    pixels = noise(3, 200, 170)
    path = write_scene(tmp_path / "scene.tif", pixels, **LAYOUTS[layout])
    with open_scene(path) as scene:
        found, valid = scene.read(rows=(31, 140), cols=(5, 90))
    assert np.array_equal(found, pixels[:, 31:140, 5:90])
    assert valid.all()


def test_overviews_are_not_what_is_read(tmp_path):
    pixels = noise(1, 300, 300)
    path = write_scene(tmp_path / "scene.tif", pixels)
    with open_raster(path, "r+") as dataset:
        dataset.build_overviews([2, 4])
    with open_scene(path) as scene:
        assert np.array_equal(scene.read(rows=(0, 300))[0], pixels)


def test_nodata_is_invalid_only_where_all_bands_have_it(tmp_path):
    pixels = np.ones((2, 4, 4), np.uint8)
    pixels[0, 0] = 0
    pixels[:, 1] = 0
    path = write_scene(tmp_path / "scene.tif", pixels, nodata=0)
    with open_scene(path) as scene:
        assert scene.read(rows=(0, 4))[1][:, 0].tolist() == [True, False, True, True]
    with open_scene(path, mask_rule="all") as scene:
        assert scene.read(rows=(0, 4))[1][:, 0].tolist() == [False, False, True, True]


def test_the_nodata_value_can_be_replaced_or_ignored(tmp_path):
    pixels = np.array([[[0, 7, 9]]], np.uint8)
    path = write_scene(tmp_path / "scene.tif", pixels, nodata=0)
    for src_nodata, expected in ((7.0, [True, False, True]), ("none", [True, True, True])):
        with open_scene(path, src_nodata=src_nodata) as scene:
            assert scene.read(rows=(0, 1))[1][0].tolist() == expected


def test_alpha_is_a_mask_and_no_band(tmp_path):
    pixels = noise(4, 20, 20)
    pixels[3] = 255
    pixels[3, :5] = 0
    path = write_scene(tmp_path / "scene.tif", pixels, photometric="RGB", alpha="YES")
    with open_scene(path) as scene:
        assert scene.spec.bands == (1, 2, 3)
        assert scene.read(rows=(0, 20))[1].sum(axis=1).tolist() == [0] * 5 + [20] * 15


def test_nan_and_infinity_are_invalid(tmp_path):
    pixels = np.array([[[1.0, np.nan, np.inf, 2.0]]], np.float32)
    path = write_scene(tmp_path / "scene.tif", pixels)
    with open_scene(path) as scene:
        assert scene.read(rows=(0, 1))[1][0].tolist() == [True, False, False, True]


def test_colours_come_in_the_order_red_green_blue(tmp_path):
    path = write_scene(tmp_path / "scene.tif", noise(4, 8, 8))
    with open_raster(path, "r+") as dataset:
        dataset.colorinterp = [
            ColorInterp.blue,
            ColorInterp.green,
            ColorInterp.red,
            ColorInterp.undefined,
        ]
    with open_scene(path) as scene:
        assert scene.spec.bands == (3, 2, 1, 4)


def test_bands_are_read_in_the_order_asked_for(tmp_path):
    pixels = noise(4, 8, 8)
    path = write_scene(tmp_path / "scene.tif", pixels)
    with open_scene(path, bands=(4, 2, 2)) as scene:
        assert np.array_equal(scene.read(rows=(0, 8))[0], pixels[[3, 1, 1]])
    with (
        pytest.raises(OptionError, match="band 5 was asked for, the file has 4"),
        open_scene(path, bands=(5,)),
    ):
        pass


def test_rows_in_order_are_decoded_once_and_equal_windows(tmp_path):
    pixels = noise(3, 300, 50)
    write_scene(tmp_path / "scene.png", pixels, driver="PNG", crs=None, transform=None)
    with open_scene(tmp_path / "scene.png") as scene:
        assert scene.spec.is_sequential
        ordered = OrderedRows(scene)
        for lo, hi in ((0, 100), (60, 200), (190, 300), (10, 20), (250, 300)):
            found, valid = ordered.read(rows=(lo, hi))
            assert np.array_equal(found, pixels[:, lo:hi])
            assert valid.shape == (hi - lo, 50)


def test_reading_leaves_the_folder_as_it_was(tmp_path):
    path = write_scene(tmp_path / "scene.tif", noise(3, 100, 100))
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    with open_scene(path) as scene:
        scene.read(rows=(0, 100))
    describe(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["scene.tif"]
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


@pytest.mark.parametrize(
    ("name", "content", "finding"),
    [
        ("missing.tif", None, "no such file"),
        ("empty.tif", b"", "an empty file"),
        ("text.tif", b"dear reader", "a text of 11 bytes"),
    ],
)
def test_what_is_no_raster_is_named(tmp_path, name, content, finding):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SceneError, match=f"{name}: {finding}"), open_scene(tmp_path / name):
        pass


def test_a_folder_is_no_scene(tmp_path):
    with pytest.raises(SceneError, match="a folder"), open_scene(tmp_path):
        pass


def test_complex_values_are_refused(tmp_path):
    path = write_scene(tmp_path / "scene.tif", np.ones((1, 4, 4), np.complex64))
    with pytest.raises(SceneError, match="values of type complex64"), open_scene(path):
        pass


def test_a_truncated_file_is_said_to_be_incomplete(tmp_path):
    path = write_scene(tmp_path / "scene.tif", noise(3, 400, 400), compress="deflate")
    path.write_bytes(path.read_bytes()[:200_000])
    with (
        pytest.raises(SceneError, match=r"rows 0 to 399 cannot be read.*is the file complete"),
        open_scene(path) as scene,
    ):
        scene.read(rows=(0, 400))
