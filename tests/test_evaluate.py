import json
import re
import tempfile

import numpy as np
import pytest
import torch
from evaluations import HEIGHT, PALETTE, TILING, WIDTH, evaluated, make_ground, small_model
from pair_files import write_pairs
from scenes import identity, landscape, read_raster, write_scene

import geop2p
from geop2p.batches import PairStore
from geop2p.card import ModelCard, Scaling
from geop2p.errors import OptionError
from geop2p.model import load_model, save_model
from geop2p.networks import GeneratorConfig, build_generator
from geop2p.pairs import find_pairs
from geop2p.pipelines.request import Request
from geop2p.pipelines.seam_probe import disagreement, make_probe_plan, probe
from geop2p.recipe import TrainingConfig
from geop2p.validation import Validator

pytestmark = pytest.mark.usefixtures("one_thread", "own_temporaries")


@pytest.fixture
def own_temporaries(tmp_path, monkeypatch):
    """Temporary files of a test lie in a folder of its own, and are gone when it ends."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    assert list(folder.glob("geop2p-*")) == []


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    return make_ground(tmp_path_factory.mktemp("ground"))


def test_a_map_that_is_the_truth_scores_perfect(ground):
    report = evaluated(ground)
    scores = report.scores
    assert (scores["l1"], scores["psnr_db"], scores["accuracy"], scores["mean_f1"]) == (
        0,
        100,
        1,
        1,
    )
    assert (report.items, report.pixels) == (2, HEIGHT * WIDTH)
    assert report.intervals["l1"] == [0, 0]


@pytest.mark.parametrize(("labels", "accuracy"), [("labels", 1), ("swapped", 0)])
def test_labels_tell_the_true_classes(ground, labels, accuracy):
    report = evaluated(ground, truth=getattr(ground, labels))
    assert report.scores["accuracy"] == accuracy
    assert report.scores["classes"]["dark"]["f1"] == accuracy


def test_a_masked_scene_is_compared_where_it_is_valid(ground, tmp_path):
    pixels, valid = landscape(3, HEIGHT, WIDTH), np.ones((HEIGHT, WIDTH), bool)
    valid[:, 200:] = False
    scene = write_scene(tmp_path / "scene.tif", pixels, valid=valid)
    options = {"truth": ground.truth, "seams": True, "modes": False} | TILING
    report = geop2p.evaluate(model=ground.model, scene=scene, **options)
    assert report.pixels == valid.sum()
    assert report.seams["model"]["overlap_rms"] > 0


def test_the_map_that_is_kept_is_the_one_that_translate_makes(ground, tmp_path):
    options = TILING | {"overlap": 8, "blend": "cut"}
    evaluated(ground, map_path=tmp_path / "kept.tif", **options)
    made = geop2p.translate(ground.scene, tmp_path / "made.tif", model=ground.model, **options)
    assert (tmp_path / "kept.tif").read_bytes() == (tmp_path / "made.tif").read_bytes()
    assert made.bands == 3


def test_other_statistics_are_scored_beside_the_cards(ground):
    report = evaluated(ground, modes=True, seams=True)
    assert report.seams["model"]["statistics_rms"] > 0
    assert list(report.modes) == ["running", "tile", "mean_colour"]
    assert report.modes["running"] == report.scores
    gap = report.scores["l1"] - report.modes["tile"]["l1"]
    assert report.statistics_gap["l1"] == pytest.approx(gap, abs=1e-3) != 0


def test_the_statistics_that_are_scored_are_chosen(ground):
    report = evaluated(ground, statistics="tile", modes=True)
    assert report.statistics == "tile"
    assert report.modes["tile"] == report.scores != report.modes["running"]
    assert report.modes["running"]["l1"] == 0


def test_maps_of_other_types_are_scored_in_their_values(ground, tmp_path):
    config = GeneratorConfig(arch="resnet_6blocks", ngf=2, out_bands=1)
    values = Scaling(dtype="uint16", low=0, high=10_000)
    card = ModelCard(name="heights", generator=config, tile=64, map_bands=("m",), map=values)
    path, truth, page = (tmp_path / name for name in ("m.safetensors", "truth.tif", "page.html"))
    save_model(path, build_generator(config), card)
    geop2p.translate(ground.scene, truth, model=path, **TILING)
    pixels = read_raster(truth)[0]
    truth = write_scene(tmp_path / "other.tif", pixels + np.uint16(7))
    report = evaluated(ground, model=path, truth=truth, page=page, seams=True)
    assert (report.scores["l1"], report.scores["within_5"]) == (7, 1)
    assert "accuracy" not in report.scores
    assert "No classes" in page.read_text()


def test_a_model_is_no_better_than_itself_and_better_than_a_worse_one(ground):
    same = evaluated(ground, truth=ground.labels, against=ground.model)
    assert same.differences["l1"] == {"difference": 0, "low": 0, "high": 0}
    worse = evaluated(ground, truth=ground.truth, against=ground.other)
    assert worse.against == "b"
    assert worse.differences["l1"]["high"] < 0 < worse.differences["accuracy"]["low"]
    assert worse.differences["classes"]["dark"]["iou"]["difference"] > 0


def plan_of(ground, tmp_path, generator):
    tiling = TILING | {"tile": 64, "blend": "cut"}
    request = Request(
        scene=str(ground.scene), out=tmp_path / "map.tif", generator=generator, **tiling
    )
    geop2p.translate(ground.scene, request.out, generator=generator, **tiling)
    return make_probe_plan(request)


def measured(plan, tmp_path):
    pixels = landscape(3, HEIGHT, WIDTH)
    valid = np.ones((HEIGHT, WIDTH), bool)

    def truth(rows):
        return pixels[:, slice(*rows)], valid[slice(*rows)]

    return probe(plan, plan.request.out, folder=tmp_path, palette=PALETTE, truth=truth).figures


def test_the_identity_has_no_seams(ground, tmp_path):
    figures = measured(plan_of(ground, tmp_path, identity), tmp_path)
    assert (figures["overlap_rms"], figures["shift_rms"], figures["shift_changed"]) == (0, 0, 0)
    assert figures["gradient_ratio"] == figures["gradient_ratio_of_truth"]
    assert len(figures["tile_rows"]) == 3


def frame(tiles):
    """A generator that draws a frame in every tile, and so seams."""
    framed = 0.2 * tiles
    framed[..., :4], framed[..., -4:] = -1, 1
    return framed


def test_a_generator_that_draws_frames_has_seams(ground, tmp_path):
    figures = measured(plan_of(ground, tmp_path, frame), tmp_path)
    assert figures["overlap_rms"] > 50
    assert figures["shift_rms"] > 5
    assert all(row["overlap_rms"] > 50 for row in figures["tile_rows"])


def steps(tiles):
    """A generator whose tiles are lighter from one batch to the next."""
    steps.count += 1
    return 0.1 * tiles + (steps.count % 2) - 0.5


def test_tiles_of_another_brightness_show_as_gradients(ground, tmp_path):
    steps.count = 0
    plan = plan_of(ground, tmp_path, steps)
    figures = measured(plan, tmp_path)
    assert figures["gradient_ratio"] > 1.5 * figures["gradient_ratio_of_truth"]


def test_what_tiles_disagree_in_is_what_they_draw_alone(ground, tmp_path):
    plan = plan_of(ground, tmp_path, lambda tiles: tiles.mean(dim=(2, 3), keepdim=True) + 0 * tiles)
    (whole, *_rows) = disagreement(plan).measured()
    pixels = landscape(3, HEIGHT, WIDTH).astype(np.float64)
    left, right = (np.rint(pixels[:, :64, c : c + 64].mean(axis=(1, 2))) for c in (0, 48))
    heat = disagreement(plan).heat.picture()
    assert heat[10, 50] == pytest.approx(np.sqrt(((left - right) ** 2).mean()))
    assert whole["rms"] > 0


@pytest.fixture
def pairs(tmp_path):
    return write_pairs(tmp_path / "pairs", train=3, val=5, size=80)


def test_pairs_are_scored_as_training_scores_them(ground, pairs):
    report = geop2p.evaluate(model=ground.model, pairs=pairs, draws=50)
    config = GeneratorConfig(arch="resnet_6blocks", ngf=2)
    store = PairStore(find_pairs(pairs).val, load_size=0)
    validator = Validator(
        store=store, config=TrainingConfig(generator=config, crop_size=64), palette=PALETTE
    )
    generator = load_model(ground.model).generator
    for mode in ("running", "tile"):
        expected = validator.score(generator, mode=mode, indexes=range(5))
        found = report.modes[mode]
        for name in ("l1", "psnr_db", "ssim", "accuracy", "mean_iou"):
            assert found[name] == pytest.approx(expected[name], abs=2e-4), (mode, name)
    assert list(report.modes) == ["running", "tile", "training", "mean_colour"]
    assert report.modes["mean_colour"]["l1"] == pytest.approx(
        validator.score_baseline(indexes=range(5))["l1"], abs=0.01
    )


@pytest.mark.parametrize(("split", "count"), [("val", 5), ("train", 3), ("all", 8)])
def test_a_split_is_chosen(ground, pairs, split, count):
    report = geop2p.evaluate(model=ground.model, pairs=pairs, split=split, modes=False, draws=10)
    assert (report.items, report.kind) == (count, "pairs")


def test_pairs_are_read_in_the_direction_of_the_card(ground, pairs, tmp_path):
    training = {"options": {"direction": "map-to-scene"}}
    back = small_model(tmp_path / "back.safetensors", seed=0, training=training)
    options = {"pairs": pairs, "modes": False, "draws": 10}
    found = {
        (model, direction): geop2p.evaluate(model=model, **options, **direction_of(direction))
        for model in (ground.model, back)
        for direction in (None, "scene-to-map", "map-to-scene")
    }
    l1 = {key: report.scores["l1"] for key, report in found.items()}
    assert l1[back, None] == l1[back, "map-to-scene"] != l1[back, "scene-to-map"]
    assert l1[ground.model, None] == l1[ground.model, "scene-to-map"] == l1[back, "scene-to-map"]
    with pytest.raises(OptionError, match=r"a: scene-to-map, back: map-to-scene"):
        geop2p.evaluate(model=ground.model, against=back, **options)


def direction_of(word):
    return {} if word is None else {"direction": word}


def test_a_page_needs_nothing_else_and_shows_best_median_and_worst(ground, tmp_path, run_cli):
    page = tmp_path / "page.html"
    words = ("--scene", ground.scene, "--truth", ground.labels, "--model", ground.model)
    tiling = ("--overlap", 16, "--threads", 1)
    status, out, _err = run_cli(
        "evaluate", *words, "--against", ground.other, *tiling, "--page", page, "--json"
    )
    report = json.loads(out)
    text = page.read_text(encoding="utf-8")
    assert status == 0
    assert not re.search(r'(src|href)="(?!data:)', text)
    shown = sum(len(items) for items in report["shown"].values())
    assert text.count("<img") == 1 + shown * 4  # seams; scene, truth and two maps of each
    assert all(title in text for title in ("Classes", "Seams", "paired interval", "worst: row"))
    assert report["seams"].keys() == {"model", "against"}


def test_the_table_tells_pairs(ground, pairs, run_cli):
    words = ("evaluate", "--pairs", pairs, "--model", ground.model, "--load-size", 64)
    status, out, err = run_cli(*words, "--draws", 10)
    assert status == 0
    assert out.startswith("a: 5 pairs, 20480 pixels, running statistics")
    assert "PSNR, dB" in out
    assert "compare 100%" in err


FAULTS = {
    "neither": ((), 2, "give --pairs DIR"),
    "no truth": (("--scene", "{scene}"), 2, "--truth belong together"),
    "both": (("--scene", "{scene}", "--truth", "{truth}", "--pairs", "."), 2, "give --pairs DIR"),
    "alien": (("--pairs", "{pairs}", "--overlap", "16"), 2, "overlap is for a scene"),
    "alien flag": (("--pairs", "{pairs}", "--no-seams"), 2, "--no-seams is for a scene, not for"),
    "mode": (
        ("--scene", "{scene}", "--truth", "{truth}", "--statistics", "training"), 2, "choose from",
    ),
    "empty": (("--pairs", "{empty}"), 3, "no pairs found"),
    "small": (("--pairs", "{small}", "--split", "all"), 3, "give --load-size 64"),
    "size": (
        ("--scene", "{scene}", "--truth", "{wide}", "--overlap", "9"), 3, "no coordinate reference",
    ),
    "no network": (("--pairs", "{pairs}", "--inception", "{scene}"), 4, "no TorchScript"),
    "exists": (("--pairs", "{pairs}", "--page", "{there}"), 5, "there.html: exists"),
    "no page": (("--pairs", "{pairs}", "--page", "page.pdf"), 2, "a page is HTML"),
    "no map": (
        ("--scene", "{scene}", "--truth", "{truth}", "--map", "m.png"), 2, "name it .tif",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_input_is_one_line(ground, tmp_path, pairs, run_cli, fault):
    words, status, text = FAULTS[fault]
    (tmp_path / "empty").mkdir()
    (tmp_path / "there.html").write_text("old")
    wide = write_scene(tmp_path / "wide.tif", landscape(3, HEIGHT, 300), crs=None)
    small = write_pairs(tmp_path / "small", train=1, val=0, size=40)
    names = {"empty": tmp_path / "empty", "there": tmp_path / "there.html", "wide": wide}
    names |= {"pairs": pairs, "small": small, "scene": ground.scene, "truth": ground.truth}
    words = [word.format(**names) for word in words]
    found, out, err = run_cli("evaluate", "--model", ground.model, *words, "-q")
    assert (found, out) == (status, "")
    last = err.strip().splitlines()
    assert len([line for line in last if "error" in line]) == 1
    assert text in last[-1]
    assert (tmp_path / "there.html").read_text() == "old"


def test_two_models_must_draw_the_same_kind_of_map(ground, tmp_path):
    config = GeneratorConfig(arch="resnet_6blocks", ngf=2, out_bands=1)
    path = tmp_path / "grey.safetensors"
    card = ModelCard(name="grey", generator=config, tile=64, map_bands=("grey",))
    save_model(path, build_generator(config), card)
    with pytest.raises(geop2p.OptionError, match="bands of the map 1, a 3"):
        evaluated(ground, against=path)


def test_torch_is_left_as_it_was(ground, pairs):
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    geop2p.evaluate(model=ground.model, pairs=pairs, draws=10)
    assert torch.equal(torch.random.get_rng_state(), before)
