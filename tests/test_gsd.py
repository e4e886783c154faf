"""Ground sample distance: measured, warned of, and scenes brought to the model's while read."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from scenes import identity, landscape, noise, open_raster, read_raster, write_scene

import geop2p
from geop2p.card import ModelCard
from geop2p.errors import NothingToDoError, OptionError, OutputError, SceneError
from geop2p.model import save_model
from geop2p.networks import GeneratorConfig, build_generator, initialise
from geop2p.pipelines.check import check
from geop2p.raster.gsd import gsd_of
from geop2p.raster.scene import OrderedRows, SceneSource, open_source

TURNED = Affine.translation(500_000, 5_000_000) @ Affine.rotation(30) @ Affine.scale(2, -3)


def grid(side, *, x=500_000.0, y=5_000_000.0):
    """A transform of square pixels, north up."""
    return Affine(side, 0, x, 0, -side, y)


def header(crs, transform, size=(400, 600)):
    return SimpleNamespace(crs=crs, transform=transform, height=size[0], width=size[1])


def saved_model(path, *, gsd_m=1.0):
    """A small U-Net with random weights whose card has a ground sample distance."""
    config = GeneratorConfig(arch="unet_128", ngf=2)
    generator = build_generator(config)
    initialise(generator, seed=3, std=0.2)
    save_model(path, generator, ModelCard(name="random", generator=config, tile=128, gsd_m=gsd_m))
    return path


def drawn(scene, out, **options):
    """Translate in one thread: tiny networks gain nothing from more."""
    return geop2p.translate(scene, out, threads=1, **options)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return saved_model(tmp_path_factory.mktemp("model") / "random.safetensors")


@pytest.fixture(scope="module")
def fine(tmp_path_factory):
    """A scene of 0.3 m with a wedge without data."""
    rows, cols = np.mgrid[0:900, 0:500]
    path = tmp_path_factory.mktemp("scene") / "fine.tif"
    return write_scene(
        path, landscape(3, 900, 500), valid=rows + 0.7 * cols > 400, transform=grid(0.3)
    )


@pytest.fixture(scope="module")
def coarse(tmp_path_factory):
    """A scene of 2 m with a wedge without data."""
    rows, cols = np.mgrid[0:170, 0:100]
    path = tmp_path_factory.mktemp("scene") / "coarse.tif"
    return write_scene(path, landscape(3, 170, 100), valid=rows + 0.7 * cols > 60)


@pytest.mark.parametrize(
    ("epsg", "transform", "row_m", "col_m"),
    [
        (32633, grid(2.0), 2.0, 2.0),
        (32633, TURNED, 3.0, 2.0),
        (2249, grid(1.0, x=770_000, y=2_950_000), 0.3048, 0.3048),
        (3857, grid(1.0, x=1_000_000, y=8_399_738), 0.5, 0.5),
        (4326, grid(1e-5, x=10, y=60), 1.1141, 0.5580),
        (4326, grid(1e-5, x=-179.999, y=0), 1.1057, 1.1132),
    ],
    ids=["UTM", "rotated", "US feet", "Web Mercator at 60 N", "degrees at 60 N", "at the equator"],
)
def test_the_distance_is_that_on_the_ground(epsg, transform, row_m, col_m):
    found = gsd_of(header(CRS.from_epsg(epsg), transform))
    assert found.row_m == pytest.approx(row_m, rel=3e-3)
    assert found.col_m == pytest.approx(col_m, rel=3e-3)
    assert found.mean_m == pytest.approx((row_m * col_m) ** 0.5, rel=3e-3)


def test_a_site_and_another_planet_are_taken_by_their_unit():
    site = CRS.from_wkt('LOCAL_CS["site",UNIT["foot",0.3048]]')
    mars = CRS.from_proj4("+proj=eqc +a=3396190 +b=3396190 +units=m +no_defs")
    assert gsd_of(header(site, grid(2.0))).mean_m == pytest.approx(0.6096)
    assert gsd_of(header(mars, grid(2.0, x=0, y=0))).mean_m == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        (None, grid(2.0)),
        (CRS.from_epsg(32633), Affine.identity()),
        (CRS.from_epsg(4326), grid(1.0, y=500.0)),
        (CRS.from_proj4("+proj=longlat +a=3396190 +b=3396190 +no_defs"), grid(1e-5, x=0, y=0)),
    ],
    ids=["no CRS", "no transform", "no place on earth", "degrees of Mars"],
)
def test_what_is_not_known_is_none(crs, transform):
    assert gsd_of(header(crs, transform)) is None


def test_info_tells_the_distance(tmp_path, run_cli):
    write_scene(tmp_path / "scene.tif", noise(1, 20, 30), transform=grid(0.5))
    status, out, _ = run_cli("info", tmp_path / "scene.tif")
    assert status == 0
    assert "gsd m: 0.5002" in out


def test_a_difference_is_told_once_with_both_distances(tmp_path, model, caplog):
    scene = write_scene(tmp_path / "scene.tif", noise(3, 200, 100), transform=grid(0.3))
    report = drawn(scene, tmp_path / "map.tif", model=model, strip_rows=1)
    told = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(told) == 1
    assert "0.3 m on the ground, the model random was trained at 1 m: 3.33x finer" in told[0]
    assert "--gsd model" in told[0]
    assert report.scene_gsd_m == pytest.approx(0.30012, abs=1e-5)
    assert (report.model_gsd_m, report.resampled) == (1.0, None)
    with open_raster(tmp_path / "map.tif") as dataset:
        assert not {"GEOP2P_GSD", "GEOP2P_RESAMPLED"} & dataset.tags().keys()


@pytest.mark.parametrize("side", [0.81, 1.24, None])
def test_a_small_or_unknown_difference_is_not_told(tmp_path, model, side, caplog):
    place = {"crs": None, "transform": None} if side is None else {"transform": grid(side)}
    scene = write_scene(tmp_path / "scene.tif", noise(3, 30, 40), **place)
    report = drawn(scene, tmp_path / "map.tif", model=model)
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert (report.scene_gsd_m is None) == (side is None)


def test_the_users_distance_takes_the_place_of_the_files(tmp_path, model, caplog):
    scene = write_scene(tmp_path / "scene.tif", noise(3, 20, 30), transform=grid(0.3))
    drawn(scene, tmp_path / "map.tif", model=model, scene_gsd=1.1)
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


def test_a_scene_at_the_models_distance_is_left_as_it_is(tmp_path, model):
    scene = write_scene(tmp_path / "scene.tif", landscape(3, 30, 40), transform=grid(1.004))
    plain = drawn(scene, tmp_path / "1.tif", model=model)
    asked = drawn(scene, tmp_path / "2.tif", model=model, gsd="model", out_gsd="model")
    assert asked.resampled is None
    assert asked.sha256 == plain.sha256


@pytest.mark.parametrize("name", ["fine", "coarse"])
@pytest.mark.parametrize("out_gsd", ["scene", "model"])
def test_the_map_lies_where_the_scene_does(tmp_path, model, name, out_gsd, request, run_cli):
    scene = request.getfixturevalue(name)
    report = drawn(
        scene, tmp_path / "map.tif", model=model, gsd="model", out_gsd=out_gsd,
        preview=tmp_path / "preview.png",
    )  # fmt: skip
    with open_raster(scene) as here, open_raster(tmp_path / "map.tif") as there:
        assert there.crs == here.crs
        assert np.allclose(there.bounds, here.bounds, rtol=0, atol=1e-6)
        if out_gsd == "scene":
            assert (there.shape, there.transform) == (here.shape, here.transform)
            assert np.array_equal(there.dataset_mask(), here.dataset_mask())
        else:
            assert there.shape == report.resampled
            assert np.allclose(there.res, 1.0, atol=0.01)
        assert report.pixels_invalid == np.count_nonzero(there.dataset_mask() == 0) > 0
        assert there.tags()["GEOP2P_GSD"] == "1 m"
    assert (report.height, report.width) == there.shape
    assert check(tmp_path / "map.tif", scene=scene).is_at_model_gsd == (out_gsd == "model")
    _, said, _ = run_cli("check", tmp_path / "map.tif", "--scene", scene)
    assert f"on the {'grid' if out_gsd == 'scene' else 'ground'} and mask of {scene}" in said
    assert ("at the model's ground sample distance" in said) == (out_gsd == "model")


@pytest.mark.parametrize("name", ["fine", "coarse"])
@pytest.mark.parametrize("out_gsd", ["scene", "model"])
def test_the_map_is_the_same_whatever_strips_and_batches(tmp_path, model, name, out_gsd, request):
    scene = request.getfixturevalue(name)
    variants = [
        {"strip_rows": 1, "batch_size": 1},
        {"strip_rows": 2, "batch_size": 3},
        {"strip_rows": 50, "batch_size": 8},
    ]
    reports = [
        drawn(
            scene, tmp_path / f"{i}.tif", model=model, gsd="model", out_gsd=out_gsd,
            overlap=50, **variant,
        )
        for i, variant in enumerate(variants)
    ]  # fmt: skip
    assert len({report.sha256 for report in reports}) == 1


@pytest.mark.slow
def test_worker_processes_make_the_same_map(tmp_path, model, fine):
    options = {"model": model, "gsd": "model"}
    one = drawn(fine, tmp_path / "1.tif", **options)
    two = drawn(fine, tmp_path / "2.tif", workers=2, strip_rows=1, **options)
    assert one.sha256 == two.sha256


def test_what_stands_under_the_mask_does_not_matter(tmp_path, model, fine):
    pixels, valid = read_raster(fine)
    other = np.where(valid, pixels, 255 - pixels)
    again = write_scene(tmp_path / "other.tif", other, valid=valid, transform=grid(0.3))
    for i, scene in enumerate((fine, again)):
        drawn(scene, tmp_path / f"{i}.tif", model=model, gsd="model")
    assert np.array_equal(read_raster(tmp_path / "0.tif")[0], read_raster(tmp_path / "1.tif")[0])


def test_the_model_sees_what_a_scene_of_its_distance_shows(tmp_path, model):
    # 2 x 2 pixels each of one value: their averages are exact
    pixels = landscape(3, 150, 140)
    doubled = pixels.repeat(2, axis=1).repeat(2, axis=2)
    scene = write_scene(tmp_path / "half.tif", doubled, transform=grid(0.5))
    same = write_scene(tmp_path / "one.tif", pixels, transform=grid(1.0))
    asked = {"model": model, "gsd": "model", "out_gsd": "model", "scene_gsd": 0.5}
    drawn(scene, tmp_path / "1.tif", **asked)
    drawn(same, tmp_path / "2.tif", model=model)
    assert np.array_equal(read_raster(tmp_path / "1.tif")[0], read_raster(tmp_path / "2.tif")[0])


@pytest.mark.parametrize("driver", ["PNG", "JPEG", "GTiff"])
def test_scenes_that_are_read_in_order_give_the_same_rows(tmp_path, driver):
    suffix = {"PNG": "png", "JPEG": "jpg", "GTiff": "tif"}[driver]
    place = {"crs": None, "transform": None}
    scene = write_scene(tmp_path / f"s.{suffix}", landscape(3, 500, 300), driver=driver, **place)
    with open_source(SceneSource(path=str(scene), size=(211, 127))) as opened:
        whole, mask = opened.read(rows=(0, 211))
        assert whole.shape == (3, 211, 127)
        assert mask.all()
        ordered = OrderedRows(opened)
        for rows in ((0, 60), (40, 100), (99, 211), (0, 30)):
            assert np.array_equal(ordered.read(rows=rows)[0], whole[:, slice(*rows)])
        part, _ = opened.read(rows=(50, 90), cols=(20, 33))
        assert np.array_equal(part, whole[:, 50:90, 20:33])


def test_a_picture_without_a_place_takes_the_users_distance(tmp_path, model):
    place = {"crs": None, "transform": None}
    scene = write_scene(tmp_path / "s.png", landscape(3, 500, 300), driver="PNG", **place)
    asked = {"model": model, "gsd": "model", "scene_gsd": 0.5}
    report = drawn(scene, tmp_path / "map.tif", **asked)
    assert (report.height, report.width, report.resampled) == (500, 300, (250, 150))
    drawn(scene, tmp_path / "small.tif", out_gsd="model", **asked)
    with open_raster(tmp_path / "small.tif") as dataset:
        assert (dataset.shape, dataset.transform) == ((250, 150), Affine.identity())


@pytest.mark.parametrize(("metres", "is_told"), [(0.001, True), (0.2, True), (0.5, False)])
def test_a_scene_that_becomes_smaller_than_a_tile_is_told(tmp_path, model, caplog, metres, is_told):
    scene = write_scene(tmp_path / "s.tif", landscape(3, 500, 300))
    drawn(scene, tmp_path / "m.tif", model=model, gsd="model", scene_gsd=metres)
    size = f"{max(1, round(300 * metres))} x {max(1, round(500 * metres))} pixels"
    assert (f"{size}, less than one tile of 128 x 128" in caplog.text) == is_told


@pytest.mark.parametrize(
    ("epsg", "transform", "size"),
    [
        (2249, grid(1.0, x=770_000, y=2_950_000), (91, 152)),
        (4326, grid(1e-5, x=10, y=60), (334, 279)),
    ],
    ids=["US feet", "degrees"],
)
def test_any_crs_is_brought_to_metres(tmp_path, model, epsg, transform, size):
    scene = write_scene(
        tmp_path / "s.tif", landscape(3, 300, 500), crs=CRS.from_epsg(epsg), transform=transform
    )
    report = drawn(scene, tmp_path / "map.tif", model=model, gsd="model", out_gsd="model")
    assert report.resampled == pytest.approx(size, abs=1)
    with open_raster(tmp_path / "map.tif") as dataset:
        found = gsd_of(dataset)
    assert (found.row_m, found.col_m) == pytest.approx((1.0, 1.0), rel=6e-3)


def test_a_block_that_cannot_be_decoded_is_masked_on_the_scenes_grid(tmp_path, model):
    pixels = noise(3, 700, 400)
    tiles = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
    scene = write_scene(tmp_path / "s.tif", pixels, transform=grid(0.4), **tiles)
    with open_raster(scene) as dataset:
        offset, size = (
            int(dataset.get_tag_item(f"BLOCK_{name}_2_5", "TIFF", bidx=1))
            for name in ("OFFSET", "SIZE")
        )
    content = bytearray(scene.read_bytes())
    content[offset : offset + size] = b"\xff" * size
    scene.write_bytes(content)
    report = drawn(
        scene, tmp_path / "m.tif", model=model, gsd="model", on_read_error="nodata", strip_rows=1
    )
    lost = np.zeros((700, 400), bool)
    lost[320:384, 128:192] = True
    assert np.array_equal(read_raster(tmp_path / "m.tif")[1], ~lost)
    assert (report.blocks_unreadable, report.pixels_invalid) == (1, lost.sum())


def test_control_points_stay_with_the_map_on_the_scenes_grid(tmp_path, model):
    scene = write_scene(tmp_path / "s.tif", landscape(3, 300, 300), crs=None, transform=None)
    points = [
        GroundControlPoint(row=r, col=c, x=14.0 + c * 1e-5, y=45.0 - r * 1e-5, z=0)
        for r, c in ((0, 0), (0, 300), (300, 0), (300, 300))
    ]
    with open_raster(scene, "r+") as dataset:
        dataset.gcps = (points, CRS.from_epsg(4326))
    asked = {"model": model, "gsd": "model", "scene_gsd": 2.0}
    with pytest.raises(SceneError, match="control points"):
        drawn(scene, tmp_path / "m.tif", out_gsd="model", **asked)
    drawn(scene, tmp_path / "m.tif", **asked)
    with open_raster(tmp_path / "m.tif") as dataset:
        found, crs = dataset.gcps
    assert crs == CRS.from_epsg(4326)
    assert [(p.row, p.col) for p in found] == [(p.row, p.col) for p in points]


def test_a_map_of_other_pixels_is_not_taken_for_this_one(tmp_path, model, coarse):
    out = tmp_path / "map.tif"
    drawn(coarse, out, model=model, gsd="model")
    with pytest.raises(NothingToDoError):
        drawn(coarse, out, model=model, gsd="model", skip_existing=True)
    with pytest.raises(OutputError, match="exists, of another ground sample distance"):
        drawn(coarse, out, model=model, skip_existing=True)


def test_floats_and_a_nodata_value_come_back_exactly(tmp_path, model):
    pixels = noise(3, 200, 150, dtype="float32")
    pixels[:, 30:40, 20:90] = np.nan
    scene = write_scene(tmp_path / "s.tif", pixels, transform=grid(2.0))
    drawn(scene, tmp_path / "m.tif", model=model, gsd="model", dst_nodata=0)
    found, valid = read_raster(tmp_path / "m.tif")
    assert np.array_equal(valid, np.isfinite(pixels).all(axis=0))
    assert (found[:, ~valid] == 0).all()


def test_what_cannot_be_is_refused(tmp_path, model, coarse):
    out = tmp_path / "map.tif"
    nowhere = write_scene(tmp_path / "n.tif", noise(3, 9, 9), crs=None, transform=None)
    unsure = saved_model(tmp_path / "unsure.safetensors", gsd_m=None)
    with pytest.raises(SceneError, match="--scene-gsd METRES"):
        drawn(nowhere, out, model=model, gsd="model")
    with pytest.raises(OptionError, match="has no gsd_m"):
        drawn(coarse, out, model=unsure, gsd="model")
    with pytest.raises(OptionError, match="bare generator"):
        drawn(coarse, out, generator=identity, gsd="model")
    with pytest.raises(OptionError, match="without --gsd model"):
        drawn(coarse, out, model=model, out_gsd="model")
    with pytest.raises(OptionError, match="--max-pixels 68000 allows it"):
        drawn(coarse, out, model=model, gsd="model", scene_gsd=2.0, max_pixels=20_000)
    with pytest.raises(OptionError, match="scene gsd"):
        drawn(coarse, out, model=model, scene_gsd=0)
    assert not list(tmp_path.glob(".*"))
    assert not out.exists()
