"""What ``geop2p prepare`` leaves beside pairs, and what ``geop2p train`` makes of it."""

import json

import numpy as np
import pytest
from affine import Affine
from pair_files import TINY, write_pairs
from PIL import Image
from scenes import GRID, landscape, noise, write_scene

from geop2p.errors import PairsError
from geop2p.facts import CardFacts
from geop2p.manifest import MANIFEST, PALETTE, read_gsds, read_pairs_palette
from geop2p.model import read_card
from geop2p.pairs import find_pairs
from geop2p.pipelines.prepare import prepare
from geop2p.pipelines.train import train
from geop2p.pipelines.training_facts import common_gsd, completed_facts, given_facts
from geop2p.pipelines.training_options import RunOptions
from geop2p.style import find_palette

pytestmark = pytest.mark.usefixtures("one_thread")
SIZE = 24
TRUE_M = 2.0008
"""The ground below 2 m of the grid in the middle of a UTM zone, whose scale is 0.9996 there."""


def write_ground(folder, name, *, scale=1.0, row=0, **profile):
    """Write a scene of 2 x 3 patches with pixels of 2 m times ``scale``, and its labels."""
    transform = GRID @ Affine.translation(0, row) @ Affine.scale(scale)
    profile = {"transform": transform} | profile
    shape = 2 * SIZE, 3 * SIZE
    scene = write_scene(folder / f"{name}.tif", landscape(3, *shape), **profile)
    return scene, write_scene(folder / f"{name}_labels.tif", noise(1, *shape) % 6, **profile)


def prepared(folder, *grounds, **options):
    scenes, labels = zip(*grounds, strict=True)
    options = {"palette": "streets", "size": SIZE, "min_variety": 0} | options
    prepare(scenes, labels, folder / "pairs", **options)
    return folder / "pairs"


@pytest.fixture
def pairs(tmp_path):
    return prepared(tmp_path, write_ground(tmp_path, "scene"))


def card_of(pairs, folder, **options):
    options = TINY | {"load_size": 0, "epochs_decay": 0} | options
    return read_card(train(pairs, folder / "run", **options).model_path)


def facts_of(pairs, **options):
    """Return the facts that a training would begin with."""
    given = given_facts(RunOptions(**options), known=CardFacts())
    return completed_facts(given, find_pairs(pairs))


def replace_cell(pairs, old, new):
    path = pairs / MANIFEST
    path.write_text(path.read_text().replace(old, new, 1))


@pytest.mark.parametrize("layout", ["side-by-side", "folders"])
def test_every_pair_has_its_scenes_distance_in_either_layout(tmp_path, layout):
    folder = prepared(tmp_path, write_ground(tmp_path, "scene"), layout=layout)
    found = find_pairs(folder)
    distances = read_gsds(folder)
    assert distances.keys() == {pair.name for pair in (*found.train, *found.val)}
    assert list(distances.values()) == pytest.approx([TRUE_M] * 6, rel=1e-5)


def test_the_palette_beside_the_pairs_is_the_one_that_drew_them_and_its_file_a_palette(pairs):
    assert read_pairs_palette(pairs) == find_palette("streets") == find_palette(pairs / PALETTE)
    assert len((pairs / PALETTE).read_text().splitlines()) == 8  # a line a class, for people


def test_a_palette_keeps_its_casings_and_what_is_not_scored(tmp_path):
    casing = {"colour": "#C9C1B6", "width": 2}
    entries = [{"index": i, "name": f"ä{i}", "colour": f"#{i}00000"} for i in range(6)]
    entries[1] |= {"casing": casing, "scored": False}
    (tmp_path / "own.json").write_text(json.dumps(entries))
    folder = prepared(tmp_path, write_ground(tmp_path, "scene"), palette=tmp_path / "own.json")
    assert read_pairs_palette(folder) == find_palette(tmp_path / "own.json")


def test_maps_that_no_palette_drew_leave_none(tmp_path):
    scene, _labels = write_ground(tmp_path, "scene")
    folder = prepared(tmp_path, (scene, scene), palette=None)
    assert not (folder / PALETTE).exists()
    lines = tmp_path / "lines.geojson"
    lines.write_text('{"type": "FeatureCollection", "features": []}')
    folder = prepared(tmp_path, (scene, lines), style="buildings", overwrite=True)
    assert not (folder / PALETTE).exists()


def test_the_card_knows_what_prepare_knew(tmp_path, pairs):
    card = card_of(pairs, tmp_path)
    assert card.gsd_m == pytest.approx(TRUE_M, rel=1e-5)
    assert card.palette == find_palette("streets")
    assert "accuracy" in card.scores["validation"]["running"]


def test_a_recipe_that_wants_classes_finds_them_and_the_card_the_distance_after_resizing(
    tmp_path, pairs
):
    recipe = tmp_path / "classes.json"
    recipe.write_text(json.dumps({"recipe": "classes", "lambda_ce": 2.0}))
    card = card_of(pairs, tmp_path, recipe=recipe, load_size=20)
    assert card.training["options"]["lambda_ce"] == 2.0
    assert card.gsd_m == pytest.approx(TRUE_M * 24 / 20, rel=1e-4)


