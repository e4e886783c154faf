"""The samples and the lists of what trains and what validates."""

import json
from pathlib import Path

import pytest
import rasterio

from geop2p.model import bundled_models, read_card
from geop2p.pairs import find_pairs
from geop2p.pipelines.prepare import prepare

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "sample_tiles"
MOST_BYTES = 8 * 2**20


def read_split(name):
    return json.loads((ROOT / "benchmarks" / "models" / f"{name}_split.json").read_text())


def kilometres(tile):
    """The centre of a Massachusetts tile: its name is easting and northing in 100 m."""
    return int(tile[:4]) / 10, int(tile[4:]) / 10


def test_samples_are_small_and_each_folder_has_source_and_licence():
    assert sum(file.stat().st_size for file in SAMPLES.rglob("*") if file.is_file()) < MOST_BYTES
    text = (SAMPLES / "README.md").read_text()
    for folder in SAMPLES.iterdir():
        assert folder.name == "README.md" or f"`{folder.name}/" in text


def test_no_massachusetts_tile_that_trains_touches_one_that_validates():
    split = read_split("roads")
    for one in map(kilometres, split["train"]):
        for other in map(kilometres, split["val"]):
            assert max(abs(one[0] - other[0]), abs(one[1] - other[1])) > 1.5


def test_samples_come_from_the_side_that_was_held_back():
    tiles = {file.stem[:8] for file in (SAMPLES / "massachusetts").glob("*.tif")}
    scenes = {file.name.split("_")[0] for file in (SAMPLES / "dubai").iterdir()}
    assert tiles <= set(read_split("roads")["val"])
    assert scenes <= set(read_split("streets")["val"])


@pytest.mark.parametrize("name", ["streets", "roads"])
def test_a_bundled_model_was_trained_on_none_of_the_samples(name):
    if name not in bundled_models():
        pytest.skip(f"no bundled model {name}")
    trained = " ".join(read_card(name).training["scenes"]["train"])
    held_back = read_split(name)["val"]
    assert not [scene for scene in held_back if scene in trained]


def test_the_massachusetts_sample_has_a_wedge_without_data_and_roads_on_its_grid():
    (roads,) = (SAMPLES / "massachusetts").glob("*_roads.tif")
    with rasterio.open(roads.with_name(f"{roads.stem[:8]}.tif")) as scene:
        valid = scene.dataset_mask() != 0
        grid = scene.crs, scene.transform, scene.shape
    with rasterio.open(roads) as labels:
        assert grid == (labels.crs, labels.transform, labels.shape)
        assert set(labels.read(1)[valid]) == {0, 1}
    assert 0.2 < valid.mean() < 0.8


def test_the_ready_pairs_are_six_that_train_and_two_that_validate():
    pairs = find_pairs(SAMPLES / "pairs")
    assert (len(pairs.train), len(pairs.val)) == (6, 2)


def test_kampalas_buildings_are_drawn_on_its_orthophoto(tmp_path):
    folder = SAMPLES / "kampala"
    scene, target = folder / "kampala.tif", folder / "buildings.geojson"
    report = prepare([scene], [target], tmp_path / "out", style="buildings", size=512)
    assert report.train > 15
    assert report.val > 1
