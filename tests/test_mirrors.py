"""Test-time flips: what their mean is, and that a map drawn so keeps the laws."""

import numpy as np
import pytest
import torch
from scenes import identity, landscape, noise, open_raster, random_model, read_raster, write_scene

import geop2p
from geop2p.mirrors import MIRRORS, mirrored_mean
from geop2p.model import load_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return random_model(tmp_path_factory.mktemp("model") / "model.safetensors")


def tiles(count=3, side=16):
    return torch.rand((count, 3, side, side), generator=torch.Generator().manual_seed(0)) * 2 - 1


def lopsided(pictures):
    """A generator that tells left from right, and up from down."""
    shade = torch.linspace(-0.3, 0.4, pictures.shape[3])
    return pictures * 0.5 + shade + 0.5 * shade[:, None] ** 2


def test_the_mean_is_that_of_four_pictures_made_by_hand():
    given = tiles()
    by_hand = [lopsided(given.flip(axes)).flip(axes) for axes in ((), (2,), (3,), (2, 3))]
    found = mirrored_mean(lopsided, given)
    assert torch.allclose(found, torch.stack(by_hand).mean(dim=0), atol=1e-6)
    assert not torch.allclose(found, lopsided(given), atol=0.1)


def test_the_mean_of_a_mirrored_tile_is_the_mirrored_mean():
    given = tiles()
    for axes in MIRRORS:
        assert torch.equal(
            mirrored_mean(lopsided, given.flip(axes)), mirrored_mean(lopsided, given).flip(axes)
        )


def test_a_generator_that_knows_no_sides_draws_the_same_map(tmp_path):
    pixels = noise(3, 300, 400)
    scene = write_scene(tmp_path / "scene.tif", pixels)
    geop2p.translate(scene, tmp_path / "map.tif", generator=identity, tta=True)
    assert np.array_equal(read_raster(tmp_path / "map.tif")[0], pixels)


def test_a_network_draws_the_mean_of_its_four_pictures(tmp_path, model):
    pixels = landscape(3, 256, 256)
    scene = write_scene(tmp_path / "scene.tif", pixels)
    geop2p.translate(scene, tmp_path / "map.tif", model=model, engine="torch", tta=True)
    network = load_model(model).generator.eval()
    tile = torch.from_numpy(pixels).unsqueeze(0) / 127.5 - 1
    with torch.no_grad():
        drawn = [network(tile.flip(axes)).flip(axes) for axes in MIRRORS]
    expected = (torch.stack(drawn).mean(dim=0)[0] + 1) * 127.5
    found = read_raster(tmp_path / "map.tif")[0].astype(np.float32)
    assert np.abs(found - expected.numpy()).max() <= 0.51
    assert np.abs(found - ((drawn[0][0] + 1) * 127.5).numpy()).max() > 5


@pytest.mark.usefixtures("one_thread")
def test_the_mirrored_map_does_not_depend_on_strips_batches_and_workers(tmp_path, model):
    rows, cols = np.mgrid[0:300, 0:400]
    scene = write_scene(tmp_path / "s.tif", landscape(3, 300, 400), valid=rows + cols < 500)
    variants = [{"strip_rows": 1, "batch_size": 1}, {"batch_size": 3}, {"workers": 2}]
    reports = [
        geop2p.translate(scene, tmp_path / f"{i}.tif", model=model, tta=True, threads=1, **variant)
        for i, variant in enumerate(variants)
    ]
    assert len({report.sha256 for report in reports}) == 1


def test_a_mirrored_map_says_so_in_its_tags_and_another_does_not(tmp_path, model):
    scene = write_scene(tmp_path / "scene.tif", landscape(3, 256, 256))
    for name, is_mirrored in (("plain", False), ("mirrored", True)):
        out = tmp_path / f"{name}.tif"
        geop2p.translate(scene, out, model=model, tta=is_mirrored)
        with open_raster(out) as dataset:
            assert ("GEOP2P_TTA" in dataset.tags()) is is_mirrored


def test_an_evaluation_of_a_scene_takes_it_and_one_of_pairs_refuses(tmp_path, model, run_cli):
    pixels = landscape(3, 256, 256)
    scene, truth = (write_scene(tmp_path / f"{name}.tif", pixels) for name in "st")
    given = ("-m", model, "--truth", truth, "--no-seams", "--no-modes", "--draws", 5)
    assert run_cli("evaluate", "--scene", scene, *given, "--tta")[0] == 0
    status, _, said = run_cli("evaluate", "--pairs", tmp_path, "-m", model, "--tta")
    assert (status, "tta is for a scene, not for pairs" in said) == (2, True)
