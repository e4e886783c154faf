"""FID, KID and Inception Score of an evaluation, of pairs and of a scene, and what is told of them.

The network is a stand-in that is called as the real one is. All but the first of its features are
0, so that the figures are known, and found in no time.
"""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from evaluations import PALETTE, small_model
from pair_files import write_pairs
from scenes import landscape, read_raster, write_scene
from torch import nn
from torchscript import write_torchscript

import geop2p
from geop2p.card import ModelCard
from geop2p.errors import ModelError
from geop2p.inception import Inception, InceptionScores
from geop2p.model import save_model
from geop2p.networks import GeneratorConfig, build_generator, initialise
from geop2p.pipelines import scene_evaluation

pytestmark = pytest.mark.usefixtures("one_thread")

TOLD = ("FID", "KID", "Inception Score", "pictures")
UNTOLD = "FID, KID and Inception Score: not measured (give --inception FILE.pt"
TILING = {"overlap": 0, "threads": 1, "precision": "fp32"}


class Stand(nn.Module):
    """Features are mean colours, classes follow from them."""

    def forward(self, pictures: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        colours = pictures.float().mean(dim=(2, 3)) / 255
        if return_features:
            return nn.functional.pad(colours, [0, 2045])
        return torch.softmax(8 * nn.functional.pad(colours, [0, 1005]), dim=1)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return write_torchscript(tmp_path_factory.mktemp("inception") / "network.pt", Stand())


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small model for tiles of 256 pixels: few of them make a scene."""
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    config = GeneratorConfig(arch="unet_256", ngf=1)
    generator = build_generator(config)
    initialise(generator, seed=0, std=0.3)
    save_model(path, generator, ModelCard(name="m", generator=config, palette=PALETTE))
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return small_model(tmp_path_factory.mktemp("small") / "s.safetensors", seed=0)


@pytest.fixture(scope="module")
def ground(model, tmp_path_factory):
    """A scene of ten whole squares and a rim, one square with a gap, and its map as the truth."""
    folder = tmp_path_factory.mktemp("ground")
    pixels, valid = landscape(3, 266, 256 * 11), np.ones((266, 256 * 11), bool)
    valid[7, 256 + 9] = False
    scene = write_scene(folder / "scene.tif", pixels, valid=valid)
    kept = folder / "map.tif"
    geop2p.translate(scene, kept, model=model, format="GTiff", **TILING)
    return SimpleNamespace(scene=scene, truth=kept)


def asked(ground, model, **options):
    """Options of an evaluation of the scene's map alone."""
    given = {"seams": False, "modes": False, "draws": 5} | TILING | options
    return {"scene": ground.scene, "truth": ground.truth, "model": model} | given


def expected(network, made, real):
    scores = InceptionScores(Inception(network))
    scores.add(torch.from_numpy(made), torch.from_numpy(real))
    return scores.scores()


def test_a_scene_is_scored_by_its_whole_squares_without_a_gap(ground, model, network, tmp_path):
    pixels, mask = read_raster(ground.truth)
    other = 255 - pixels
    truth = write_scene(tmp_path / "truth.tif", other, valid=mask)
    report = geop2p.evaluate(inception=network, **asked(ground, model, truth=truth))
    starts = [256 * i for i in range(11) if i != 1]
    squares = [np.stack([part[:, :256, x : x + 256] for x in starts]) for part in (pixels, other)]
    assert report.inception == {"model": expected(network, *squares)}
    assert report.inception["model"]["pictures"] == len(starts)
    assert report.inception["model"]["fid"] > 0


def test_a_map_that_is_the_truth_is_at_no_distance(ground, model, network, tmp_path, run_cli):
    page = tmp_path / "page.html"
    words = [str(word) for word in ("--scene", ground.scene, "--truth", ground.truth, "-m", model)]
    tiling = ("--overlap", 0, "--threads", 1, "--precision", "fp32", "--draws", 5)
    status, out, _err = run_cli(
        "evaluate", *words, *tiling, "--no-seams", "--no-modes", "-q",
        "--inception", network, "--page", page,
    )  # fmt: skip
    assert status == 0
    table = out.partition("Inception\n")[2].splitlines()
    assert table[0].split() == " ".join(TOLD).split()
    name, fid, _kid, _score, pictures = table[1].split()
    assert (name, abs(float(fid)) < 1e-3, pictures) == ("m", True, "10")
    assert "not measured" not in out + page.read_text()
    assert all(f"<th>{head}</th>" in page.read_text() for head in TOLD)


def test_pairs_are_scored_both_models(small, network, tmp_path, run_cli):
    pairs = write_pairs(tmp_path / "pairs", train=1, val=20, size=64)
    page = tmp_path / "page.html"
    words = ("evaluate", "--pairs", pairs, "-m", small, "--against", small)
    words += ("--no-modes", "--draws", 5, "-q", "--inception", network)
    status, out, _err = run_cli(*words, "--page", page, "--json")
    assert status == 0
    found = json.loads(out)["inception"]
    assert found["model"] == found["against"]
    assert found["model"]["pictures"] == 20
    assert found["model"]["fid"] > 0
    assert found["model"]["inception_score"] > 1
    row = "".join(
        f"<td>{found['model'][name]:.4f}</td>" for name in ("fid", "kid", "inception_score")
    )
    assert page.read_text().count(f"<tr><td>s</td>{row}<td>20</td></tr>") == 2


def test_a_file_that_is_no_network_is_told_before_anything_is_drawn(
    ground, model, tmp_path, monkeypatch
):
    monkeypatch.setattr(scene_evaluation, "translate", pytest.fail)
    other = tmp_path / "README.md"
    other.write_text("# no network\n")
    with pytest.raises(ModelError, match=r"README\.md: is no TorchScript Inception network"):
        geop2p.evaluate(inception=other, **asked(ground, model))


def test_too_few_pictures_are_told(small, network, tmp_path, run_cli):
    pairs = write_pairs(tmp_path / "pairs", train=1, val=2, size=64)
    words = ("evaluate", "--pairs", pairs, "-m", small, "--no-modes")
    _status, out, _err = run_cli(*words, "--draws", 5, "-q", "--inception", network)
    assert "Inception Score: too few pictures (give 10 pairs or more)" in out
    assert out.partition("Inception\n")[2].splitlines()[1].split() == ["s", "-", "-", "-", "2"]


def test_without_a_network_the_table_and_the_page_say_what_to_give(small, tmp_path, run_cli):
    pairs = write_pairs(tmp_path / "pairs", train=1, val=1, size=64)
    page = tmp_path / "page.html"
    words = ("evaluate", "--pairs", pairs, "-m", small, "--no-modes")
    status, out, _err = run_cli(*words, "--draws", 5, "-q", "--page", page)
    assert status == 0
    assert [line for line in out.splitlines() if line.startswith(UNTOLD)]
    assert f"<p class=note>{UNTOLD}" in page.read_text()
