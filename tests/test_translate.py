"""The laws of translation: nothing but scene, model and options changes a map's bytes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from rio_cogeo import cog_validate
from scenes import identity, landscape, noise, open_raster, random_model, read_raster, write_scene

import geop2p
from geop2p.blend import BLENDS
from geop2p.card import Scaling
from geop2p.grid import Tile, TileGrid
from geop2p.parts import PartStore
from geop2p.pipelines.assembly import map_rows
from geop2p.pipelines.lanes import close_lane, open_lane
from geop2p.pipelines.planning import choose_model, choose_strips, make_plan
from geop2p.pipelines.preflight import check_paths
from geop2p.pipelines.request import Request
from geop2p.pipelines.strips import translate_strip
from geop2p.raster.identity import identity_of
from geop2p.raster.scene import open_source

SIZES = [(1, 1), (1, 300), (255, 257), (256, 256), (700, 900), (1000, 513)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return random_model(tmp_path_factory.mktemp("model") / "random.safetensors")


@pytest.fixture(scope="module")
def wedge(tmp_path_factory):
    """A scene with a nodata wedge that leaves some tiles without a valid pixel."""
    rows, cols = np.mgrid[0:700, 0:900]
    path = tmp_path_factory.mktemp("scene") / "wedge.tif"
    return write_scene(path, landscape(3, 700, 900), valid=rows + 0.7 * cols < 800)


@pytest.mark.parametrize("overlap", [0, 1, 64, 128])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_identity_gives_the_scene_back(tmp_path, size, overlap):
    pixels = noise(3, *size)
    scene = write_scene(tmp_path / "scene.tif", pixels)
    for blend in BLENDS:
        out = tmp_path / f"{blend}.tif"
        geop2p.translate(scene, out, generator=identity, overlap=overlap, blend=blend)
        assert np.array_equal(read_raster(out)[0], pixels)


@pytest.mark.parametrize("dtype", ["uint16", "int16"])
def test_the_identity_gives_16_bit_scenes_back(tmp_path, dtype):
    pixels = noise(2, 300, 400, dtype=dtype)
    scene = write_scene(tmp_path / "scene.tif", pixels)
    geop2p.translate(scene, tmp_path / "map.tif", generator=identity)
    found, _ = read_raster(tmp_path / "map.tif")
    assert found.dtype == dtype
    assert np.array_equal(found, pixels)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_identity_gives_floats_back_within_a_millionth_of_the_stretch(tmp_path, dtype):
    pixels = noise(1, 300, 400, dtype=dtype)
    scene = write_scene(tmp_path / "scene.tif", pixels)
    report = geop2p.translate(
        scene, tmp_path / "map.tif", generator=identity, stretch="-100,200", overlap=100
    )
    found, _ = read_raster(tmp_path / "map.tif")
    assert np.abs(found - pixels).max() <= 300e-6
    assert report.values_clipped == 0


def test_clipped_values_are_counted(tmp_path):
    pixels = np.zeros((1, 300, 300), np.uint8)
    pixels[:, 100:110, 100:110] = 200
    scene = write_scene(tmp_path / "scene.tif", pixels)
    report = geop2p.translate(
        scene, tmp_path / "map.tif", generator=identity, stretch="0,100", strip_rows=1
    )
    assert report.values_clipped == 100


@pytest.mark.parametrize("threads", [1, 2])
def test_the_map_is_the_same_whatever_strips_batches_and_order(tmp_path, wedge, model, threads):
    variants = [
        {"strip_rows": 1, "batch_size": 1},
        {"strip_rows": 2, "batch_size": 3},
        {"strip_rows": 3, "batch_size": 4},
        {"strip_rows": 100, "batch_size": 16},
    ]
    reports = [
        geop2p.translate(wedge, tmp_path / f"{i}.tif", model=model, threads=threads, **variant)
        for i, variant in enumerate(variants)
    ]
    assert len({report.sha256 for report in reports}) == 1


@pytest.mark.parametrize("threads", [1, 2])
def test_worker_processes_make_the_same_map_as_threads(tmp_path, wedge, model, threads):
    options = {"model": model, "threads": threads}
    one = geop2p.translate(wedge, tmp_path / "1.tif", **options)
    two = geop2p.translate(wedge, tmp_path / "2.tif", workers=2, strip_rows=1, **options)
    assert one.sha256 == two.sha256


class ShuffledGrid(TileGrid):
    """A lattice that names the tiles of a row in any order."""

    def tiles(self, strip):
        """Yield the tiles row by row, shuffled within each."""
        random = np.random.default_rng(strip.first)
        for row in range(strip.first, strip.last):
            for col in random.permutation(self.tile_cols):
                yield Tile(row=row, col=int(col))


@pytest.mark.parametrize("threads", [1, 2])
def test_the_map_is_the_same_in_whatever_order_tiles_and_strips_are_made(
    tmp_path, wedge, model, threads
):
    geop2p.translate(wedge, tmp_path / "map.tif", model=model, threads=threads)
    request = Request(scene=str(wedge), out=tmp_path / "x.tif", model=model, threads=threads)
    chosen = choose_model(request)
    with open_source(request.source((1, 2, 3))) as scene:
        plan = make_plan(
            request,
            scene,
            identity=identity_of(request.source(None)),
            chosen=chosen,
            map_format=check_paths(request),
        )
    grid = ShuffledGrid(height=700, width=900)
    job, strips = replace(plan.job, grid=grid), grid.strips(1)
    store = PartStore(tmp_path / "x.tif", {})
    store.open()
    open_lane(job.lane, plan.lane)
    try:
        for strip in reversed(strips):
            store.save(translate_strip(job, strip))
    finally:
        close_lane(job.lane)
    rows = list(map_rows(store, strips, values=job.values, bands=3, rows=512))
    drawn = np.concatenate([pixels for pixels, _ in rows], axis=1)
    assert np.array_equal(drawn, read_raster(tmp_path / "map.tif")[0])


@pytest.mark.parametrize("blend", sorted(BLENDS))
def test_seams_do_not_depend_on_strips_for_any_blend(tmp_path, wedge, model, blend):
    maps = []
    for rows in (1, 100):
        out = tmp_path / f"{rows}.tif"
        geop2p.translate(wedge, out, model=model, strip_rows=rows, blend=blend, overlap=128)
        maps.append(read_raster(out)[0])
    assert np.array_equal(*maps)


def test_every_tile_with_a_valid_pixel_is_generated_exactly_once(tmp_path, wedge):
    calls = []

    def counting(tiles):
        calls.append(len(tiles))
        return tiles

    report = geop2p.translate(
        wedge, tmp_path / "map.tif", generator=counting, batch_size=1, strip_rows=1
    )
    plan_tiles = _tiles_with_data(wedge, overlap=64)
    assert report.tiles == len(calls) == plan_tiles
    assert report.tiles_skipped == 20 - plan_tiles
    assert report.tiles_skipped > 0


def _tiles_with_data(path, *, overlap):
    valid, stride = read_raster(path)[1], 256 - overlap
    return sum(
        bool(valid[row * stride : row * stride + 256, col * stride : col * stride + 256].any())
        for row in range(4)
        for col in range(5)
    )


def test_the_mask_is_the_scenes_to_the_pixel(tmp_path, wedge, model):
    geop2p.translate(wedge, tmp_path / "map.tif", model=model)
    assert np.array_equal(read_raster(tmp_path / "map.tif")[1], read_raster(wedge)[1])


def test_what_stands_under_the_mask_does_not_change_the_map(tmp_path, wedge, model):
    pixels, valid = read_raster(wedge)
    other = write_scene(tmp_path / "other.tif", np.where(valid, pixels, 255 - pixels), valid=valid)
    for name, scene in (("a", wedge), ("b", other)):
        geop2p.translate(scene, tmp_path / f"{name}.tif", model=model)
    assert np.array_equal(read_raster(tmp_path / "a.tif")[0], read_raster(tmp_path / "b.tif")[0])


def test_the_same_input_gives_the_same_bytes(tmp_path, wedge, model):
    reports = [
        geop2p.translate(wedge, tmp_path / f"{i}.tif", model=model, strip_rows=1 + i)
        for i in range(2)
    ]
    assert reports[0].sha256 == reports[1].sha256


@pytest.mark.parametrize("is_masked", [False, True])
def test_a_map_is_a_valid_cog_with_overviews(tmp_path, model, is_masked):
    valid = np.arange(1100)[:, np.newaxis] + np.zeros(600) > 300 if is_masked else None
    scene = write_scene(tmp_path / "scene.tif", landscape(3, 1100, 600), valid=valid)
    geop2p.translate(scene, tmp_path / "map.tif", model=model)
    is_valid, errors, warnings = cog_validate(tmp_path / "map.tif")
    assert (is_valid, errors, warnings) == (True, [], [])
    with open_raster(tmp_path / "map.tif") as dataset:
        assert dataset.overviews(1)


def test_a_module_is_used_in_evaluation_mode_and_left_as_it_was(tmp_path):
    module = torch.nn.Sequential(torch.nn.Dropout(0.9)).train()
    pixels = noise(3, 40, 50)
    scene = write_scene(tmp_path / "scene.tif", pixels)
    geop2p.translate(scene, tmp_path / "map.tif", generator=module)
    assert np.array_equal(read_raster(tmp_path / "map.tif")[0], pixels)
    assert module.training


def test_a_generator_may_draw_another_number_of_bands(tmp_path, wedge):
    report = geop2p.translate(
        wedge, tmp_path / "map.tif", generator=lambda x: x[:, :1], strip_rows=1
    )
    found, valid = read_raster(tmp_path / "map.tif")
    assert report.bands == len(found) == 1
    assert np.array_equal(found[0][valid], read_raster(wedge)[0][0][valid])


def test_a_card_may_ask_for_another_type_of_map(tmp_path, wedge):
    heights = Scaling(dtype="float32", low=-10.0, high=90.0)
    model = random_model(tmp_path / "dsm.safetensors", out_bands=1, map_values=heights)
    geop2p.translate(wedge, tmp_path / "map.tif", model=model)
    found, _ = read_raster(tmp_path / "map.tif")
    assert found.dtype == "float32"
    assert -10 <= found.min() < found.max() <= 90
    assert not np.array_equal(found, np.rint(found))


def test_a_wholly_masked_scene_becomes_a_wholly_masked_map(tmp_path, model):
    scene = write_scene(
        tmp_path / "scene.tif", noise(3, 300, 300), valid=np.zeros((300, 300), bool)
    )
    report = geop2p.translate(scene, tmp_path / "map.tif", model=model)
    found, valid = read_raster(tmp_path / "map.tif")
    assert report.tiles == 0
    assert found.shape == (3, 300, 300)
    assert not valid.any()


def test_progress_counts_all_tiles(tmp_path, wedge, model):
    seen = []
    geop2p.translate(
        wedge, tmp_path / "map.tif", model=model, strip_rows=1, on_progress=seen.append
    )
    assert [entry.done for entry in seen] == [5, 10, 15, 20]
    assert {entry.total for entry in seen} == {20}


def test_strips_hold_enough_tiles_for_full_batches(wedge):
    request = Request(scene=str(wedge), out=wedge.with_name("map.tif"))
    wide = TileGrid(height=5000, width=20_000)
    narrow = TileGrid(height=5000, width=900)
    assert len(choose_strips(request, wide)) == wide.tile_rows
    assert choose_strips(request, narrow)[0].last == 13
    assert choose_strips(request, narrow, group_size=4) == choose_strips(request, narrow)


@pytest.mark.parametrize(("width", "rows"), [(8192, 10), (10_980, 2), (12_500, 7), (200_000, 1)])
def test_strips_fill_large_groups_of_tiles(wedge, width, rows):
    request = Request(scene=str(wedge), out=wedge.with_name("map.tif"))
    grid = TileGrid(height=5000, width=width)
    assert choose_strips(request, grid, group_size=64)[0].last == rows
    assert choose_strips(request, grid)[0].last <= rows


def test_tiles_share_at_most_half_where_no_overlap_is_asked_for(tmp_path):
    pixels = noise(3, 150, 130)
    scene = write_scene(tmp_path / "scene.tif", pixels)
    report = geop2p.translate(scene, tmp_path / "map.tif", generator=identity, tile=64)
    grid = TileGrid(height=150, width=130, size=64, overlap=32)
    assert report.tiles == grid.tile_rows * grid.tile_cols
    assert np.array_equal(read_raster(tmp_path / "map.tif")[0], pixels)
