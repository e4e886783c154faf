"""The comparison of recipes: runs go on where they stopped, and the table says what was found."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pair_files import TINY, write_pairs
from PIL import Image

import geop2p

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
PALETTE = [
    {"index": 1, "name": "dark", "colour": "#282828"},
    {"index": 2, "name": "bright", "colour": "#E6E6E6"},
]
NETWORK = {name: value for name, value in TINY.items() if name not in ("epochs", "epochs_decay")}
NETWORK.pop("device")


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.syspath_prepend(BENCHMARKS / "models")
    monkeypatch.delitem(sys.modules, "scenes", raising=False)  # the tests have one of that name
    import compare
    import recipe_table
    import variants

    return compare, recipe_table, variants


@pytest.fixture
def arguments(tmp_path):
    """What to compare on: pairs, a held-back scene of 48 x 40 pixels, a palette, a folder."""
    pairs = write_pairs(tmp_path / "pairs")
    palette = tmp_path / "palette.json"
    palette.write_text(json.dumps(PALETTE))
    random = np.random.default_rng(7)
    labels = random.integers(1, 3, (40, 48), dtype=np.uint8)
    Image.fromarray(labels).save(tmp_path / "labels.png")
    Image.fromarray(np.repeat(labels[..., None] * 90, 3, axis=2)).save(tmp_path / "scene.png")
    return [
        *(str(pairs), str(tmp_path / "runs"), "--epochs", "1", "1", "--device", "cpu"),
        *("--held-back", str(tmp_path / "scene.png"), str(tmp_path / "labels.png")),
        *("--palette", str(palette), "--results", str(tmp_path / "results")),
    ]


def kept(tmp_path, name="recipes"):
    return json.loads((tmp_path / f"results/{name}.json").read_text())["figures"]


def test_runs_are_trained_once_scored_and_told_with_what_was_not_run(
    benchmarks, arguments, tmp_path, monkeypatch
):
    compare, recipe_table, variants = benchmarks
    table = [
        variants.Variant(name="one", what="the first", options=NETWORK, drawn={"overlap": 4}),
        variants.Variant(name="two", what="never run", options=NETWORK | {"lambda_l1": 10.0}),
    ]
    compare.main([*arguments, "--variants", "one"], variants=table)
    model = tmp_path / "runs/one-0/model.safetensors"
    trained = model.stat().st_mtime_ns
    found = kept(tmp_path)["one"]["0"]
    scored = geop2p.evaluate(
        scene=tmp_path / "scene.png",
        truth=tmp_path / "labels.png",
        model=model,
        precision="fp32",
        overlap=4,
        modes=False,
    )
    assert found["held_back"]["scores"]["psnr_db"] == pytest.approx(scored.scores["psnr_db"], 1e-3)
    assert found["choosing"]["items"] == 2
    assert (found["steps"], found["pictures"], found["batch_size"]) == (12, 12, 1)

    monkeypatch.setattr(compare, "_scored", lambda **_: pytest.fail("scored twice"))
    compare.main([*arguments, "--variants", "one"], variants=table)
    assert model.stat().st_mtime_ns == trained

    told = recipe_table.recipes({"figures": kept(tmp_path)}, variants=table)
    assert f"{found['held_back']['scores']['psnr_db']:.2f}" in told
    (line,) = [line for line in told.splitlines() if line.startswith("| `two` ")]
    assert "not run" in line


def test_the_table_of_roads_has_a_line_a_variant_that_was_run(benchmarks):
    _compare, recipe_table, variants = benchmarks

    def run(psnr_db, iou):
        scores = {"l1": 5.0, "psnr_db": psnr_db, "accuracy": 0.9, "mean_iou": 0.6}
        scores["classes"] = {"road": {"accuracy": 0.5, "iou": iou}}
        return {"batch_size": 1, "steps": 9, "hours": 0.1, "choosing": {"scores": scores}}

    table = [
        variants.Variant(name=name, what=name, options=NETWORK) for name in ("one", "two", "three")
    ]
    content = {
        "figures": {"two": {"0": run(20.0, 0.2), "1": run(22.0, 0.4)}, "one": {"0": run(19.0, 0.1)}}
    }
    told = recipe_table.roads_recipes(content, variants=table).splitlines()[2:]
    assert [line.split("|")[1].strip() for line in told] == ["`one`", "`two`"]
    assert told[0].endswith("| 5.0 | 19.00 | 90.0% | 60.0% | 50.0% | 10.0% | 0.10 |")
    assert "| 21.00 (20.00 to 22.00) |" in told[1]
    assert "| 30.0% (20.0% to 40.0%) |" in told[1]


def test_figures_of_comparisons_at_the_same_time_are_all_kept(benchmarks, arguments, tmp_path):
    compare, _table, _variants = benchmarks
    asked = compare._parsed(arguments)
    names = [f"run{number}" for number in range(6)]
    with ThreadPoolExecutor(len(names)) as threads:
        kept_all = [
            threads.submit(compare.keep, {"steps": 1}, name, seed=0, asked=asked) for name in names
        ]
    assert [each.result() for each in kept_all] == [None] * len(names)
    assert sorted(kept(tmp_path)) == sorted(names)


def test_every_variant_has_options_that_training_takes(benchmarks):
    _compare, _table, variants = benchmarks
    from geop2p.pipelines.training_options import Settings

    names = [variant.name for variant in variants.VARIANTS]
    assert len(set(names)) == len(names)
    for variant in variants.VARIANTS:
        Settings(**variant.options).check()
        assert variant.run_name in names
        assert variant.teacher in ("", *names)


def test_the_best_recipe_is_the_variant_that_was_chosen(benchmarks):
    _compare, _table, variants = benchmarks
    from geop2p.pipelines.recipe_files import read_recipe
    from geop2p.pipelines.training_options import Settings

    (chosen,) = [variant for variant in variants.VARIANTS if variant.name == "light-gan"]
    assert {**chosen.drawn} == {}
    assert (chosen.teacher, chosen.pairs, chosen.trained_as) == ("", "", "")
    best = read_recipe("best")
    length = {name: best[name] for name in ("recipe", "epochs", "epochs_decay")}
    assert Settings(**best) == Settings(**chosen.options | length)


def test_a_pupil_waits_for_its_teacher_and_pairs_may_be_its_own(benchmarks, arguments, tmp_path):
    compare, _table, variants = benchmarks
    pupil = NETWORK | {"ngf": 3, "lambda_distill": 50.0}
    table = [
        variants.Variant(name="teacher", what="wide", options=NETWORK),
        variants.Variant(
            name="pupil",
            what="slim",
            options=pupil,
            teacher="teacher",
            pairs="_of_its_own",
        ),
    ]
    with pytest.raises(SystemExit, match=r"teacher-0, which is not finished: run it first"):
        compare.main([*arguments, "--variants", "pupil"], variants=table)
    write_pairs(tmp_path / "pairs_of_its_own", train=4)
    compare.main([*arguments, "--name", "taught"], variants=table)
    assert kept(tmp_path, "taught")["teacher"]["0"]["pictures"] == 12
    assert kept(tmp_path, "taught")["pupil"]["0"]["pictures"] == 8
    assert not (tmp_path / "results/recipes.json").exists()


def test_a_variant_that_is_none_is_named(benchmarks, arguments):
    compare, _table, variants = benchmarks
    table = [variants.Variant(name="one", what="the first", options=NETWORK)]
    with pytest.raises(SystemExit, match="no variant two"):
        compare.main([*arguments, "--variants", "one", "two"], variants=table)


def test_a_training_that_is_stopped_ends_the_comparison(benchmarks, arguments, monkeypatch):
    compare, _table, variants = benchmarks
    table = [variants.Variant(name="one", what="the first", options=NETWORK)]
    monkeypatch.setattr(compare.geop2p, "train", lambda *_, **__: None)
    with pytest.raises(SystemExit, match="was stopped before its last epoch"):
        compare.main(arguments, variants=table)


def test_the_table_in_the_documents_is_what_was_recorded(benchmarks):
    import page

    text = (BENCHMARKS.parent / "docs/models.md").read_text(encoding="utf-8")
    assert "<!-- measured:recipes -->" in text
    assert page.MARKED.sub(page._block, text) == text, "run: python benchmarks/page.py"
