"""The options of translation: bands, stretches, nodata values, devices."""

import logging

import numpy as np
import pytest
import torch
from rasterio.enums import ColorInterp
from scenes import identity, landscape, noise, open_raster, random_model, read_raster, write_scene

import geop2p
from geop2p.card import ModelCard
from geop2p.errors import ModelError, OptionError, SceneError
from geop2p.model import save_model
from geop2p.networks import GeneratorConfig, build_generator
from geop2p.pipelines.request import Request


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return random_model(tmp_path_factory.mktemp("model") / "random.safetensors")


def same(scene, out, **options):
    """Translate with the identity; return the report and the map's pixels."""
    report = geop2p.translate(scene, out, generator=identity, **options)
    return report, read_raster(out)[0]


def test_bands_are_translated_in_the_order_asked_for(tmp_path):
    pixels = noise(4, 40, 50)
    scene = write_scene(tmp_path / "scene.tif", pixels, photometric="MINISBLACK")
    _, found = same(scene, tmp_path / "map.tif", bidx=(4, 3, 2))
    assert np.array_equal(found, pixels[[3, 2, 1]])


def test_a_model_names_the_bands_that_it_wants(tmp_path, model):
    scene = write_scene(tmp_path / "scene.tif", noise(5, 40, 50))
    with pytest.raises(SceneError, match=r"5 bands, the model random takes 3.*--bidx 1,2,3"):
        geop2p.translate(scene, tmp_path / "map.tif", model=model)


def test_red_green_and_blue_are_found_among_more_bands(tmp_path):
    rgb = ModelCard(name="rgb", generator=GeneratorConfig(arch="unet_128", ngf=2))
    save_model(tmp_path / "rgb.safetensors", build_generator(rgb.generator), rgb)
    scene = write_scene(tmp_path / "scene.tif", noise(5, 40, 50), photometric="MINISBLACK")
    with open_raster(scene, "r+") as dataset:
        names = ("undefined", "blue", "undefined", "red", "green")
        dataset.colorinterp = [ColorInterp[name] for name in names]
    geop2p.translate(scene, tmp_path / "map.tif", model=tmp_path / "rgb.safetensors")
    with open_raster(tmp_path / "map.tif") as dataset:
        assert dataset.tags()["GEOP2P_BANDS"] == "4,5,2"


def test_a_wrong_number_of_bands_asked_for_is_the_options_fault(tmp_path, model):
    scene = write_scene(tmp_path / "scene.tif", noise(5, 40, 50))
    with pytest.raises(OptionError, match="--bidx names 2 bands, the model random takes 3"):
        geop2p.translate(scene, tmp_path / "map.tif", model=model, bidx=(1, 2))


