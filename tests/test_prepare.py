import csv
import json
import tracemalloc

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image
from scenes import GRID, landscape, noise, write_scene

from geop2p.errors import OptionError, OutputError, SceneError
from geop2p.pairs import find_pairs, read_pair
from geop2p.palette import Palette
from geop2p.pipelines.prepare import prepare
from geop2p.style import find_palette

SIZE = 32
ELSEWHERE = GRID @ Affine.translation(5000, 0)


def write_labels(path, height, width, *, classes=6, **profile):
    return write_scene(path, noise(1, height, width, seed=1) % classes, **profile)


@pytest.fixture
def ground(tmp_path):
    """A scene of 3 x 5 patches, and its labels."""
    scene = write_scene(tmp_path / "scene.tif", landscape(3, 96, 160))
    return scene, write_labels(tmp_path / "labels.tif", 96, 160)


def read_manifest(folder):
    with (folder / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_pair_is_the_scene_beside_the_drawn_labels(tmp_path, ground):
    prepare([ground[0]], [ground[1]], tmp_path / "out", palette="streets", size=SIZE)
    with rasterio.open(ground[0]) as scene, rasterio.open(ground[1]) as labels:
        pixels, drawn = scene.read(), find_palette("streets").draw(labels.read(1))
    for record in read_manifest(tmp_path / "out"):
        row, col = int(record["row"]), int(record["col"])
        window = (slice(None), slice(row, row + SIZE), slice(col, col + SIZE))
        picture = np.moveaxis(np.asarray(Image.open(tmp_path / "out" / record["map_patch"])), -1, 0)
        assert (picture == np.concatenate([pixels[window], drawn[window]], axis=2)).all()


def test_the_report_counts_what_was_written_and_what_was_left_out(tmp_path, ground):
    report = prepare(
        [ground[0]], [ground[1]], tmp_path / "out", palette="streets", size=SIZE, val_fraction=0.2
    )
    assert (report.train, report.val, report.scenes) == (12, 3, 1)
    assert report.left_out == {"straddling": 0, "nodata": 0, "variety": 0}
    assert len(list((tmp_path / "out" / "val").iterdir())) == 3


def test_the_trainer_reads_what_was_prepared_and_knows_its_scenes(tmp_path, ground):
    prepare([ground[0]], [ground[1]], tmp_path / "out", palette="streets", size=SIZE)
    pairs = find_pairs(tmp_path / "out")
    assert pairs.train_scenes == pairs.val_scenes == ("scene.tif",)
    assert read_pair(pairs.train[0])[1].shape == (3, SIZE, SIZE)


def test_bounds_of_a_patch_are_those_of_its_window(tmp_path, ground):
    prepare([ground[0]], [ground[1]], tmp_path / "out", palette="streets", size=SIZE)
    record = next(
        r for r in read_manifest(tmp_path / "out") if (r["row"], r["col"]) == ("32", "64")
    )
    bounds = [float(record[side]) for side in ("left", "bottom", "right", "top")]
    assert bounds == [500_128.0, 4_999_872.0, 500_192.0, 4_999_936.0]
    assert record["crs"] == "EPSG:32633"


def test_folders_keep_values_that_no_picture_holds_as_geotiff(tmp_path):
    scene = write_scene(tmp_path / "s.tif", noise(4, 64, 96, dtype="uint16"))
    target = write_scene(tmp_path / "t.tif", noise(1, 64, 96, dtype="float32"))
    prepare([scene], [target], tmp_path / "out", size=SIZE, layout="folders")
    pairs = find_pairs(tmp_path / "out")
    with rasterio.open(scene) as whole, rasterio.open(pairs.train[0].scene_path) as patch:
        assert (patch.read() == whole.read()[:, :SIZE, :SIZE]).all()
        assert (patch.crs, patch.transform) == (whole.crs, whole.transform)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "trainA", "trainB", "valA", "valB", "manifest.csv",
    }  # fmt: skip


def test_folders_of_pictures_are_png_with_scenes_as_jpeg_when_asked(tmp_path, ground):
    options = {"palette": "streets", "size": SIZE, "layout": "folders", "quality": 90}
    prepare([ground[0]], [ground[1]], tmp_path / "out", **options)
    record = read_manifest(tmp_path / "out")[0]
    assert record["scene_patch"] == "trainA/000_scene_0_0.jpg"
    assert record["map_patch"] == "trainB/000_scene_0_0.png"


def test_values_that_do_not_fit_side_by_side_are_refused_with_the_way_out(tmp_path):
    scene = write_scene(tmp_path / "s.tif", noise(4, 64, 96, dtype="uint16"))
    with pytest.raises(OptionError, match=r"4 bands of uint16.*--layout folders"):
        prepare([scene], [scene], tmp_path / "out", size=SIZE)
    assert not (tmp_path / "out").exists()