def test_what_is_given_goes_before_it(tmp_path, pairs):
    palette = [{"index": 0, "name": "all", "colour": "#000000"}]
    (tmp_path / "own.json").write_text(json.dumps(palette))
    (tmp_path / "card.json").write_text(json.dumps({"gsd_m": 7.0, "palette": palette}))
    by_option = facts_of(pairs, gsd_m=5.0, palette=tmp_path / "own.json")
    by_card = facts_of(pairs, card=tmp_path / "card.json")
    assert (by_option.gsd_m, by_card.gsd_m) == (5.0, 7.0)
    assert by_option.palette == by_card.palette == find_palette(tmp_path / "own.json")


def test_a_resumed_run_keeps_what_it_began_with(tmp_path, pairs):
    first = card_of(pairs, tmp_path, max_steps=1)
    (pairs / PALETTE).unlink()
    replace_cell(pairs, "2.0008", "9")
    report = train(resume=tmp_path / "run", device="cpu")
    card = read_card(report.model_path)
    assert (card.gsd_m, card.palette) == (first.gsd_m, first.palette)


def test_only_pairs_that_train_count_and_near_distances_are_averaged(tmp_path, caplog):
    near = [
        write_ground(tmp_path, f"n{i}", scale=scale, row=1000 * i)
        for i, scale in enumerate((1, 1.2))
    ]
    far = write_ground(tmp_path, "far", scale=10, row=5000)
    found = find_pairs(prepared(tmp_path, *near, far, val=[far[0]]))
    assert common_gsd(found) == pytest.approx(1.1 * TRUE_M, rel=1e-4)
    assert not caplog.messages


def test_distances_too_far_apart_are_not_averaged_and_it_is_said_once(tmp_path, caplog):
    grounds = [
        write_ground(tmp_path, f"n{i}", scale=scale, row=1000 * i)
        for i, scale in enumerate((1, 1.5))
    ]
    folder = prepared(tmp_path, *grounds)
    caplog.clear()
    assert facts_of(folder).gsd_m is None
    (told,) = [text for text in caplog.messages if "ground sample distance" in text]
    assert "is 2 to 3 m in the pairs that train" in told


def test_scenes_without_a_georeference_leave_it_open(tmp_path, caplog):
    known = write_ground(tmp_path, "known")
    bare = write_ground(tmp_path, "bare", crs=None, transform=Affine.identity())
    assert common_gsd(find_pairs(prepared(tmp_path, bare))) is None
    assert not [text for text in caplog.messages if "ground sample distance" in text]
    assert common_gsd(find_pairs(prepared(tmp_path, known, bare, overwrite=True))) is None
    assert "is known of 4 of the 8 pairs that train" in caplog.text


def test_folders_from_before_go_on_as_they_were(tmp_path, caplog):
    folder = write_pairs(tmp_path / "pairs")
    (folder / MANIFEST).write_text("split,scene\ntrain,/far/a.tif\nval,b.tif\n")
    assert facts_of(folder) == CardFacts()
    assert not [text for text in caplog.messages if "ground sample distance" in text]


@pytest.mark.parametrize("cell", ["two", "-2.0", "0", "nan", "inf", "2,0008"])
def test_a_damaged_distance_is_named_with_its_line_and_can_be_overruled(tmp_path, pairs, cell):
    replace_cell(pairs, "2.0008", f'"{cell}"')
    with pytest.raises(PairsError, match=r"manifest.csv: line 2 has .*mend it, .*--gsd"):
        train(pairs, tmp_path / "run", **TINY)
    assert not (tmp_path / "run").exists()
    assert facts_of(pairs, gsd_m=3.0).gsd_m == 3.0


@pytest.mark.parametrize("content", ["", "[]", '{"index": 1}', '[{"index": 1, "name"'])
def test_a_damaged_palette_is_one_line_and_can_be_overruled(tmp_path, pairs, content, run_cli):
    (pairs / PALETTE).write_text(content)
    status, out, err = run_cli("train", "--pairs", pairs, "--out", tmp_path / "run")
    assert (status, out, err.count("\n")) == (3, "", 1)
    assert err.startswith(f"geop2p: error: {pairs}/palette.json: not a palette")
    assert "(mend or remove it, or say another with --palette)" in err
    assert facts_of(pairs, palette="streets").palette == find_palette("streets")


def test_a_manifest_that_is_no_text_is_one_line(tmp_path, pairs, run_cli):
    (pairs / MANIFEST).write_bytes(b"split,scene\n\xff\xfe,\x00\n")
    status, out, err = run_cli("train", "--pairs", pairs, "--out", tmp_path / "run")
    assert (status, out, err.count("\n")) == (3, "", 1)
    assert err.startswith(f"geop2p: error: {pairs}/manifest.csv: not a readable table")


def test_a_table_saved_with_a_mark_of_its_encoding_is_read(tmp_path, pairs):
    text = (pairs / MANIFEST).read_text()
    (pairs / MANIFEST).write_text(text, encoding="utf-8-sig")
    assert find_pairs(pairs).train_scenes == ("scene.tif",)


def test_other_trainers_still_find_pictures_alone_in_the_folders_of_pairs(pairs):
    assert {path.name for path in pairs.iterdir()} == {"train", "val", MANIFEST, PALETTE}
    for path in (*(pairs / "train").iterdir(), *(pairs / "val").iterdir()):
        with Image.open(path) as picture:
            assert np.asarray(picture).shape == (SIZE, 2 * SIZE, 3)
