"""Masks, colours and types of every form come through a translation as they were."""

import warnings

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp as Colour
from scenes import identity, noise, open_raster, random_model, read_raster, write_scene

import geop2p
from geop2p.errors import SceneError
from geop2p.raster.scene import SceneSource, open_scene, open_source

SIZE = (70, 90)


@pytest.fixture(scope="module")
def rgb_model(tmp_path_factory):
    return random_model(tmp_path_factory.mktemp("model") / "rgb.safetensors")


@pytest.fixture(scope="module")
def grey_model(tmp_path_factory):
    return random_model(tmp_path_factory.mktemp("model") / "grey.safetensors", in_bands=1)


def wedge():
    rows, cols = np.mgrid[0 : SIZE[0], 0 : SIZE[1]]
    return rows + cols > 60


def differences(scene, out, *, bands=None):
    """Translate by the identity; return what is another in the map, as rasterio reads both."""
    geop2p.translate(scene, out, generator=identity)
    pixels, valid = read_raster(scene)
    found, found_valid = read_raster(out)
    chosen = pixels if bands is None else pixels[[band - 1 for band in bands]]
    is_kept = {
        "mask": np.array_equal(found_valid, valid),
        "valid pixels": np.array_equal(found[:, valid], chosen[:, valid]),
        "a mask of some pixels, not all": 0 < np.count_nonzero(valid) < valid.size,
    }
    return [name for name, is_so in is_kept.items() if not is_so]


def with_nodata(bands=3, dtype="uint8", nodata=0):
    pixels = np.maximum(noise(bands, *SIZE, dtype=dtype), 1)
    pixels[:, ~wedge()] = nodata
    return pixels


@pytest.mark.parametrize(("dtype", "nodata"), [("uint8", 0), ("uint16", 65535), ("int16", -32768)])
def test_a_nodata_value(tmp_path, dtype, nodata):
    pixels = with_nodata(dtype=dtype, nodata=nodata)
    scene = write_scene(tmp_path / "scene.tif", pixels, nodata=nodata)
    assert differences(scene, tmp_path / "map.tif") == []


@pytest.mark.parametrize("nodata", [np.nan, -9999.0, -3.4028234663852886e38])
def test_a_nodata_value_of_floats(tmp_path, nodata):
    pixels = with_nodata(1, "float32", nodata)
    scene = write_scene(tmp_path / "scene.tif", pixels, nodata=nodata)
    geop2p.translate(scene, tmp_path / "map.tif", generator=identity, stretch="-100,200")
    assert np.array_equal(read_raster(tmp_path / "map.tif")[1], wedge())


def declare_nodata(path, text):
    """Write a nodata value that rasterio would refuse to write, by GDAL's own tag."""
    source = path.with_suffix(".vrt")
    with open_raster(path) as dataset:
        bands = "".join(
            f'<VRTRasterBand dataType="Byte" band="{i}"><NoDataValue>{text}</NoDataValue>'
            f'<SimpleSource><SourceFilename relativeToVRT="1">{path.name}</SourceFilename>'
            f"<SourceBand>{i}</SourceBand></SimpleSource></VRTRasterBand>"
            for i in range(1, dataset.count + 1)
        )
        size = f'rasterXSize="{dataset.width}" rasterYSize="{dataset.height}"'
    source.write_text(f"<VRTDataset {size}>{bands}</VRTDataset>")
    return source


@pytest.mark.parametrize("text", ["-9999", "nan", "1e40", "0.5", "-9223372036854775808"])
def test_a_nodata_value_out_of_the_types_range_masks_nothing(tmp_path, text):
    pixels = noise(3, *SIZE)
    scene = declare_nodata(write_scene(tmp_path / "scene.tif", pixels), text)
    report = geop2p.translate(scene, tmp_path / "map.tif", generator=identity)
    found, valid = read_raster(tmp_path / "map.tif")
    assert np.array_equal(valid, read_raster(scene)[1])
    assert np.array_equal(found, pixels)
    assert report.pixels_invalid == 0


