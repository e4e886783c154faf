import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import transform_bounds
from scenes import GRID, UTM, landscape, noise, write_scene

from geop2p.errors import SceneError
from geop2p.raster.aligning import box_in, ground_box, open_aligned
from geop2p.raster.scene import open_scene


def read_aligned(path, scene_path, *, is_labels):
    with (
        open_scene(scene_path) as scene,
        open_aligned(path, onto=scene.spec, is_labels=is_labels) as raster,
    ):
        return raster.read(rows=(0, scene.spec.height))


@pytest.fixture
def scene(tmp_path):
    return write_scene(tmp_path / "scene.tif", landscape(3, 80, 100))


def test_a_target_on_the_same_grid_is_read_as_it_is(tmp_path, scene):
    labels = noise(1, 80, 100)
    pixels, valid = read_aligned(write_scene(tmp_path / "l.tif", labels), scene, is_labels=True)
    assert (pixels == labels).all()
    assert valid.all()


def test_a_target_without_a_georeference_needs_the_scenes_size(tmp_path, scene):
    plain = {"driver": "PNG", "crs": None, "transform": None}
    same = write_scene(tmp_path / "a.png", noise(1, 80, 100), **plain)
    assert read_aligned(same, scene, is_labels=True)[1].all()
    other = write_scene(tmp_path / "b.png", noise(1, 80, 99), **plain)
    with pytest.raises(SceneError, match=r"99x80 pixels for a scene of 100x80.*no coordinate"):
        read_aligned(other, scene, is_labels=True)


def test_a_shifted_target_lands_on_its_ground_and_is_invalid_beyond(tmp_path, scene):
    labels = noise(1, 80, 100)
    shifted = write_scene(tmp_path / "l.tif", labels, transform=GRID @ Affine.translation(30, 10))
    pixels, valid = read_aligned(shifted, scene, is_labels=True)
    assert (pixels[0, 10:, 30:] == labels[0, :70, :70]).all()
    expected = np.zeros((80, 100), bool)
    expected[10:, 30:] = True
    assert (valid == expected).all()


def test_finer_labels_keep_their_values(tmp_path, scene):
    coarse = noise(1, 80, 100) // 32
    fine = coarse.repeat(4, axis=1).repeat(4, axis=2)
    path = write_scene(tmp_path / "l.tif", fine, transform=GRID @ Affine.scale(0.25))
    assert (read_aligned(path, scene, is_labels=True)[0] == coarse).all()


def test_finer_pictures_are_averaged(tmp_path, scene):
    fine = np.zeros((1, 160, 200), np.uint8)
    fine[:, ::2, ::2] = 200
    path = write_scene(tmp_path / "p.tif", fine, transform=GRID @ Affine.scale(0.5))
    pixels, _ = read_aligned(path, scene, is_labels=False)
    assert (pixels == 50).all()


def test_a_target_in_another_crs_agrees_with_the_ground(tmp_path, scene):
    wgs84 = CRS.from_epsg(4326)
    with rasterio.open(scene) as dataset:
        left, bottom, right, top = transform_bounds(UTM, wgs84, *dataset.bounds)
    grid = Affine((right - left) / 400, 0, left, 0, (bottom - top) / 400, top)
    xs = np.linspace(0, 255, 400).astype(np.uint8)
    path = write_scene(tmp_path / "p.tif", np.tile(xs, (1, 400, 1)), crs=wgs84, transform=grid)
    pixels, valid = read_aligned(path, scene, is_labels=False)
    assert valid[5:-5, 5:-5].all()
    assert np.abs(pixels[0, 40] - np.linspace(0, 255, 100)).max() < 5


def test_what_a_warped_target_masks_is_invalid(tmp_path, scene):
    valid = np.ones((80, 100), bool)
    valid[:, 50:] = False
    path = write_scene(
        tmp_path / "p.tif", landscape(3, 80, 100), valid=valid, transform=GRID @ Affine.scale(1.001)
    )
    assert not read_aligned(path, scene, is_labels=False)[1][:, 52:].any()
    assert read_aligned(path, scene, is_labels=False)[1][2:-2, 2:48].all()


def test_the_box_of_a_window_is_in_the_scenes_crs(scene):
    with open_scene(scene) as opened:
        box = ground_box(opened.spec, rows=(10, 20), cols=(30, 50))
    assert box == (500_060.0, 4_999_960.0, 500_100.0, 4_999_980.0)
    assert box_in(box, crs=UTM, other=UTM) == box
