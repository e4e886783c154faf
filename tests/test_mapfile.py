"""The map keeps the scene's georeference and mask, and appears whole or not at all."""

import numpy as np
import pytest
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.rpc import RPC
from scenes import GRID, identity, landscape, noise, open_raster, read_raster, write_scene

import geop2p
from geop2p.errors import OptionError, OutputError, SceneError

LOCAL = CRS.from_wkt(
    'LOCAL_CS["site grid",UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
)
GEOREFERENCES = {
    "none": {"crs": None, "transform": Affine.identity()},
    "utm": {},
    "rotated": {"transform": GRID @ Affine.rotation(30)},
    "south up": {"transform": Affine(2, 0, 5e5, 0, 2, 5e6)},
    "degrees": {"crs": CRS.from_epsg(4326), "transform": Affine(1e-5, 0, 12.3, 0, -1e-5, 45.6)},
    "local": {"crs": LOCAL},
    "transform without crs": {"crs": None},
}


def translated(scene, out, **options):
    return geop2p.translate(scene, out, generator=identity, **options)


@pytest.mark.parametrize("name", GEOREFERENCES)
@pytest.mark.parametrize("driver", ["COG", "GTiff"])
def test_the_georeference_is_kept_exactly(tmp_path, name, driver):
    scene = write_scene(tmp_path / "scene.tif", noise(3, 60, 70), **GEOREFERENCES[name])
    translated(scene, tmp_path / "map.tif", format=driver)
    with open_raster(scene) as before, open_raster(tmp_path / "map.tif") as after:
        assert after.crs == before.crs
        assert after.transform == before.transform
        assert after.shape == before.shape


@pytest.mark.parametrize("driver", ["COG", "GTiff"])
def test_ground_control_points_are_kept_with_their_crs(tmp_path, driver):
    points = [
        GroundControlPoint(row=r, col=c, x=12 + c / 1e4, y=45 - r / 1e4, z=3.0)
        for r, c in ((0, 0), (0, 69), (59, 0), (59, 69))
    ]
    scene = write_scene(tmp_path / "scene.tif", noise(3, 60, 70), crs=None, transform=None)
    with open_raster(scene, "r+") as dataset:
        dataset.gcps = (points, CRS.from_epsg(4326))
    translated(scene, tmp_path / "map.tif", format=driver)
    with open_raster(tmp_path / "map.tif") as dataset:
        found, crs = dataset.gcps
    assert crs == CRS.from_epsg(4326)
    assert [(p.row, p.col, p.x, p.y, p.z) for p in found] == [
        (p.row, p.col, p.x, p.y, p.z) for p in points
    ]


def test_rational_polynomials_are_kept(tmp_path):
    coefficients = [float(i) / 7 for i in range(20)]
    rpcs = RPC(
        height_off=10.0,
        height_scale=500.0,
        lat_off=45.0,
        lat_scale=0.1,
        line_den_coeff=[1.0, *coefficients[1:]],
        line_num_coeff=coefficients,
        line_off=30.0,
        line_scale=30.0,
        long_off=12.0,
        long_scale=0.1,
        samp_den_coeff=[1.0, *coefficients[1:]],
        samp_num_coeff=coefficients,
        samp_off=35.0,
        samp_scale=35.0,
        err_bias=0.5,
        err_rand=0.25,
    )
    scene = write_scene(tmp_path / "scene.tif", noise(3, 60, 70), rpcs=rpcs, crs=None)
    translated(scene, tmp_path / "map.tif")
    with open_raster(scene) as before, open_raster(tmp_path / "map.tif") as after:
        assert before.rpcs is not None
        assert after.rpcs == before.rpcs