def test_casings_do_not_stop_at_patches(tmp_path, ground):
    labels = np.zeros((1, 96, 160), np.uint8)
    labels[:, 31] = 1
    write_scene(ground[1], labels)
    road = {"index": 1, "name": "road", "colour": "#FFFFFF", "casing": {"colour": "#C9C1B6"}}
    palette = Palette.from_list([{"index": 0, "name": "land", "colour": "#F2EFE9"}, road])
    prepare([ground[0]], [ground[1]], tmp_path / "out", palette=palette, size=SIZE, min_variety=0)
    below = np.asarray(Image.open(tmp_path / "out" / "train" / "000_scene_32_0.png"))
    assert (below[0, SIZE:] == [0xC9, 0xC1, 0xB6]).all()
    assert (below[1, SIZE:] == [0xF2, 0xEF, 0xE9]).all()


def test_patches_without_data_are_left_out_up_to_the_share_allowed(tmp_path, ground):
    valid = np.ones((96, 160), bool)
    valid[:16, :32] = False
    write_scene(ground[0], landscape(3, 96, 160), valid=valid)
    options = {"palette": "streets", "size": SIZE, "overwrite": True}
    assert prepare([ground[0]], [ground[1]], tmp_path / "a", **options).left_out["nodata"] == 1
    report = prepare([ground[0]], [ground[1]], tmp_path / "a", max_nodata=0.5, **options)
    assert report.left_out["nodata"] == 0


def test_labels_without_data_count_as_nodata_and_need_no_entry(tmp_path, ground):
    labels = noise(1, 96, 160) % 6
    labels[:, 40, 40] = 255
    write_scene(ground[1], labels, nodata=255)
    report = prepare([ground[0]], [ground[1]], tmp_path / "out", palette="streets", size=SIZE)
    assert report.left_out["nodata"] == 1


def test_patches_without_variety_are_left_out(tmp_path, ground):
    labels = noise(1, 96, 160) % 6
    labels[:, :32, :32] = 1
    labels[:, 0, 0] = 2
    write_scene(ground[1], labels)
    options = {"palette": "streets", "size": SIZE}
    left_out = prepare([ground[0]], [ground[1]], tmp_path / "a", **options).left_out
    assert left_out["variety"] == 1
    left_out = prepare([ground[0]], [ground[1]], tmp_path / "b", min_variety=0, **options).left_out
    assert left_out["variety"] == 0


def test_named_scenes_validate_whole_and_the_others_train(tmp_path, ground):
    other = write_scene(tmp_path / "o.tif", landscape(3, 64, 64), transform=ELSEWHERE)
    labels = write_labels(tmp_path / "ol.tif", 64, 64, transform=ELSEWHERE)
    scenes, targets = [ground[0], other], [ground[1], labels]
    prepare(scenes, targets, tmp_path / "out", palette="streets", size=SIZE, val=[other])
    sides = {(r["split"], r["scene"]) for r in read_manifest(tmp_path / "out")}
    assert sides == {("train", str(ground[0])), ("val", str(other))}


def test_a_named_scene_may_not_touch_one_that_trains(tmp_path, ground):
    beside = GRID @ Affine.translation(160 + SIZE, 0)
    other = write_scene(tmp_path / "o.tif", landscape(3, 64, 64), transform=beside)
    labels = write_labels(tmp_path / "ol.tif", 64, 64, transform=beside)
    scenes, targets = [ground[0], other], [ground[1], labels]
    with pytest.raises(OptionError, match=r"o\.tif: validates, but touches .*scene\.tif"):
        prepare(scenes, targets, tmp_path / "out", palette="streets", size=SIZE, val=[other])


def test_no_ground_of_touching_scenes_is_on_both_sides(tmp_path, ground):
    shift = GRID @ Affine.translation(40, 17)
    other = write_scene(tmp_path / "o.tif", landscape(3, 96, 160), transform=shift)
    labels = write_labels(tmp_path / "ol.tif", 96, 160, transform=shift)
    options = {"palette": "streets", "size": SIZE, "stride": 20, "val_fraction": 0.2}
    prepare([ground[0], other], [ground[1], labels], tmp_path / "out", **options)
    records = read_manifest(tmp_path / "out")
    train_right = max(float(r["right"]) for r in records if r["split"] == "train")
    val_left = min(float(r["left"]) for r in records if r["split"] == "val")
    assert train_right <= val_left


