import csv
import os

import numpy as np
import pytest
import rasterio
from affine import Affine
from pair_files import draw_pair, write_pairs, write_side_by_side
from PIL import Image

from geop2p.errors import PairsError
from geop2p.pairs import Pair, describe_pair, find_pairs, read_pair, read_patch


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def save_tif(path, pixels, **profile):
    path.parent.mkdir(parents=True, exist_ok=True)
    bands, height, width = pixels.shape
    facts = {"driver": "GTiff", "count": bands, "height": height, "width": width}
    facts |= {
        "dtype": pixels.dtype,
        "crs": "EPSG:32633",
        "transform": Affine(1, 0, 500, 0, -1, 900),
    }
    with rasterio.open(path, "w", **(facts | profile)) as file:
        file.write(pixels)


def write_table(folder, rows):
    with (folder / "pairs.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def test_left_half_is_the_scene_and_right_half_the_map(tmp_path):
    scene, drawn = draw_pair(1)
    write_pairs(tmp_path)
    found = read_pair(find_pairs(tmp_path).train[1])
    np.testing.assert_array_equal(found[0], scene.transpose(2, 0, 1))
    np.testing.assert_array_equal(found[1], drawn.transpose(2, 0, 1))


def test_train_and_val_folders_are_the_split(tmp_path):
    found = find_pairs(write_pairs(tmp_path, train=3, val=2))
    assert [pair.name for pair in found.train] == ["p000", "p001", "p002"]
    assert [pair.name for pair in found.val] == ["p000", "p001"]
    assert not found.note


def test_without_folders_the_last_tenth_by_name_validates(tmp_path):
    found = find_pairs(write_side_by_side(tmp_path, count=21))
    assert [pair.name for pair in found.val] == ["p019", "p020"]
    assert len(found.train) == 19
    assert "last 2 of 21" in found.note


def test_fewer_than_ten_pairs_hold_none_back_and_say_so(tmp_path):
    found = find_pairs(write_side_by_side(tmp_path, count=9))
    assert not found.val
    assert "too few" in found.note


@pytest.mark.parametrize("folders", [("A", "B"), ("trainA", "trainB")])
def test_two_folders_join_by_stem(tmp_path, folders):
    scene, drawn = draw_pair(0)
    save(tmp_path / folders[0] / "x.jpg", scene)
    save(tmp_path / folders[1] / "x.png", drawn)
    (pair,) = find_pairs(tmp_path).train
    np.testing.assert_array_equal(read_pair(pair)[1], drawn.transpose(2, 0, 1))


def test_val_folders_validate(tmp_path):
    for split in ("train", "val"):
        for side, pixels in zip("AB", draw_pair(0), strict=True):
            save(tmp_path / f"{split}{side}" / f"{split}.png", pixels)
    found = find_pairs(tmp_path)
    assert ([p.name for p in found.train], [p.name for p in found.val]) == (["train"], ["val"])


def test_a_scene_without_a_map_is_refused(tmp_path):
    save(tmp_path / "A" / "alone.png", draw_pair(0)[0])
    (tmp_path / "B").mkdir()
    with pytest.raises(PairsError, match="alone"):
        find_pairs(tmp_path)


def test_a_table_names_scene_map_and_split(tmp_path):
    for name, pixels in zip(("s.png", "m.png"), draw_pair(3), strict=True):
        save(tmp_path / name, pixels)
    write_table(tmp_path, [("scene", "map", "split"), ("s.png", "m.png", "train")] * 1)
    (pair,) = find_pairs(tmp_path).train
    np.testing.assert_array_equal(read_pair(pair)[0], draw_pair(3)[0].transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("scene", "map"), ("a", "b")], "no column split"),
        ([("scene", "map", "split"), ("a", "b", "trian")], "trian"),
        ([("scene", "map", "split")], "no pairs found"),
    ],
)
def test_an_unfit_table_is_refused(tmp_path, rows, expected):
    write_table(tmp_path, rows)
    with pytest.raises(PairsError, match=expected):
        find_pairs(tmp_path)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_rasters_keep_bands_and_type(tmp_path, dtype):
    scene = np.arange(5 * 8 * 9).reshape(5, 8, 9).astype(dtype)
    save_tif(tmp_path / "A" / "x.tif", scene)
    save_tif(tmp_path / "B" / "x.tif", scene[:1])
    (pair,) = find_pairs(tmp_path).train
    np.testing.assert_array_equal(read_pair(pair)[0], scene)
    assert read_pair(pair)[0].dtype == dtype
    assert describe_pair(pair)[0].bands == 5
    assert describe_pair(pair)[1].dtype == dtype


