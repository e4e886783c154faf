"""What an evaluation tells: where its scores come from, its table, its page."""

import json
import re
from hashlib import sha256

import pytest
from evaluations import PALETTE, evaluated, make_ground
from pair_files import write_pairs
from scenes import read_raster, write_scene

import geop2p
from geop2p.pipelines.evaluation_provenance import data_of
from geop2p.pipelines.evaluation_request import Evaluation

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    return make_ground(tmp_path_factory.mktemp("ground"), size=(70, 100))


@pytest.fixture
def pairs(tmp_path):
    return write_pairs(tmp_path / "pairs", train=3, val=5, size=80)


def test_a_report_says_which_model_drew_what_and_how(ground):
    report = evaluated(ground, against=ground.other, blend="linear", engine="torch", tta=True)
    how = {"engine": "torch", "precision": "fp32", "device": "cpu", "statistics": "running"}
    tiling = {"tile": 64, "overlap": 16, "blend": "linear", "tta": True}
    assert report.drawn == {
        key: {"name": path.stem, "path": str(path), "sha256": digest(path), **how, **tiling}
        for key, path in (("model", ground.model), ("against", ground.other))
    }
    assert report.data == {
        "scene": str(ground.scene), "truth": str(ground.truth), "palette": None, "style": None,
    }  # fmt: skip
    assert report.version == geop2p.__version__


def digest(path):
    return sha256(path.read_bytes()).hexdigest()


def test_pairs_are_told_with_their_split_and_size(ground, pairs):
    report = geop2p.evaluate(
        model=ground.model, pairs=pairs, load_size=64, draws=10, statistics="tile"
    )
    assert report.data == {
        "pairs": str(pairs), "split": "val", "direction": "scene-to-map", "load_size": 64,
        "palette": None, "style": None,
    }  # fmt: skip
    drawn = report.drawn["model"]
    assert (drawn["engine"], drawn["precision"], drawn["statistics"]) == ("torch", "fp32", "tile")
    assert (drawn["overlap"], drawn["blend"], drawn["tta"]) == (None, None, None)
    assert report.modes_precision == "fp32"


def test_the_table_and_the_page_say_where_scores_come_from(ground, tmp_path, run_cli):
    page = tmp_path / "page.html"
    words = ("--scene", ground.scene, "--truth", ground.truth, "--model", ground.model)
    tiling = ("--overlap", 16, "--threads", 1, "--no-seams", "--draws", 10)
    status, out, _err = run_cli("evaluate", *words, *tiling, "--page", page)
    assert status == 0
    _first, data, model, *_rest = out.splitlines()
    assert data == f"{ground.scene}, truth {ground.truth}; geop2p {geop2p.__version__}"
    known = digest(ground.model)
    how = "packed fp32 on cpu, tile 64, overlap 16, cosine"
    assert model == f"model {ground.model} (SHA-256 {known[:12]}), {how}"
    text = page.read_text()
    assert f"<p class=note>{data}</p>" in text
    assert f"<p class=note>model {ground.model} (SHA-256 {known}), {how}</p>" in text


def test_secrets_of_a_scenes_address_are_not_told():
    scene = "https://user:secret@example.org/scene.tif?sig=secret"
    told = data_of(Evaluation(scene=scene, truth="labels.tif"), [])
    assert "secret" not in str(told)
    assert told["scene"].startswith("https://example.org/scene.tif")


def test_pixels_of_no_scored_class_are_told(ground, tmp_path, run_cli):
    palette, page = tmp_path / "palette.json", tmp_path / "page.html"
    void = {"index": 3, "name": "void", "colour": "#808080", "scored": False}
    palette.write_text(json.dumps([*PALETTE.to_list(), void]))
    labels = read_raster(ground.labels)[0]
    labels[:, :20] = 3
    truth = write_scene(tmp_path / "labels.tif", labels)
    words = ("evaluate", "--scene", ground.scene, "--model", ground.model, "--overlap", 16)
    words += ("--threads", 1, "--draws", 5, "--no-seams", "--no-modes", "-q", "--palette", palette)
    _status, out, _err = run_cli(*words, "--truth", truth, "--page", page)
    told = "accuracy on 5,000 of 7,000 pixels (the others are of no scored class)"
    assert out.splitlines()[1] == told
    assert f"<p class=note>{told}</p>" in page.read_text()
    found = json.loads(run_cli(*words, "--truth", truth, "--json")[1])
    assert (found["accuracy_pixels"], found["pixels"]) == (5000, 7000)
    assert found["scores"]["accuracy"] == 1
    status, out, _err = run_cli(*words, "--truth", ground.labels)
    assert (status, "accuracy on" in out) == (0, False)


def rows_of(out, title):
    """The cells of a table below its title, by the first cell."""
    _before, _title, table = out.partition(f"{title}\n")
    lines = table.partition("\n\n")[0].splitlines()[1:]
    cells = [re.split(r" {2,}", line) for line in lines]
    return {first: rest for first, *rest in cells}


def test_modes_their_gap_and_one_colour_are_in_the_table_and_on_the_page(
    ground, pairs, tmp_path, run_cli
):
    page = tmp_path / "page.html"
    words = ("evaluate", "--pairs", pairs, "--model", ground.other, "--draws", 10)
    _status, out, _err = run_cli(*words, "--page", page)
    report = geop2p.evaluate(pairs=pairs, model=ground.other, draws=10)
    rows = rows_of(out, "Statistics of the norm layers, all maps in fp32")
    names = {
        "kept statistics": report.modes["running"],
        "each tile's own": report.modes["tile"],
        "kept less each tile's own": report.statistics_gap,
        "each tile's own, dropout": report.modes["training"],
        "one colour, the mean": report.modes["mean_colour"],
    }
    assert list(rows) == list(names)
    text = page.read_text()
    for title, scores in names.items():
        sign = "+" if "less" in title else ""
        l1, psnr = f"{scores['l1']:{sign}.3f}", f"{scores['psnr_db']:{sign}.2f}"
        assert rows[title][:2] == [l1, psnr]
        shown = title.replace("'", "&#x27;")
        assert f"<td>{shown}</td><td>{l1}</td>" in text


def test_without_modes_the_table_has_the_model_and_one_colour(ground, run_cli):
    words = ("--scene", ground.scene, "--truth", ground.truth, "--model", ground.model)
    tiling = ("--overlap", 16, "--threads", 1, "--draws", 10)
    status, out, _err = run_cli("evaluate", *words, *tiling, "--no-seams", "--no-modes", "-q")
    rows = rows_of(out, "Statistics of the norm layers")
    assert (status, list(rows)) == (0, ["kept statistics", "one colour, the mean"])
    assert "seams of" not in out
    report = json.loads(
        run_cli("evaluate", *words, *tiling, "--no-seams", "--no-modes", "-q", "--json")[1]
    )
    assert (report["modes_precision"], report["statistics_gap"], report["seams"]) == (None, {}, {})