def test_one_vector_target_serves_all_scenes(tmp_path, ground):
    left, bottom, right, top = 14.99, 45.14, 15.002, 45.16
    ring = [[left, bottom], [right, bottom], [right, top], [left, top], [left, bottom]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    feature = {"type": "Feature", "geometry": geometry, "properties": {}}
    target = tmp_path / "v.geojson"
    target.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    other = write_scene(tmp_path / "o.tif", landscape(3, 96, 160, seed=2))
    options = {"style": "buildings", "size": SIZE, "min_variety": 0}
    assert prepare([ground[0], other], [target], tmp_path / "out", **options).scenes == 2


def test_pictures_without_a_georeference_pair_by_size(tmp_path):
    plain = {"driver": "PNG", "crs": None, "transform": None}
    scene = write_scene(tmp_path / "s.png", landscape(3, 64, 96), **plain)
    target = write_scene(tmp_path / "t.png", landscape(1, 64, 96, seed=2), **plain)
    report = prepare([scene], [target], tmp_path / "out", size=SIZE, min_variety=0)
    assert report.train + report.val == 6
    assert read_manifest(tmp_path / "out")[0]["crs"] == ""


def test_a_folder_with_something_in_it_is_kept(tmp_path, ground):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("keep")
    options = {"palette": "streets", "size": SIZE}
    with pytest.raises(OutputError, match="not empty"):
        prepare([ground[0]], [ground[1]], tmp_path / "out", **options)
    with pytest.raises(OutputError, match="did not make it"):
        prepare([ground[0]], [ground[1]], tmp_path / "out", overwrite=True, **options)
    assert (tmp_path / "out" / "mine").read_text() == "keep"


def test_overwrite_replaces_what_an_earlier_run_made(tmp_path, ground):
    options = {"palette": "streets", "overwrite": True}
    prepare([ground[0]], [ground[1]], tmp_path / "out", size=48, **options)
    prepare([ground[0]], [ground[1]], tmp_path / "out", size=SIZE, **options)
    assert {record["size"] for record in read_manifest(tmp_path / "out")} == {"32"}


def test_nothing_is_left_behind_by_a_failed_run(tmp_path, ground):
    before = sorted(tmp_path.iterdir())
    write_labels(ground[1], 96, 160, classes=9)
    with pytest.raises(OptionError, match=r"labels\.tif: label \d is not in the palette"):
        prepare([ground[0]], [ground[1]], tmp_path / "out", palette="streets", size=SIZE)
    assert sorted(tmp_path.iterdir()) == before


def test_a_palette_needs_one_band_of_indexes(tmp_path, ground):
    with pytest.raises(SceneError, match=r"scene\.tif: 3 bands of uint8"):
        prepare([ground[0]], [ground[0]], tmp_path / "out", palette="streets", size=SIZE)


def test_scenes_too_small_for_a_patch_are_named(tmp_path, ground, caplog):
    with pytest.raises(SceneError, match="no patch of 200 pixels is fit"):
        prepare([ground[0]], [ground[1]], tmp_path / "out", palette="streets", size=200)
    assert "160x96 pixels hold no patch of 200" in caplog.text


@pytest.mark.parametrize(
    "options",
    [
        {"layout": "stacked"}, {"size": 8}, {"stride": 0}, {"quality": 0}, {"max_nodata": 1},
        {"min_variety": -1}, {"val_fraction": 1}, {"val": ["x.tif"]}, {"palette": "nowhere"},
    ],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(tmp_path, ground, options):
    with pytest.raises(OptionError):
        prepare([ground[0]], [ground[1]], tmp_path / "out", **options)


def test_targets_must_match_scenes(tmp_path, ground):
    with pytest.raises(OptionError, match="scenes: 1, targets: 2"):
        prepare([ground[0]], [ground[1], ground[1]], tmp_path / "out")
    with pytest.raises(OptionError, match="no scene"):
        prepare([], [], tmp_path / "out")


def test_memory_does_not_grow_with_the_number_of_rows(tmp_path):
    def peak(height):
        scene = write_scene(tmp_path / "s.tif", landscape(3, height, 256))
        labels = write_labels(tmp_path / "l.tif", height, 256)
        tracemalloc.start()
        prepare([scene], [labels], tmp_path / f"{height}", palette="streets", size=64)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    assert peak(1600) < 1.5 * peak(200)


def test_the_command_takes_lists_and_prints_its_report(tmp_path, ground, run_cli):
    other = write_scene(tmp_path / "o.tif", landscape(3, 64, 64), transform=ELSEWHERE)
    labels = write_labels(tmp_path / "ol.tif", 64, 64, transform=ELSEWHERE)
    words = [
        ground[0],
        other,
        "--target",
        ground[1],
        labels,
        "--val",
        other,
        "--palette",
        "streets",
    ]
    status, out, err = run_cli(
        "prepare", *words, "--size", SIZE, "--out", tmp_path / "out", "--json"
    )
    assert (status, json.loads(out)["train"], json.loads(out)["val"]) == (0, 15, 4)
    assert "prepare 100%" in err


def test_the_command_ends_in_one_line_and_the_status_of_the_error(tmp_path, ground, run_cli):
    words = ["prepare", ground[0], "--target", ground[1], "--palette", "streets", "--size", SIZE]
    status, out, err = run_cli(*words, "--out", ground[0].parent)
    assert (status, out, err.count("\n")) == (5, "", 1)
    status, _, err = run_cli("prepare", tmp_path / "x.tif", *words[2:], "--out", tmp_path / "out")
    assert (status, err) == (3, f"geop2p: error: {tmp_path}/x.tif: no such file (check the path)\n")