def test_pixel_is_point_is_kept(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", noise(1, 20, 20))
    with open_raster(scene, "r+") as dataset:
        dataset.update_tags(AREA_OR_POINT="Point")
    translated(scene, tmp_path / "map.tif")
    with open_raster(scene) as before, open_raster(tmp_path / "map.tif") as after:
        assert after.tags()["AREA_OR_POINT"] == "Point"
        assert after.transform == before.transform


def test_invalid_pixels_get_the_nodata_value_that_was_asked_for(tmp_path):
    pixels = landscape(3, 100, 100)
    valid = np.ones((100, 100), bool)
    valid[:40] = False
    scene = write_scene(tmp_path / "scene.tif", pixels, valid=valid)
    translated(scene, tmp_path / "map.tif", dst_nodata=255)
    with open_raster(tmp_path / "map.tif") as dataset:
        assert dataset.nodata == 255
        assert np.array_equal(dataset.dataset_mask() != 0, valid)
        assert (dataset.read()[:, ~valid] == 255).all()


def test_a_whole_scene_has_no_mask_band(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", noise(3, 50, 50))
    translated(scene, tmp_path / "map.tif")
    with open_raster(tmp_path / "map.tif") as dataset:
        assert {flag.name for flags in dataset.mask_flag_enums for flag in flags} == {"all_valid"}


def test_tags_say_what_changed_pixels_and_no_more(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", noise(3, 50, 50))
    translated(scene, tmp_path / "map.tif", overlap=32, blend="linear")
    with open_raster(tmp_path / "map.tif") as dataset:
        tags = dataset.tags()
    assert tags["GEOP2P_OVERLAP"] == "32"
    assert tags["GEOP2P_BLEND"] == "linear"
    assert tags["GEOP2P_STRETCH"] == "0,255"
    assert not [key for key, value in tags.items() if "auto" in value or str(tmp_path) in value]


@pytest.mark.parametrize(("suffix", "tolerance"), [(".png", 0), (".jpg", 6)])
def test_plain_pictures_work_the_same_way(tmp_path, suffix, tolerance):
    pixels = landscape(3, 280, 300)
    write_scene(tmp_path / "photo.png", pixels, driver="PNG", crs=None, transform=None)
    out = tmp_path / f"photo_map{suffix}"
    report = translated(tmp_path / "photo.png", out)
    difference = np.abs(read_raster(out)[0].astype(int) - pixels)
    assert difference.mean() <= tolerance
    assert report.is_lossy == (suffix == ".jpg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photo.png", out.name]


def test_a_preview_is_judged_as_the_map_is(tmp_path):
    pixels = landscape(3, 60, 70)
    photo = tmp_path / "photo.png"
    write_scene(photo, pixels, driver="PNG", crs=None, transform=None)
    before = photo.read_bytes()
    (tmp_path / "old.png").write_bytes(b"precious")
    for preview, finding in (
        ("photo.png", "is the scene itself"),
        ("map.png", "is the map itself"),
        ("old.png", "exists"),
        ("no/preview.png", "does not exist"),
    ):
        with pytest.raises(OutputError, match=finding):
            translated(photo, tmp_path / "map.png", preview=tmp_path / preview)
    with pytest.raises(OptionError, match=r"--preview writes \.png"):
        translated(photo, tmp_path / "map.png", preview=tmp_path / "preview.tif")
    assert photo.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.png", "photo.png"]


def test_what_a_picture_cannot_hold_is_told(tmp_path, caplog):
    valid = np.arange(60)[:, np.newaxis] + np.zeros(70) > 20
    scene = write_scene(tmp_path / "scene.tif", landscape(3, 60, 70), valid=valid)
    translated(scene, tmp_path / "map.jpg")
    told = [record.getMessage() for record in caplog.records if "map.jpg" in record.getMessage()]
    assert ["keeps no georeference" in told[0], "keeps no mask" in told[1]] == [True, True]


def test_a_masked_picture_is_transparent(tmp_path):
    pixels = landscape(4, 100, 120)
    pixels[3] = 255
    pixels[3, :30] = 0
    photo = tmp_path / "photo.png"
    write_scene(photo, pixels, driver="PNG", crs=None, transform=None)
    translated(photo, tmp_path / "map.png")
    assert np.array_equal(read_raster(tmp_path / "map.png")[1], pixels[3] == 255)


def test_a_lossy_codec_is_allowed_and_reported(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", landscape(3, 300, 300))
    report = translated(scene, tmp_path / "map.tif", creation_options={"compress": "JPEG"})
    assert report.is_lossy
    with open_raster(tmp_path / "map.tif") as dataset:
        assert dataset.compression.name == "jpeg"


def test_creation_options_reach_gdal(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", landscape(3, 300, 300))
    options = {"COMPRESS": "ZSTD", "BLOCKSIZE": "128", "BIGTIFF": "YES"}
    translated(scene, tmp_path / "map.tif", creation_options=options)
    with open_raster(tmp_path / "map.tif") as dataset:
        assert dataset.compression.name == "zstd"
        assert dataset.block_shapes[0] == (128, 128)
    assert (tmp_path / "map.tif").read_bytes()[2] == 43  # the version number of a BigTIFF


@pytest.mark.parametrize("option", ["TILING_SCHEME", "res", "ADD_ALPHA"])
def test_creation_options_that_change_the_grid_are_refused(tmp_path, option):
    scene = write_scene(tmp_path / "scene.tif", noise(3, 50, 50))
    with pytest.raises(OptionError, match="would change the map's grid"):
        translated(scene, tmp_path / "map.tif", creation_options={option: "1"})


@pytest.mark.parametrize("option", ["COMPRESS", "COLOUR"])
def test_an_unknown_creation_option_is_refused_and_leaves_nothing_behind(tmp_path, option):
    scene = write_scene(tmp_path / "scene.tif", noise(3, 50, 50))
    with pytest.raises(OptionError, match=option):
        translated(scene, tmp_path / "map.tif", creation_options={option: "NONSENSE"})
    assert [path.name for path in tmp_path.iterdir()] == ["scene.tif"]


@pytest.mark.parametrize("link", ["same name", "symbolic link", "hard link"])
def test_the_scene_is_never_overwritten(tmp_path, link):
    scene = write_scene(tmp_path / "scene.tif", noise(3, 50, 50))
    out = tmp_path / "out.tif"
    if link == "symbolic link":
        out.symlink_to(scene)
    elif link == "hard link":
        out.hardlink_to(scene)
    else:
        out = scene
    before = scene.read_bytes()
    with pytest.raises(OutputError, match="is the scene itself"):
        translated(scene, out, overwrite=True)
    assert scene.read_bytes() == before


def test_an_existing_map_is_replaced_only_when_asked(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", noise(3, 50, 50))
    out = tmp_path / "map.tif"
    out.write_bytes(b"precious")
    with pytest.raises(OutputError, match="exists"):
        translated(scene, out)
    assert out.read_bytes() == b"precious"
    translated(scene, out, overwrite=True)
    assert read_raster(out)[0].shape == (3, 50, 50)


def test_a_failed_run_keeps_the_old_map_and_leaves_nothing(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", noise(3, 400, 400), compress="deflate")
    scene.write_bytes(scene.read_bytes()[:200_000])
    (tmp_path / "map.tif").write_bytes(b"precious")
    with pytest.raises(SceneError):
        translated(scene, tmp_path / "map.tif", overwrite=True)
    assert (tmp_path / "map.tif").read_bytes() == b"precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.tif", "scene.tif"]


@pytest.mark.parametrize("name", ["map.xyz", "map"])
def test_a_suffix_without_a_format_is_refused(tmp_path, name):
    scene = write_scene(tmp_path / "scene.tif", noise(3, 50, 50))
    with pytest.raises(OptionError, match="no format of a map"):
        translated(scene, tmp_path / name)


@pytest.mark.parametrize(("name", "driver"), [("map.png", "COG"), ("map.tif", "PNG")])
def test_a_suffix_of_another_format_is_refused(tmp_path, name, driver):
    scene = write_scene(tmp_path / "scene.tif", noise(3, 50, 50))
    with pytest.raises(OptionError, match="is not that of a"):
        translated(scene, tmp_path / name, format=driver)


def test_creation_options_are_tried_before_any_tile_is_drawn(tmp_path):
    calls = []
    scene = write_scene(tmp_path / "scene.tif", noise(3, 50, 50))
    with pytest.raises(OptionError, match="FOO"):
        geop2p.translate(
            scene,
            tmp_path / "map.tif",
            generator=lambda tiles: calls.append(1) or tiles,
            creation_options={"COMPRESS": "FOO"},
        )
    assert not calls


def test_a_name_that_is_too_long_is_an_output_error(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", noise(3, 50, 50))
    with pytest.raises(OutputError, match=r"too long \(choose another --out\)"):
        translated(scene, tmp_path / f"{'a' * 245}.tif")


def test_a_missing_folder_is_named(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", noise(3, 50, 50))
    with pytest.raises(OutputError, match="does not exist"):
        translated(scene, tmp_path / "no" / "map.tif")