def test_torch_is_left_as_it_was(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", noise(3, 40, 50))
    before = (torch.get_num_threads(), torch.backends.cudnn.deterministic)
    same(scene, tmp_path / "map.tif", threads=before[0] + 1)
    assert (torch.get_num_threads(), torch.backends.cudnn.deterministic) == before


def test_one_band_can_feed_three(tmp_path, model):
    scene = write_scene(tmp_path / "scene.tif", noise(1, 40, 50))
    asked = geop2p.translate(scene, tmp_path / "asked.tif", model=model, bidx=(1, 1, 1))
    report = geop2p.translate(scene, tmp_path / "map.tif", model=model)
    assert (report.bands, report.sha256) == (3, asked.sha256)
    two = write_scene(tmp_path / "two.tif", noise(2, 40, 50))
    with pytest.raises(SceneError, match=r"2 bands, .*--bidx 1,2,2"):
        geop2p.translate(two, tmp_path / "two_map.tif", model=model)


def test_a_stretch_may_be_given_for_each_band(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", noise(2, 40, 50, dtype="uint16"))
    report, _ = same(scene, tmp_path / "map.tif", stretch=["0,1000", "0,2000"])
    assert report.stretch == "0,1000 0,2000"
    assert report.values_clipped > 0


def test_percentiles_are_taken_of_valid_pixels_once_a_scene(tmp_path):
    pixels = np.arange(90_000, dtype=np.float32).reshape(1, 300, 300)
    valid = np.ones((300, 300), bool)
    valid[:150] = False
    scene = write_scene(tmp_path / "scene.tif", pixels, valid=valid)
    report, _ = same(scene, tmp_path / "map.tif", stretch="0-100%")
    assert report.stretch == "45000,89999"


def test_overviews_do_not_change_percentiles(tmp_path):
    import rasterio

    scene = write_scene(tmp_path / "scene.tif", noise(1, 700, 700, dtype="uint16"))
    before, _ = same(scene, tmp_path / "a.tif", stretch="auto")
    with rasterio.open(scene, "r+") as dataset:
        dataset.build_overviews([2, 4])
    after, _ = same(scene, tmp_path / "b.tif", stretch="auto")
    assert before.stretch == after.stretch


def test_16_bits_for_an_8_bit_model_warn_once_and_name_the_stretch(tmp_path, model, caplog):
    pixels = landscape(3, 300, 300).astype(np.uint16) * 10
    scene = write_scene(tmp_path / "scene.tif", pixels)
    with caplog.at_level(logging.WARNING, logger="geop2p"):
        report = geop2p.translate(scene, tmp_path / "map.tif", model=model, strip_rows=1)
    warnings = [r.getMessage() for r in caplog.records if r.name.startswith("geop2p")]
    assert len(warnings) == 1
    assert "a uint16 scene for a model trained on uint8" in warnings[0]
    assert report.stretch in warnings[0]


def test_the_cards_stretch_can_be_insisted_on(tmp_path, model, caplog):
    scene = write_scene(tmp_path / "scene.tif", noise(3, 40, 50, dtype="uint16"))
    report = geop2p.translate(scene, tmp_path / "map.tif", model=model, stretch="card")
    assert report.stretch == "0,255"
    assert report.values_clipped > 0


def test_several_percentiles_are_refused(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", noise(2, 40, 50))
    with pytest.raises(OptionError, match="all bands at once"):
        same(scene, tmp_path / "map.tif", stretch=["1-99%", "0,5"])


@pytest.mark.parametrize("value", [7, 7.0])
def test_source_nodata_masks_the_map(tmp_path, value):
    pixels = np.full((1, 30, 30), 9, np.uint8)
    pixels[0, :10] = 7
    scene = write_scene(tmp_path / "scene.tif", pixels)
    report, _ = same(scene, tmp_path / "map.tif", src_nodata=value)
    assert report.pixels_invalid == 300
    assert np.array_equal(read_raster(tmp_path / "map.tif")[1], pixels[0] != 7)


def test_a_tile_side_that_does_not_fit_the_network_names_both(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", noise(3, 40, 50))
    with pytest.raises(ModelError, match="expected the same number of tiles"):
        geop2p.translate(scene, tmp_path / "map.tif", generator=lambda x: x[:, :, ::2])


def test_nan_pictures_stop_the_run(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", noise(3, 40, 50))
    with pytest.raises(ModelError, match="drew NaN"):
        geop2p.translate(scene, tmp_path / "map.tif", generator=lambda x: x * float("nan"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"blend": "magic"},
        {"precision": "fp8"},
        {"mask_rule": "some"},
        {"format": "XYZ"},
        {"batch_size": 0},
        {"threads": 0},
        {"device": "tpu"},
        {"overlap": 129},
    ],
    ids=str,
)
def test_words_that_are_no_choice_are_refused(tmp_path, wrong):
    scene = write_scene(tmp_path / "scene.tif", noise(3, 40, 50))
    with pytest.raises(OptionError):
        same(scene, tmp_path / "map.tif", **wrong)


def test_a_gpu_that_is_not_there_is_refused_by_name(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", noise(3, 40, 50))
    with pytest.raises(OptionError, match="use --device cpu"):
        same(scene, tmp_path / "map.tif", device=f"cuda:{torch.cuda.device_count()}")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_draws_within_one_grey_level_of_the_cpu(tmp_path, model):
    scene = write_scene(tmp_path / "scene.tif", landscape(3, 300, 400))
    for device in ("cpu", "cuda"):
        geop2p.translate(scene, tmp_path / f"{device}.tif", model=model, device=device)
    maps = [read_raster(tmp_path / f"{device}.tif")[0].astype(int) for device in ("cpu", "cuda")]
    assert np.abs(maps[0] - maps[1]).max() <= 1


def test_an_interrupted_run_goes_on_and_ends_in_the_same_bytes(tmp_path, model):
    scene = write_scene(tmp_path / "scene.tif", landscape(3, 700, 600))
    whole = geop2p.translate(scene, tmp_path / "whole.tif", model=model, strip_rows=1)

    def interrupt(progress):
        if progress.done >= progress.total // 2:
            raise KeyboardInterrupt

    options = {"model": model, "strip_rows": 1}
    with pytest.raises(KeyboardInterrupt):
        geop2p.translate(scene, tmp_path / "map.tif", on_progress=interrupt, **options)
    assert not (tmp_path / "map.tif").exists()
    report = geop2p.translate(scene, tmp_path / "map.tif", **options)
    assert report.strips_resumed == 2
    assert (report.sha256, report.tiles) == (whole.sha256, whole.tiles)
    assert not list(tmp_path.glob(".*"))


def test_a_bare_function_never_goes_on_from_what_another_left(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", landscape(3, 700, 600))

    def interrupt(_progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        same(scene, tmp_path / "map.tif", strip_rows=1, on_progress=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["scene.tif"]


def test_a_damaged_part_is_made_again(tmp_path, model):
    scene = write_scene(tmp_path / "scene.tif", landscape(3, 700, 600))
    whole = geop2p.translate(scene, tmp_path / "whole.tif", model=model, strip_rows=1)

    def interrupt(progress):
        if progress.done == progress.total:
            part = sorted(tmp_path.glob(".map.tif.*.parts/*.part"))[0]
            content = bytearray(part.read_bytes())
            content[len(content) // 2] ^= 1
            part.write_bytes(content)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        geop2p.translate(
            scene, tmp_path / "map.tif", model=model, strip_rows=1, on_progress=interrupt
        )
    report = geop2p.translate(scene, tmp_path / "map.tif", model=model, strip_rows=1)
    assert report.strips_resumed == 3
    assert report.sha256 == whole.sha256


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_scene_is_the_same_error_from_threads_and_processes(tmp_path, workers):
    scene = write_scene(tmp_path / "scene.tif", noise(3, 400, 400), compress="deflate")
    scene.write_bytes(scene.read_bytes()[:200_000])
    with pytest.raises(SceneError, match="is the file complete"):
        same(scene, tmp_path / "map.tif", workers=workers)


def test_a_running_scheduler_can_be_used(tmp_path, model):
    from distributed import LocalCluster

    scene = write_scene(tmp_path / "scene.tif", landscape(3, 300, 400))
    here = geop2p.translate(scene, tmp_path / "here.tif", model=model, threads=1)
    with LocalCluster(
        n_workers=1, threads_per_worker=2, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as cluster:
        there = geop2p.translate(
            scene,
            tmp_path / "there.tif",
            model=model,
            threads=1,
            scheduler=cluster.scheduler_address,
        )
    assert here.sha256 == there.sha256


def test_no_scheduler_is_a_clear_error(tmp_path, model):
    scene = write_scene(tmp_path / "scene.tif", noise(3, 40, 50))
    with pytest.raises(OptionError, match="no Dask scheduler answers"):
        geop2p.translate(scene, tmp_path / "map.tif", model=model, scheduler="tcp://127.0.0.1:1")


def test_a_request_knows_its_defaults(tmp_path):
    request = Request(scene="scene.tif", out=tmp_path / "map.tif")
    assert (request.overlap, request.blend, request.model) == (None, "cosine", "streets")
