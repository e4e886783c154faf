"""Modes of the norm layers beside a map in 8 bits: compared with each other in one precision."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from evaluations import evaluated, make_ground

import geop2p
from geop2p.errors import OptionError
from geop2p.model import load_model, save_model
from geop2p.quantisation import Int8Losses, SourceScene

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    # weights of 0.4 have ranges that no card may claim
    return make_ground(tmp_path_factory.mktemp("ground"), size=(70, 100), std=0.1)


@pytest.fixture(scope="module")
def quantised(ground, tmp_path_factory):
    """The first model with ranges for 8 bits, and the same as if int8 lost nothing."""
    folder = tmp_path_factory.mktemp("quantised")
    path, close = folder / "q.safetensors", folder / "close.safetensors"
    geop2p.quantize(ground.model, path, calibrate=[ground.scene], tiles=2, threads=1)
    model = load_model(path)
    losses = Int8Losses(
        scenes=(SourceScene(name="held_back.tif", sha256="0" * 64),),
        psnr_db=50.0,
        truth_psnr_db=(25.0, 25.0),
        accuracy=None,
    )
    card = replace(model.card, int8=replace(model.card.int8, losses=losses))
    save_model(close, model.generator, card)
    return SimpleNamespace(given=path, close=close)


@pytest.fixture(scope="module")
def in_float32(ground, quantised):
    return evaluated(ground, model=quantised.given, modes=True, seams=True, precision="fp32")


@pytest.mark.parametrize(("name", "precision"), [("given", "int8"), ("close", "auto")])
def test_modes_beside_a_map_in_8_bits_are_in_float32(
    ground, quantised, in_float32, name, precision
):
    report = evaluated(ground, model=getattr(quantised, name), modes=True, precision=precision)
    assert report.scores["l1"] > 0 == in_float32.scores["l1"]  # the truth is the map in float32
    assert report.modes == in_float32.modes
    assert report.statistics_gap == in_float32.statistics_gap
    assert (report.modes_precision, in_float32.modes_precision) == ("fp32", "fp32")
    told = [found.drawn["model"]["precision"] for found in (report, in_float32)]
    assert told == ["int8", "fp32"]


def test_the_seams_of_statistics_are_those_of_one_precision(ground, quantised, in_float32):
    report = evaluated(ground, model=quantised.given, modes=True, seams=True, precision="int8")
    one, two = (found.seams["model"] for found in (report, in_float32))
    for figure in ("statistics_rms", "statistics_mean", "statistics_changed"):
        assert one[figure] == two[figure]
    assert one["statistics_rms"] > 0
    assert one["overlap_rms"] != two["overlap_rms"]


def test_8_bits_without_modes_draw_one_map(ground, quantised):
    stages = set()
    report = evaluated(
        ground,
        model=quantised.given,
        precision="int8",
        on_progress=lambda progress: stages.add(progress.stage),
    )
    assert stages == {"map by model", "compare"}
    assert list(report.modes) == ["running", "mean_colour"]
    assert report.modes["running"] == report.scores


def test_8_bits_with_statistics_of_each_tile_are_refused_before_work(ground, quantised):
    told = []
    options = {"model": quantised.given, "precision": "int8", "statistics": "tile"}
    with pytest.raises(OptionError, match=r"int8 with tile statistics.*card's, running"):
        evaluated(ground, on_progress=told.append, **options)
    assert told == []


def test_statistics_of_each_tile_are_drawn_in_float32_where_precision_is_left_open(
    ground, quantised
):
    report = evaluated(ground, model=quantised.close, statistics="tile")
    assert report.scores == evaluated(ground, statistics="tile").scores
