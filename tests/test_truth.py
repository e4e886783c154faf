import numpy as np
import pytest
from affine import Affine
from scenes import GRID, UTM, noise, write_scene

from geop2p.errors import OptionError, SceneError
from geop2p.palette import MapClass, Palette
from geop2p.raster.scene import open_scene
from geop2p.truth import open_truth

PALETTE = Palette(
    (
        MapClass(index=1, name="land", colour=(240, 240, 240)),
        MapClass(index=2, name="water", colour=(0, 0, 250)),
    )
)
LABELS = noise(1, 40, 50) % 2 + 1


@pytest.fixture
def spec(tmp_path):
    with open_scene(write_scene(tmp_path / "scene.tif", noise(3, 40, 50))) as scene:
        return scene.spec


def read(path, spec, *, bands=3, palette=PALETTE, rows=(0, 40)):
    with open_truth(path, onto=spec, bands=bands, palette=palette) as truth:
        return truth.read(rows=rows)


def test_class_indexes_are_drawn_and_told(tmp_path, spec):
    found = read(write_scene(tmp_path / "labels.tif", LABELS), spec, rows=(3, 20))
    assert (found.pixels == PALETTE.draw(LABELS[0, 3:20])).all()
    assert (found.classes == LABELS[0, 3:20]).all()
    assert found.valid.all()


def test_a_picture_is_what_it_is(tmp_path, spec):
    pixels = noise(3, 40, 50, seed=1)
    found = read(write_scene(tmp_path / "map.tif", pixels), spec)
    assert (found.pixels == pixels).all()
    assert found.classes is None


def test_labels_of_another_grid_are_brought_on_to_the_scenes(tmp_path, spec):
    coarse = np.array([[[1, 2], [2, 1]]], np.uint8)
    transform = GRID @ Affine.scale(25, 20)
    path = write_scene(tmp_path / "labels.tif", coarse, transform=transform)
    found = read(path, spec)
    assert (found.classes == np.kron(coarse[0], np.ones((20, 25), np.uint8))).all()


def test_what_the_labels_do_not_reach_is_invalid(tmp_path, spec):
    path = write_scene(tmp_path / "labels.tif", LABELS[:, :, :30])
    found = read(path, spec)
    assert found.valid[:, :30].all()
    assert not found.valid[:, 30:].any()


@pytest.mark.parametrize(
    ("bands", "palette", "crs", "size", "message"),
    [
        (1, None, UTM, 50, "need a palette"),
        (2, PALETTE, UTM, 50, "2 bands of uint8, the map has 3"),
        (3, PALETTE, None, 30, "no coordinate reference system"),
    ],
)
def test_what_fits_no_map_is_refused(tmp_path, spec, *, bands, palette, crs, size, message):
    path = write_scene(tmp_path / "truth.tif", noise(bands, 40, size), crs=crs)
    with pytest.raises(SceneError, match=message):
        read(path, spec, palette=palette)


def test_a_label_that_is_not_in_the_palette_is_named(tmp_path, spec):
    path = write_scene(tmp_path / "labels.tif", LABELS + 3)
    with pytest.raises(OptionError, match="label 4 is not in the palette"):
        read(path, spec)


def test_vectors_need_a_style(tmp_path, spec):
    with pytest.raises(OptionError, match="style"):
        read(tmp_path / "roads.geojson", spec)