def test_masked_pixels_are_refused(tmp_path):
    save_tif(tmp_path / "gap.tif", np.eye(9, dtype=np.uint8)[None], nodata=0)
    with pytest.raises(PairsError, match=r"gap.tif: 88.9 % of its pixels"):
        read_patch(tmp_path / "gap.tif")


def test_sixteen_bit_pictures_keep_their_values(tmp_path):
    pixels = np.array([[0, 40_000], [65_535, 7]], np.uint16)
    save(tmp_path / "deep.png", pixels)
    np.testing.assert_array_equal(read_patch(tmp_path / "deep.png"), pixels[None])


def test_sizes_must_match(tmp_path):
    save(tmp_path / "s.png", draw_pair(0, size=24)[0])
    save(tmp_path / "m.png", draw_pair(0, size=28)[1])
    pair = Pair(name="x", scene_path=tmp_path / "s.png", map_path=tmp_path / "m.png")
    with pytest.raises(PairsError, match=r"m.png: 28x28 pixels, its scene has 24x24"):
        read_pair(pair)


def test_odd_side_by_side_pictures_are_refused(tmp_path):
    save(tmp_path / "odd.png", np.zeros((8, 17, 3), np.uint8))
    with pytest.raises(PairsError, match="odd width 17"):
        describe_pair(Pair(name="odd", scene_path=tmp_path / "odd.png"))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_damaged_files_are_named(tmp_path, suffix):
    path = tmp_path / f"broken{suffix}"
    path.write_text("no picture")
    with pytest.raises(PairsError, match="broken"):
        read_patch(path)


def test_truncated_pictures_are_named(tmp_path):
    save(tmp_path / "cut.png", np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    content = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(PairsError, match="cut"):
        read_patch(tmp_path / "cut.png")


def test_an_empty_or_missing_folder_is_refused(tmp_path):
    with pytest.raises(PairsError, match="no pairs found"):
        find_pairs(tmp_path)
    with pytest.raises(PairsError, match="no such folder"):
        find_pairs(tmp_path / "nowhere")


def test_the_fingerprint_follows_names_and_split(tmp_path):
    prints = {
        find_pairs(write_pairs(tmp_path / str(train), train=train, val=val)).fingerprint
        for train, val in ((3, 1), (3, 2), (4, 1))
    }
    assert len(prints) == 3


def test_a_manifest_tells_the_scenes_of_each_split(tmp_path):
    write_pairs(tmp_path)
    rows = "split,scene\ntrain,/far/a.tif\ntrain,/far/a.tif\nval,b.tif\n"
    (tmp_path / "manifest.csv").write_text(rows)
    found = find_pairs(tmp_path)
    assert (found.train_scenes, found.val_scenes) == (("a.tif",), ("b.tif",))


def test_two_files_of_one_name_are_refused(tmp_path):
    for suffix in (".png", ".jpg"):
        save(tmp_path / "A" / f"x{suffix}", draw_pair(0)[0])
    with pytest.raises(PairsError, match="same name"):
        find_pairs(tmp_path)


def test_a_picture_is_what_its_bytes_say_and_no_program_is_run_for_it(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
    with pytest.raises(PairsError, match="not a readable picture"):
        read_patch(path)


@pytest.mark.timeout(20)
def test_a_pipe_among_the_pairs_is_named_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(PairsError, match="is a pipe"):
        read_patch(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp"])
def test_damaged_pictures_are_pixels_or_one_line(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(draw_pair(0)[0]).save(path)
    content, random = path.read_bytes(), np.random.default_rng(5)
    for number in range(100):
        damaged = bytearray(content)
        damaged[random.integers(len(content))] ^= 1 << random.integers(8)
        path.write_bytes(damaged if number % 2 else content[: len(content) * number // 100])
        try:
            assert read_patch(path).ndim == 3
        except PairsError as exc:
            told = str(exc)
            assert "\n" not in told
