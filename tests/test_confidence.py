"""The raster that says how sure a map is: its values, its laws, and what is refused."""

import numpy as np
import pytest
import torch
from rio_cogeo import cog_validate
from scenes import landscape, open_raster, random_model, read_raster, write_scene

import geop2p
from geop2p.errors import NothingToDoError, OptionError, OutputError
from geop2p.parts import part_folders
from geop2p.pipelines.check import check

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return random_model(tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.fixture(scope="module")
def wedge(tmp_path_factory):
    """A scene with a nodata wedge that leaves some tiles without a valid pixel."""
    rows, cols = np.mgrid[0:460, 0:500]
    path = tmp_path_factory.mktemp("scene") / "wedge.tif"
    return write_scene(path, landscape(3, 460, 500), valid=rows + 0.7 * cols < 420)


def corner(tiles):
    """A generator that draws each tile in the colour of its upper left pixel."""
    return tiles[:, :, :1, :1].expand(-1, -1, *tiles.shape[2:]).contiguous()


def corners(path, levels, *, height=448, width=448):
    """Write a scene whose tiles, 192 apart, begin with these levels, (K, rows, cols)."""
    levels = np.array(levels, np.uint8)
    pixels = levels.repeat(192, axis=1).repeat(192, axis=2)
    filled = np.pad(pixels, ((0, 0), (0, 256), (0, 256)), mode="edge")[:, :height, :width]
    return write_scene(path, filled)


def translated(scene, folder, name="map", **options):
    """Return the report, and the confidence raster's bands."""
    out, beside = folder / f"{name}.tif", folder / f"{name}_confidence.tif"
    report = geop2p.translate(scene, out, confidence=beside, **options)
    return report, read_raster(beside)[0]


def test_known_disagreement_is_known_to_the_number(tmp_path):
    scene = corners(tmp_path / "scene.tif", [[[100, 140], [60, 220]]])
    report, (found,) = translated(scene, tmp_path, generator=corner)
    assert found[100, 200] == pytest.approx(np.std([100, 140]), abs=0.04)
    assert found[200, 100] == pytest.approx(np.std([100, 60]), abs=0.04)
    assert found[200, 200] == pytest.approx(np.std([100, 140, 60, 220]), abs=0.04)
    assert np.isnan(found[:192, :192]).all()
    assert np.isfinite(found).sum() == 448**2 - 4 * 192**2
    assert report.disagreement == pytest.approx(np.sqrt(np.nanmean(found.astype(float) ** 2)))
    assert report.spread is None


def test_bands_count_alike_and_blends_do_not_count(tmp_path):
    scene = corners(tmp_path / "scene.tif", [[[100, 140]], [[50, 50]], [[0, 30]]], height=256)
    found = [
        translated(scene, tmp_path, blend, generator=corner, blend=blend)[1][0, 0, 250]
        for blend in ("linear", "cosine", "cut")
    ]
    assert found == pytest.approx([np.sqrt((20**2 + 15**2) / 3)] * 3, abs=0.04)


def test_values_are_in_the_maps_units(tmp_path):
    pixels = np.zeros((1, 256, 448), np.float32)
    pixels[:, :, 192:] = 1000.0
    scene = write_scene(tmp_path / "scene.tif", pixels)
    _, (found,) = translated(scene, tmp_path, generator=corner, stretch="-500,2500")
    assert found[0, 200] == pytest.approx(500, abs=0.8)


def test_a_generator_that_draws_one_colour_is_sure_everywhere(tmp_path, wedge):
    _, (found,) = translated(wedge, tmp_path, generator=lambda x: torch.full_like(x, 0.1))
    assert np.nanmax(found) == 0.0


def test_it_is_nan_where_the_map_is_masked_or_nothing_is_compared(tmp_path, wedge, model):
    _, bands = translated(wedge, tmp_path, model=model, samples=2)
    valid = read_raster(wedge)[1]
    several = np.zeros(valid.shape, bool)
    several[192:256], several[384:448] = True, True
    several[:, 192:256], several[:, 384:448] = True, True
    assert np.array_equal(np.isfinite(bands[0]), valid & several)
    assert np.array_equal(np.isfinite(bands[1]), valid)
    assert np.nanmin(bands) >= 0
    assert min(np.nanmax(band) for band in bands) > 1


def test_it_lies_on_the_maps_grid_and_says_what_it_is(tmp_path, model):
    scene = write_scene(tmp_path / "scene.tif", landscape(3, 700, 600))
    translated(scene, tmp_path, model=model, samples=2, sample_seed=5)
    beside = tmp_path / "map_confidence.tif"
    with open_raster(beside) as found, open_raster(tmp_path / "map.tif") as drawn:
        assert (found.crs, found.transform, found.shape) == (
            drawn.crs, drawn.transform, drawn.shape,
        )  # fmt: skip
        assert found.descriptions == ("disagreement", "spread")
        assert (set(found.dtypes), found.overviews(2)) == ({"float32"}, [2])
        tags = found.tags()
        others = {name for name, value in drawn.tags().items() if tags.get(name) != value}
        assert others == {"GEOP2P_FILE_SHA256", "GEOP2P_PIXELS_SHA256"}
    assert (tags["GEOP2P_SAMPLES"], tags["GEOP2P_SAMPLE_SEED"]) == ("2", "5")
    assert cog_validate(beside) == (True, [], [])


def test_a_check_reads_it_and_compares_it_with_its_scene(tmp_path, wedge, model):
    translated(wedge, tmp_path, model=model)
    assert check(tmp_path / "map_confidence.tif", scene=wedge).bands == 1


def test_the_map_is_the_same_with_it_and_without(tmp_path, model):
    wedge = write_scene(tmp_path / "scene.tif", landscape(3, 300, 448))
    plain = geop2p.translate(wedge, tmp_path / "plain.tif", model=model)
    asked, _ = translated(wedge, tmp_path, model=model, samples=2)
    assert plain.sha256 == asked.sha256
    assert (plain.confidence, plain.disagreement) == (None, None)


def test_it_does_not_depend_on_strips_batches_and_workers(tmp_path, wedge, model):
    variants = [
        {"strip_rows": 1, "batch_size": 1},
        {"strip_rows": 2, "batch_size": 16},
        {"strip_rows": 1, "workers": 2},
    ]
    for i, variant in enumerate(variants):
        translated(wedge, tmp_path, f"{i}", model=model, samples=2, threads=1, **variant)
    found = {(tmp_path / f"{i}_confidence.tif").read_bytes() for i in range(len(variants))}
    assert len(found) == 1


def test_a_run_that_was_stopped_goes_on_to_the_same(tmp_path, wedge, model):
    options = {"model": model, "samples": 2, "strip_rows": 1}
    _, whole = translated(wedge, tmp_path, "whole", **options)

    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        translated(wedge, tmp_path, on_progress=stop, **options)
    assert part_folders(tmp_path / "map.tif")
    report, found = translated(wedge, tmp_path, **options)
    assert report.strips_resumed == 1
    assert np.array_equal(found, whole, equal_nan=True)


@pytest.mark.parametrize("change", [{"samples": 3}, {"sample_seed": 1}])
def test_other_samples_spread_otherwise_and_disagree_alike(tmp_path, model, change):
    scene = write_scene(tmp_path / "scene.tif", landscape(3, 256, 448))
    given = {"samples": 2, "sample_seed": 0}
    _, one = translated(scene, tmp_path, "one", model=model, **given)
    _, other = translated(scene, tmp_path, "other", model=model, **(given | change))
    assert np.array_equal(one[0], other[0], equal_nan=True)
    assert not np.array_equal(one[1], other[1])


def test_without_overlap_there_are_samples_alone(tmp_path, model):
    scene = write_scene(tmp_path / "scene.tif", landscape(3, 256, 300))
    with pytest.raises(OptionError, match="no pixel has two tiles to compare"):
        translated(scene, tmp_path, model=model, overlap=0)
    report, (spread,) = translated(scene, tmp_path, model=model, overlap=0, samples=2)
    assert report.disagreement is None
    assert np.isfinite(spread).all()


def test_blend_exact_has_samples_alone(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", landscape(3, 256, 300))
    module = torch.nn.Sequential(torch.nn.Dropout(0.25))
    module.field_radius = 8
    with pytest.raises(OptionError, match="a confidence raster with --blend exact"):
        translated(scene, tmp_path, generator=module, blend="exact")
    _, (spread,) = translated(scene, tmp_path, generator=module, blend="exact", samples=2)
    assert np.isfinite(spread).all()


def test_models_without_dropout_are_not_sampled(tmp_path, wedge, run_cli):
    model = random_model(tmp_path / "still.safetensors", dropout=False)
    given = ("--out", tmp_path / "m.tif", "--confidence", tmp_path / "c.tif", "--samples", 3)
    status, _, said = run_cli("translate", wedge, "-m", model, *given)
    assert (status, said.count("\n")) == (2, 1)
    assert "3 samples of still, which has no dropout" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["still.safetensors"]


def test_a_module_with_dropout_is_sampled(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", landscape(3, 256, 300))
    module = torch.nn.Sequential(torch.nn.Dropout(0.25))
    _, bands = translated(scene, tmp_path, generator=module, samples=3)
    assert np.nanmax(bands[0]) == 0.0
    assert np.nanmean(bands[1]) > 5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"samples": 1, "confidence": "c.tif"}, "expected at least 2"),
        ({"samples": 4}, "give --confidence FILE.tif"),
        ({"sample_seed": 5}, "--sample-seed without samples"),
        ({"sample_seed": 0}, "--sample-seed without samples"),
        ({"confidence": "c.tif", "gsd": "model"}, "give --out-gsd model"),
        ({"confidence": "c.png"}, "--confidence writes .tif or .tiff"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, wedge, model, options, said):
    given = {k: tmp_path / v if k == "confidence" else v for k, v in options.items()}
    with pytest.raises(OptionError, match=said):
        geop2p.translate(wedge, tmp_path / "map.tif", model=model, **given)


def test_neither_the_map_nor_the_scene_nor_a_file_that_exists_is_written_over(
    tmp_path, wedge, model
):
    there = tmp_path / "there.tif"
    there.touch()
    for path, said in ((tmp_path / "map.tif", "the map itself"), (wedge, "the scene itself")):
        with pytest.raises(OutputError, match=said):
            geop2p.translate(wedge, tmp_path / "map.tif", confidence=path, overwrite=True)
    with pytest.raises(OutputError, match="exists"):
        geop2p.translate(wedge, tmp_path / "map.tif", model=model, confidence=there)


def test_what_is_there_already_is_skipped_only_with_it(tmp_path, model):
    scene = write_scene(tmp_path / "scene.tif", landscape(3, 256, 300))
    given = {"model": model, "samples": 2}
    translated(scene, tmp_path, **given)
    with pytest.raises(NothingToDoError):
        translated(scene, tmp_path, skip_existing=True, **given)
    with pytest.raises(NothingToDoError):  # the seed that is meant where none is given
        translated(scene, tmp_path, skip_existing=True, sample_seed=0, **given)
    with pytest.raises(OutputError, match="exists, of another number of samples"):
        translated(scene, tmp_path, skip_existing=True, **(given | {"samples": 3}))
    (tmp_path / "map_confidence.tif").unlink()
    with pytest.raises(OutputError, match="is missing"):
        translated(scene, tmp_path, skip_existing=True, **given)


def test_a_scene_of_one_tile_says_that_nothing_is_compared(tmp_path, model, caplog):
    scene = write_scene(tmp_path / "scene.tif", landscape(3, 200, 200))
    report, (found,) = translated(scene, tmp_path, model=model)
    assert np.isnan(found).all()
    assert report.disagreement is None
    assert "no tiles can disagree" in caplog.text


@pytest.mark.parametrize(
    ("options", "said"), [({}, ", on the grid of "), ({"samples": 2}, ", on the grid and mask of ")]
)
def test_check_says_that_it_compared_masks_only_where_they_are_equal(
    tmp_path, wedge, model, run_cli, options, said
):
    translated(wedge, tmp_path, model=model, **options)
    status, told, _ = run_cli("check", tmp_path / "map_confidence.tif", "--scene", wedge)
    assert status == 0
    assert f"{said}{wedge}" in told
