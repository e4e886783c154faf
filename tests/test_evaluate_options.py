"""Options of an evaluation: vectors and palettes for the truth, statistics, the scene resampled."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
from evaluations import PALETTE, TILING, evaluated, make_ground
from pair_files import write_pairs
from rasterio.warp import transform
from scenes import GRID, UTM, read_raster, write_scene

import geop2p
from geop2p.model import load_model, save_model
from geop2p.pipelines import scene_evaluation

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = (70, 100)
BLACK = {"background": "#FFFFFF", "rules": [{"fill": "#000000"}]}


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    return make_ground(tmp_path_factory.mktemp("ground"), size=SIZE)


def write_square(path, *, low, high):
    """Write a square of pixels as GeoJSON, which is always WGS 84."""
    corners = [(low, low), (high, low), (high, high), (low, high), (low, low)]
    xs, ys = zip(*(GRID @ corner for corner in corners), strict=True)
    ring = [list(point) for point in zip(*transform(UTM, "EPSG:4326", xs, ys), strict=True)]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    feature = {"type": "Feature", "geometry": geometry, "properties": {}}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    return path


def test_a_truth_of_vectors_is_drawn_with_the_style(ground, tmp_path, run_cli):
    style = tmp_path / "black.json"
    style.write_text(json.dumps(BLACK))
    vectors = write_square(tmp_path / "square.geojson", low=10, high=40)
    picture = np.full((3, *SIZE), 255, np.uint8)
    picture[:, 10:40, 10:40] = 0
    words = ("evaluate", "--scene", ground.scene, "--truth", vectors, "--model", ground.model)
    words += ("--overlap", 16, "--threads", 1, "--draws", 50, "--no-seams", "--no-modes", "-q")
    status, out, err = run_cli(*words, "--style", style, "--json")
    assert (status, err) == (0, "")
    drawn = json.loads(out)
    expected = evaluated(ground, truth=write_scene(tmp_path / "picture.tif", picture))
    assert drawn["scores"] == expected.scores
    assert drawn["pixels"] == SIZE[0] * SIZE[1]
    assert (drawn["data"]["style"], drawn["data"]["truth"]) == (str(style), str(vectors))
    status, out, err = run_cli(*words, "--json")
    assert (status, out) == (2, "")
    assert "vectors need a --style" in err


@pytest.mark.parametrize(("low", "where"), [(5000, {}), (10, {"kind": "road"})])
def test_vectors_that_draw_nothing_on_the_scene_are_one_line_and_no_score(
    ground, tmp_path, run_cli, monkeypatch, low, where
):
    monkeypatch.setattr(scene_evaluation, "translate", pytest.fail)
    style, kept = tmp_path / "black.json", tmp_path / "map.tif"
    style.write_text(json.dumps(BLACK | {"rules": [{"fill": "#000000", "where": where}]}))
    vectors = write_square(tmp_path / "square.geojson", low=low, high=low + 10)
    words = ("evaluate", "--scene", ground.scene, "--truth", vectors, "--model", ground.model)
    words += ("--style", style, "--map", kept, "--overlap", 16, "--threads", 1)
    status, out, err = run_cli(*words)
    told = f"{vectors}: nothing in it is drawn on {ground.scene} (do both show the same ground?"
    assert (status, out, err.count("\n")) == (3, "", 1)
    assert err.startswith(f"geop2p: error: {told}")
    assert not kept.exists()


@pytest.mark.parametrize("kind", ["scene", "pairs"])
def test_the_palette_that_is_given_goes_before_the_cards(ground, tmp_path, kind):
    palette = tmp_path / "palette.json"
    known = zip((1, 2), ("night", "day"), (c.colour for c in PALETTE.classes), strict=True)
    entries = [
        {"index": index, "name": name, "colour": "#{:02X}{:02X}{:02X}".format(*colour)}
        for index, name, colour in known
    ]
    palette.write_text(json.dumps(entries))
    if kind == "scene":
        one, two = (evaluated(ground, truth=ground.labels, palette=p) for p in (None, palette))
    else:
        pairs = write_pairs(tmp_path / "pairs", train=1, val=2, size=64)
        one, two = (
            geop2p.evaluate(pairs=pairs, model=ground.model, draws=5, modes=False, palette=p)
            for p in (None, palette)
        )
    assert list(two.scores["classes"]) == ["night", "day"]
    assert list(two.scores["classes"].values()) == list(one.scores["classes"].values())
    assert (one.data["palette"], two.data["palette"]) == (None, str(palette))


def test_pairs_of_other_classes_than_the_cards_are_warned_of(ground, tmp_path, run_cli):
    pairs = write_pairs(tmp_path / "pairs", train=1, val=2, size=64)
    words = ("evaluate", "--pairs", pairs, "-m", ground.model, "--draws", 5, "--no-modes", "--json")
    words += ("-q",)
    own = pairs / "palette.json"

    def scored(*options):
        status, out, err = run_cli(*words, *options)
        return status, json.loads(out)["scores"], err

    plain = scored()
    assert (plain[0], plain[2]) == (0, "")
    own.write_text(json.dumps(PALETTE.to_list()))
    assert scored() == plain
    other = [entry | {"index": 5 + i} for i, entry in enumerate(PALETTE.to_list())]
    own.write_text(json.dumps(other))
    status, scores, err = scored()
    assert (status, scores, err.count("\n")) == (0, plain[1], 1)
    assert f"{own}: the pairs' classes are 5 dark, 6 light, scored are" in err
    assert f"the card of a: 1 dark, 2 light (to score the pairs' own, give --palette {own})" in err
    assert scored("--palette", own)[2] == ""
    own.write_text("{}")
    status, scores, err = scored()
    assert (status, scores, err.count("\n")) == (0, plain[1], 1)
    assert "palette.json: not a palette" in err


def test_the_statistics_of_pairs_are_those_of_their_mode(ground, tmp_path):
    options = {"pairs": write_pairs(tmp_path / "pairs", train=1, val=3, size=64), "draws": 5}
    modes = geop2p.evaluate(model=ground.model, **options).modes
    assert len({scores["l1"] for scores in modes.values()}) == 4
    for mode in ("running", "tile", "training"):
        report = geop2p.evaluate(model=ground.model, statistics=mode, modes=False, **options)
        assert (report.statistics, report.scores) == (mode, modes[mode])
        assert list(report.modes) == [mode, "mean_colour"]
        assert (report.modes_precision, report.statistics_gap) == (None, {})
        assert report.drawn["model"]["statistics"] == mode


def test_a_resampled_scene_is_scored_on_its_own_grid_without_seams(
    ground, tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr(logging.getLogger("geop2p"), "propagate", True)
    model = load_model(ground.model)
    coarse, page = tmp_path / "coarse.safetensors", tmp_path / "page.html"
    save_model(coarse, model.generator, replace(model.card, gsd_m=3.0))
    truth = tmp_path / "truth.tif"
    geop2p.translate(ground.scene, truth, model=coarse, gsd="model", format="GTiff", **TILING)
    assert (read_raster(truth)[0] != read_raster(ground.truth)[0]).any()
    options = {"truth": truth, "gsd": "model", "seams": True, "modes": True, "page": page}
    report = evaluated(ground, model=coarse, **options)
    assert (report.scores["l1"], report.pixels) == (0, SIZE[0] * SIZE[1])
    assert list(report.modes) == ["running", "tile", "mean_colour"]
    assert report.modes["tile"]["l1"] > 0
    assert report.seams == {}
    assert "no seams with --gsd model: its map is resampled" in caplog.text
    assert "Seams" not in page.read_text()