def test_bands_of_different_nodata_values(tmp_path):
    pixels = noise(3, *SIZE)
    pixels[:, ~wedge()] = np.array([[7], [8], [9]])
    path = write_scene(tmp_path / "scene.tif", pixels)
    vrt = declare_nodata(path, "7")
    text = vrt.read_text()
    for band, value in ((2, 8), (3, 9)):
        head = f'band="{band}"><NoDataValue>'
        text = text.replace(f"{head}7<", f"{head}{value}<")
    vrt.write_text(text)
    assert differences(vrt, tmp_path / "map.tif") == []


def test_alpha_also_partly_transparent(tmp_path):
    pixels = noise(4, *SIZE)
    pixels[3] = np.where(wedge(), np.maximum(pixels[3], 1), 0)
    scene = write_scene(tmp_path / "scene.tif", pixels, photometric="RGB", alpha="YES")
    assert differences(scene, tmp_path / "map.tif", bands=(1, 2, 3)) == []


def test_grey_and_alpha(tmp_path):
    pixels = np.stack([noise(1, *SIZE)[0], np.where(wedge(), 255, 0).astype(np.uint8)])
    scene = write_scene(tmp_path / "scene.tif", pixels, alpha="YES")
    assert differences(scene, tmp_path / "map.tif", bands=(1,)) == []


@pytest.mark.parametrize("is_internal", [True, False], ids=["internal", "msk"])
def test_a_mask_band(tmp_path, is_internal):
    scene = tmp_path / "scene.tif"
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=is_internal):
        write_scene(scene, noise(3, *SIZE))
        with open_raster(scene, "r+") as dataset:
            dataset.write_mask(wedge())
    assert is_internal != (tmp_path / "scene.tif.msk").exists()
    assert differences(scene, tmp_path / "map.tif") == []


@pytest.mark.parametrize("option", [{"nodata": 0}, {"valid": np.zeros(SIZE, bool)}], ids=str)
def test_all_masked(tmp_path, caplog, option):
    scene = write_scene(tmp_path / "scene.tif", np.zeros((3, *SIZE), np.uint8), **option)
    report = geop2p.translate(scene, tmp_path / "map.tif", generator=identity)
    assert report.pixels_invalid == SIZE[0] * SIZE[1]
    assert not read_raster(tmp_path / "map.tif")[1].any()
    assert "no pixel is valid" in caplog.text


def test_not_finite_floats_are_masked_and_warn_of_nothing(tmp_path):
    pixels = noise(2, *SIZE, dtype="float32")
    pixels[0, 3], pixels[1, 5], pixels[:, 7], pixels[0, 9] = np.nan, np.inf, -np.inf, 1e38
    scene = write_scene(tmp_path / "scene.tif", pixels)
    geop2p.translate(scene, tmp_path / "map.tif", generator=identity, stretch="auto")
    found, valid = read_raster(tmp_path / "map.tif")
    assert np.array_equal(valid, np.isfinite(pixels).all(axis=0))
    assert np.isfinite(found).all()


@pytest.mark.parametrize("rule", ["any", "all"])
@pytest.mark.parametrize("src_nodata", [None, 7.0, "none"])
def test_rules_and_nodata_of_the_user_keep_alpha(tmp_path, rule, src_nodata):
    pixels = np.stack([*np.full((3, 2, 4), 9, np.uint8), np.full((2, 4), 255, np.uint8)])
    pixels[0, 0, 1], pixels[:3, 0, 2], pixels[3, 0, 3] = 7, 7, 0
    scene = write_scene(tmp_path / "scene.tif", pixels, photometric="RGB", alpha="YES")
    source = SceneSource(path=str(scene), src_nodata=src_nodata, mask_rule=rule)
    with open_source(source) as opened:
        valid = opened.read(rows=(0, 2))[1]
    by_value = src_nodata == 7.0
    expected = [True, not (by_value and rule == "all"), not by_value, False]
    assert valid[0].tolist() == expected
    assert valid[1].all()


@pytest.mark.parametrize("value", [np.nan, -9999.0, 300.0, 0.5])
def test_a_nodata_value_that_cannot_occur_is_said(tmp_path, caplog, value):
    scene = write_scene(tmp_path / "scene.tif", noise(3, *SIZE), nodata=0)
    report = geop2p.translate(scene, tmp_path / "m.tif", generator=identity, src_nodata=value)
    assert report.pixels_invalid == 0
    assert [r.getMessage() for r in caplog.records if "masks nothing" in r.getMessage()]


def test_blue_green_red_alpha_is_not_red_green_blue(tmp_path):
    pixels = noise(4, *SIZE)
    pixels[3] = 255 * wedge()
    scene = write_scene(tmp_path / "scene.tif", pixels)
    with open_raster(scene, "r+") as dataset:
        dataset.colorinterp = [Colour.blue, Colour.green, Colour.red, Colour.alpha]
    assert differences(scene, tmp_path / "map.tif", bands=(3, 2, 1)) == []


def test_bands_of_unknown_colours_go_in_file_order(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", noise(3, *SIZE), photometric="MINISBLACK")
    with open_scene(scene) as opened:
        assert opened.spec.bands == (1, 2, 3)


def paletted(path, *, dtype="uint8", entries=None, **profile):
    indexes = noise(1, *SIZE) % 4
    scene = write_scene(path, indexes.astype(dtype), photometric="PALETTE", **profile)
    colours = entries or {0: (10, 20, 30), 1: (40, 50, 60), 2: (255, 0, 7), 3: (1, 2, 3)}
    with open_raster(scene, "r+") as dataset:
        dataset.write_colormap(1, colours)
    table = np.array([colours[i][:3] for i in range(4)], np.uint8)
    return scene, indexes[0], np.moveaxis(table[indexes[0]], -1, 0)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_palette_is_expanded(tmp_path, rgb_model, dtype):
    scene, _, colours = paletted(tmp_path / "scene.tif", dtype=dtype)
    geop2p.translate(scene, tmp_path / "map.tif", generator=identity)
    assert np.array_equal(read_raster(tmp_path / "map.tif")[0], colours)
    plain = write_scene(tmp_path / "plain.tif", colours)
    for name, path in (("a", scene), ("b", plain)):
        geop2p.translate(path, tmp_path / f"{name}.tif", model=rgb_model)
    assert np.array_equal(read_raster(tmp_path / "a.tif")[0], read_raster(tmp_path / "b.tif")[0])


def test_a_palettes_indexes_feed_one_band_and_bidx(tmp_path, grey_model):
    scene, indexes, _ = paletted(tmp_path / "scene.tif")
    geop2p.translate(scene, tmp_path / "map.tif", generator=identity, bidx=(1,))
    assert np.array_equal(read_raster(tmp_path / "map.tif")[0][0], indexes)
    plain = write_scene(tmp_path / "plain.tif", indexes[None])
    for name, path in (("a", scene), ("b", plain)):
        geop2p.translate(path, tmp_path / f"{name}.tif", model=grey_model)
    assert np.array_equal(read_raster(tmp_path / "a.tif")[0], read_raster(tmp_path / "b.tif")[0])


def test_a_palettes_nodata_index_stays_masked(tmp_path):
    scene, indexes, _ = paletted(tmp_path / "scene.tif", nodata=2)
    geop2p.translate(scene, tmp_path / "map.tif", generator=identity)
    assert np.array_equal(read_raster(tmp_path / "map.tif")[1], indexes != 2)


def test_a_transparent_entry_of_a_palette_is_masked(tmp_path):
    entries = {0: (1, 1, 1, 0), 1: (2, 2, 2, 128), 2: (3, 3, 3, 0), 3: (4, 4, 4, 255)}
    indexes = noise(1, *SIZE) % 4
    profile = {"driver": "PNG", "crs": None, "transform": None}
    scene = write_scene(tmp_path / "plain.png", indexes, **profile)
    with open_raster(scene, "r+") as dataset:
        dataset.write_colormap(1, entries)
    with open_source(SceneSource(path=str(scene), is_expanded=True)) as opened:
        assert np.array_equal(opened.read(rows=(0, SIZE[0]))[1], indexes[0] % 2 == 1)


def test_inks_are_no_alpha_and_become_colours(tmp_path):
    pixels = noise(4, *SIZE)
    pixels[:, 0, 0], pixels[:, 0, 1], pixels[:, 0, 2] = (0, 0, 0, 0), (255, 0, 0, 0), (0, 0, 0, 255)
    scene = write_scene(tmp_path / "scene.tif", pixels, photometric="CMYK")
    geop2p.translate(scene, tmp_path / "map.tif", generator=identity)
    found, valid = read_raster(tmp_path / "map.tif")
    assert found[:, 0, :3].T.tolist() == [[255, 255, 255], [0, 255, 255], [0, 0, 0]]
    light = 255 - pixels.astype(float)
    assert np.abs(found - light[:3] * light[3] / 255).max() < 1
    assert valid.all()


def test_inks_of_16_bits_become_colours(tmp_path):
    pixels = noise(4, *SIZE, dtype="uint16")
    scene = write_scene(tmp_path / "scene.tif", pixels)
    with open_raster(scene, "r+") as dataset:
        dataset.colorinterp = [Colour.cyan, Colour.magenta, Colour.yellow, Colour.black]
    geop2p.translate(scene, tmp_path / "map.tif", generator=identity)
    light = 65535.0 - pixels
    found = read_raster(tmp_path / "map.tif")[0]
    assert np.abs(found - light[:3] * light[3] / 65535).max() <= 0.51


def test_jpeg_in_tiff_is_read_as_red_green_blue(tmp_path):
    pixels = np.stack([np.full(SIZE, value, np.uint8) for value in (200, 100, 30)])
    profile = {"compress": "JPEG", "photometric": "YCBCR", "interleave": "pixel"}
    scene = write_scene(tmp_path / "scene.tif", pixels, **profile)
    geop2p.translate(scene, tmp_path / "map.tif", generator=identity)
    found = read_raster(tmp_path / "map.tif")[0].astype(int)
    assert np.abs(found - pixels).max() <= 3


def test_luma_and_chroma_become_colours(tmp_path):
    pixels = np.array([[[76, 150, 29, 255]], [[85, 44, 255, 128]], [[255, 21, 107, 128]]], np.uint8)
    scene = write_scene(tmp_path / "scene.tif", pixels)
    with open_raster(scene, "r+") as dataset:
        dataset.colorinterp = [Colour.Y, Colour.Cb, Colour.Cr]
    with open_source(SceneSource(path=str(scene), is_expanded=True)) as opened:
        found = opened.read(rows=(0, 1))[0][:, 0].astype(int).T
    assert np.abs(found - np.vstack([255 * np.eye(3), [[255] * 3]])).max() <= 2


@pytest.mark.parametrize("bits", [1, 2, 4, 10, 12])
def test_few_bits_use_their_true_range(tmp_path, grey_model, bits):
    dtype = "uint8" if bits <= 8 else "uint16"
    pixels = (noise(1, *SIZE, dtype="uint16") >> (16 - bits)).astype(dtype)
    scene = write_scene(tmp_path / "scene.tif", pixels, nbits=bits)
    report = geop2p.translate(scene, tmp_path / "map.tif", model=grey_model)
    assert report.stretch == f"0,{2**bits - 1}"
    geop2p.translate(scene, tmp_path / "same.tif", generator=identity)
    assert np.array_equal(read_raster(tmp_path / "same.tif")[0], pixels)


@pytest.mark.parametrize("dtype", ["int8", "uint32", "int32", "uint64", "int64", "float64"])
def test_every_type_feeds_a_model_and_the_identity(tmp_path, rgb_model, dtype):
    pixels = (noise(3, *SIZE) // 2).astype(dtype)
    scene = write_scene(tmp_path / "scene.tif", pixels)
    report = geop2p.translate(scene, tmp_path / "map.tif", model=rgb_model)
    assert report.bands == 3
    geop2p.translate(scene, tmp_path / "same.tif", generator=identity)
    found = read_raster(tmp_path / "same.tif")[0]
    assert found.dtype == dtype
    assert np.abs(found.astype(float) - pixels).max() < 1e-3


def test_half_floats_are_read(tmp_path, rgb_model):
    scene = write_scene(tmp_path / "scene.tif", noise(3, *SIZE, dtype="float32"), nbits=16)
    assert geop2p.translate(scene, tmp_path / "map.tif", model=rgb_model).bands == 3


@pytest.mark.parametrize("value", [0, 7, 255])
@pytest.mark.parametrize("stretch", [None, "auto"])
def test_a_constant_scene_stays_constant(tmp_path, value, stretch):
    scene = write_scene(tmp_path / "scene.tif", np.full((3, *SIZE), value, np.uint8))
    geop2p.translate(scene, tmp_path / "map.tif", generator=identity, stretch=stretch)
    assert np.unique(read_raster(tmp_path / "map.tif")[0]).tolist() == [value]


def test_complex_bands_and_bands_of_several_types_name_the_option(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", np.ones((1, 4, 4), np.complex64))
    with pytest.raises(SceneError, match=r"complex64.*--bidx"):
        geop2p.translate(scene, tmp_path / "map.tif", generator=identity)
    pixels = noise(2, *SIZE)
    vrt = declare_nodata(write_scene(tmp_path / "mixed.tif", pixels), "0")
    vrt.write_text(vrt.read_text().replace('"Byte" band="2"', '"Float32" band="2"'))
    with pytest.raises(SceneError, match=r"different types.*--bidx"):
        geop2p.translate(vrt, tmp_path / "map.tif", generator=identity)
    geop2p.translate(vrt, tmp_path / "map.tif", generator=identity, bidx=(1,))
    assert np.array_equal(read_raster(tmp_path / "map.tif")[0][0], pixels[0])


def test_scale_and_offset_leave_native_values(tmp_path):
    pixels = noise(1, *SIZE)
    scene = write_scene(tmp_path / "scene.tif", pixels)
    with open_raster(scene, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.1,), (5.0,)
    geop2p.translate(scene, tmp_path / "map.tif", generator=identity)
    assert np.array_equal(read_raster(tmp_path / "map.tif")[0], pixels)


@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_three_of_many_bands(tmp_path, interleave):
    pixels = noise(40, *SIZE)
    scene = write_scene(tmp_path / "scene.tif", pixels, interleave=interleave)
    geop2p.translate(scene, tmp_path / "map.tif", generator=identity, bidx=(31, 2, 40))
    assert np.array_equal(read_raster(tmp_path / "map.tif")[0], pixels[[30, 1, 39]])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "int64"])
def test_previews_show_every_type(tmp_path, dtype):
    pixels = np.maximum(noise(1, *SIZE, dtype="uint8"), 1).astype(dtype)
    pixels[0, :9] = 0
    scene = write_scene(tmp_path / "scene.tif", pixels, nodata=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        geop2p.translate(
            scene, tmp_path / "map.tif", generator=identity, preview=tmp_path / "p.png"
        )
    assert (tmp_path / "p.png").stat().st_size > 0


def test_a_smaller_picture_of_a_map_has_no_dark_specks_along_its_mask(tmp_path):
    pixels = np.full((3, 1500, 1500), 200, np.uint8)
    pixels[:, np.add.outer(np.arange(1500), 3 * np.arange(1500)) < 2000] = 0
    scene = write_scene(tmp_path / "scene.tif", pixels, nodata=0)
    geop2p.translate(scene, tmp_path / "map.tif", generator=identity)
    with open_source(SceneSource(path=str(tmp_path / "map.tif"))) as drawn:
        shown, valid = drawn.thumbnail(900)
    assert 0 < (~valid).sum() < valid.sum()
    assert (shown[:, valid] > 190).all()
