"""Blend ``exact``: the tiled map is the map of the generator run once on the whole scene."""

from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from scenes import (
    identity,
    landscape,
    noise,
    open_raster,
    random_model,
    read_raster,
    write_scene,
)

import geop2p
from geop2p.calibration import METHODS, choose_ranges, observe
from geop2p.card import ModelCard
from geop2p.engines.int8 import Int8Runner, fault_of_int8
from geop2p.errors import OptionError
from geop2p.mirrors import mirrored_mean
from geop2p.model import load_model, save_model
from geop2p.networks import GeneratorConfig, build_generator, initialise
from geop2p.pipelines.lattice import exact_geometry
from geop2p.pipelines.request import Request
from geop2p.pipelines.seam_probe import make_probe_plan
from geop2p.quantisation import Int8Entry, SourceScene

pytestmark = pytest.mark.usefixtures("one_thread")

EXACT = {"blend": "exact", "threads": 1}
GEOMETRY = {6: (60, 256), 9: (84, 512)}
"""Halo and side of tiles, by blocks."""


def residual(path, *, blocks=6, ngf=2, statistics="running"):
    """Write a residual generator with random weights and random statistics; return its path."""
    config = GeneratorConfig(arch=f"resnet_{blocks}blocks", ngf=ngf)
    generator = build_generator(config)
    initialise(generator, seed=3, std=0.1)
    random = torch.Generator().manual_seed(4)
    for norm in (m for m in generator.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        norm.running_mean.normal_(0, 0.3, generator=random)
        norm.running_var.uniform_(0.3, 3, generator=random)
    card = ModelCard(name=path.stem, generator=config, norm_statistics=statistics)
    save_model(path, generator, card)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return residual(tmp_path_factory.mktemp("model") / "residual.safetensors")


def ground(height, width):
    """Smooth squares, and as much noise: no pixel is like its neighbour."""
    return landscape(3, height, width) // 2 + noise(3, height, width) // 2


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return write_scene(tmp_path_factory.mktemp("scene") / "scene.tif", ground(700, 900))


def whole_map(pixels, draw, *, blocks=6):
    """What the generator draws of the whole scene at once, continued as numpy reflects it."""
    (halo, side), (height, width) = GEOMETRY[blocks], pixels.shape[1:]
    beyond = [halo + -length % (side - 2 * halo) for length in (height, width)]
    for axis, far in enumerate(beyond, start=1):
        margins = [(0, 0)] * 3
        margins[axis] = (halo, far)
        pixels = np.pad(pixels, margins, "reflect" if pixels.shape[axis] > 1 else "edge")
    units = torch.from_numpy(pixels / np.float32(127.5) - 1).unsqueeze(0)
    with torch.inference_mode():
        picture = draw(units)[0, :, halo : halo + height, halo : halo + width]
    return np.rint((picture.numpy() + 1) * 127.5)


def differences(found, expected):
    """The largest difference in grey levels, and the share of values that differ."""
    distance = np.abs(found.astype(float) - expected)
    return distance.max(), (distance > 0).mean()


@pytest.mark.parametrize(
    ("radius", "tile", "geometry"),
    [
        (60, 256, (60, 256)),
        (84, 256, (84, 512)),
        (60, 128, (60, 256)),
        (60, 512, (60, 512)),
        (84, 400, (84, 400)),
        (59, 242, (60, 244)),
        (0, 256, (0, 256)),
    ],
)
def test_the_halo_holds_the_field_and_the_tile_four_of_it(radius, tile, geometry):
    assert exact_geometry(radius, tile=tile) == geometry


@pytest.fixture(scope="module")
def expected(model, scene):
    return whole_map(read_raster(scene)[0], load_model(model).generator.eval())


@pytest.mark.parametrize("engine", ["torch", "packed"])
def test_the_tiled_map_is_the_whole_scenes_within_one_grey_level(
    tmp_path, model, scene, engine, expected
):
    geop2p.translate(scene, tmp_path / "map.tif", model=model, engine=engine, **EXACT)
    largest, share = differences(read_raster(tmp_path / "map.tif")[0], expected)
    assert largest <= 1
    assert share < 1e-3
    assert 20 < expected.std() < 100  # neither flat, nor black and white


@pytest.mark.parametrize(
    "options",
    [{"engine": "torch", "precision": "fp32"}, {"engine": "packed", "precision": "fp32"}, {}],
    ids=["torch", "packed", "as by default"],
)
def test_the_bundled_model_draws_of_tiles_what_it_draws_of_the_whole(tmp_path, options):
    with open_raster("sample_tiles/dubai/scene3_part.jpg") as sample:
        pixels = sample.read(window=((300, 700), (400, 950)))
    scene = write_scene(tmp_path / "scene.tif", pixels)
    loaded = load_model("streets-exact")
    report = geop2p.translate(
        scene, tmp_path / "map.tif", model="streets-exact", **options, **EXACT
    )
    draw = loaded.generator.eval()
    if report.precision == "int8":
        draw = Int8Runner(draw, loaded.card.int8.ranges, 1)
    found, expected = read_raster(tmp_path / "map.tif")[0], whole_map(pixels, draw)
    largest, share = differences(found, expected)
    assert largest <= 1
    assert share < 1e-3
    assert 10 < expected.std() < 100


def test_the_map_of_a_fade_is_not_the_whole_scenes(tmp_path, model, scene, expected):
    geop2p.translate(scene, tmp_path / "map.tif", model=model, threads=1)
    largest, share = differences(read_raster(tmp_path / "map.tif")[0], expected)
    assert largest > 1
    assert share > 2e-3


@pytest.mark.slow
@pytest.mark.parametrize("size", [(700, 900), (1, 300), (345, 344)], ids=str)
def test_nine_blocks_have_a_wider_halo_and_tile(tmp_path, size):
    model = residual(tmp_path / "nine.safetensors", blocks=9)
    scene = write_scene(tmp_path / "scene.tif", ground(*size))
    geop2p.translate(scene, tmp_path / "map.tif", model=model, **EXACT)
    expected = whole_map(ground(*size), load_model(model).generator.eval(), blocks=9)
    largest, share = differences(read_raster(tmp_path / "map.tif")[0], expected)
    assert (largest <= 1, share < 1e-3) == (True, True)


@pytest.mark.parametrize("size", [(1, 1), (40, 300), (136, 137)], ids=str)
def test_scenes_of_any_size_are_continued_as_the_whole_is(tmp_path, model, size):
    scene = write_scene(tmp_path / "scene.tif", ground(*size))
    geop2p.translate(scene, tmp_path / "map.tif", model=model, **EXACT)
    expected = whole_map(ground(*size), load_model(model).generator.eval())
    assert differences(read_raster(tmp_path / "map.tif")[0], expected)[0] <= 1


def test_in_8_bits_too_the_tiled_map_is_the_whole_scenes(tmp_path, model):
    loaded = load_model(model)
    if fault_of_int8(loaded.generator) is not None:
        pytest.skip("no 8-bit convolutions here")
    pixels = ground(300, 420)
    units = torch.from_numpy(pixels[None, :, :256, :256] / np.float32(127.5) - 1)
    ranges = choose_ranges(observe(loaded.generator.eval(), [units]), METHODS["least and most"])
    entry = Int8Entry(
        ranges=ranges,
        method="least and most",
        scenes=(SourceScene(name="s", sha256="0" * 64),),
        tiles=1,
    )
    quantised = tmp_path / "int8.safetensors"
    save_model(quantised, loaded.generator, replace(loaded.card, int8=entry))
    scene = write_scene(tmp_path / "scene.tif", pixels)
    geop2p.translate(scene, tmp_path / "map.tif", model=quantised, precision="int8", **EXACT)
    expected = whole_map(pixels, Int8Runner(loaded.generator.eval(), ranges, 1))
    largest, share = differences(read_raster(tmp_path / "map.tif")[0], expected)
    assert largest <= 1
    assert share < 1e-3


def test_the_mean_of_mirror_images_is_the_whole_scenes_too(tmp_path, model):
    scene = write_scene(tmp_path / "scene.tif", ground(140, 150))
    geop2p.translate(scene, tmp_path / "map.tif", model=model, tta=True, **EXACT)
    draw = partial(mirrored_mean, load_model(model).generator.eval())
    largest, share = differences(
        read_raster(tmp_path / "map.tif")[0], whole_map(ground(140, 150), draw)
    )
    assert largest <= 1
    assert share < 1e-3


@pytest.fixture(scope="module")
def wedge(tmp_path_factory):
    """A scene with a nodata wedge that leaves some tiles without a valid pixel."""
    rows, cols = np.mgrid[0:500, 0:620]
    path = tmp_path_factory.mktemp("wedge") / "wedge.tif"
    return write_scene(path, ground(500, 620), valid=rows + 0.7 * cols < 500)


def test_the_map_does_not_depend_on_strips_or_batches(tmp_path, model, wedge):
    variants = [{"strip_rows": 1, "batch_size": 1}, {"strip_rows": 3, "batch_size": 5}, {}]
    reports = [
        geop2p.translate(wedge, tmp_path / f"{i}.tif", model=model, **EXACT | variant)
        for i, variant in enumerate(variants)
    ]
    assert len({report.sha256 for report in reports}) == 1
    assert reports[0].tiles + reports[0].tiles_skipped == 4 * 5
    assert reports[0].tiles_skipped > 0


@pytest.mark.slow
def test_worker_processes_draw_the_same_map(tmp_path, model, wedge):
    options = EXACT | {"model": model, "threads": 2, "strip_rows": 1}
    one = geop2p.translate(wedge, tmp_path / "1.tif", **options)
    two = geop2p.translate(wedge, tmp_path / "2.tif", workers=2, **options)
    assert one.sha256 == two.sha256


def test_pixels_that_see_no_nodata_are_as_in_the_scene_without(tmp_path, model, wedge):
    valid = read_raster(wedge)[1]
    bare = write_scene(tmp_path / "bare.tif", ground(500, 620))
    for name, scene in (("bare", bare), ("wedge", wedge)):
        geop2p.translate(scene, tmp_path / f"map_{name}.tif", model=model, **EXACT)
    maps = [read_raster(tmp_path / f"map_{name}.tif")[0] for name in ("bare", "wedge")]
    rows, cols = np.mgrid[0:500, 0:620]
    sees_all = rows + 60 + 0.7 * (cols + 60) < 500  # all of its field lies above the wedge
    assert np.array_equal(maps[0][:, sees_all], maps[1][:, sees_all])
    assert not np.array_equal(maps[0][:, valid], maps[1][:, valid])


def test_a_scene_that_is_read_in_order_gives_the_same_map(tmp_path, model):
    pixels = ground(500, 300)
    for suffix, driver in ((".tif", "GTiff"), (".png", "PNG")):
        path = write_scene(tmp_path / f"scene{suffix}", pixels, driver=driver, crs=None)
        geop2p.translate(path, tmp_path / f"map{suffix}", model=model, strip_rows=1, **EXACT)
    maps = [read_raster(tmp_path / f"map{suffix}")[0] for suffix in (".tif", ".png")]
    assert np.array_equal(*maps)


def test_a_function_that_states_its_field_is_taken_at_its_word(tmp_path):
    class Blur(torch.nn.Module):
        """A mean of 9 x 9 pixels, zeros beyond the tile's edge."""

        field_radius = 4

        def forward(self, x):
            """Return the mean."""
            return torch.nn.functional.avg_pool2d(x, 9, stride=1, padding=4)

    pixels = ground(300, 420)
    scene = write_scene(tmp_path / "scene.tif", pixels)
    geop2p.translate(scene, tmp_path / "map.tif", generator=Blur(), tile=64, **EXACT)
    padded = np.pad(pixels.astype(float), ((0, 0), (4, 4), (4, 4)), "reflect")
    shifted = [padded[:, i : i + 300, j : j + 420] for i, j in product(range(9), repeat=2)]
    assert differences(read_raster(tmp_path / "map.tif")[0], np.rint(sum(shifted) / 81))[0] <= 1


def test_a_function_without_a_field_radius_is_refused(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", ground(40, 50))
    with pytest.raises(OptionError, match=r"field is not known .use --blend cosine, or give the"):
        geop2p.translate(scene, tmp_path / "map.tif", generator=identity, **EXACT)


@pytest.mark.parametrize(
    ("arch", "norm", "statistics", "reason"),
    [
        ("unet_128", "batch", "running", "is a unet_128, whose pixels each see the whole tile"),
        ("resnet_6blocks", "instance", "running", "has norm layers that take the statistics of"),
        ("resnet_6blocks", "batch", "tile", "has norm layers that take the statistics of"),
    ],
)
def test_generators_that_see_the_whole_tile_are_refused(tmp_path, arch, norm, statistics, reason):
    config = GeneratorConfig(arch=arch, norm=norm, ngf=1)
    card = ModelCard(name="wide", generator=config, norm_statistics=statistics)
    path = tmp_path / "wide.safetensors"
    save_model(path, build_generator(config), card)
    scene = write_scene(tmp_path / "scene.tif", ground(40, 50))
    with pytest.raises(
        OptionError, match=f"model wide {reason}.*use --blend cosine, or a ResNet.*streets-exact"
    ):
        geop2p.translate(scene, tmp_path / "map.tif", model=path, **EXACT)
    assert {path.name for path in tmp_path.iterdir()} == {"scene.tif", "wide.safetensors"}


def test_an_overlap_is_refused_unless_it_is_what_tiles_share(tmp_path, model):
    scene = write_scene(tmp_path / "scene.tif", ground(40, 50))
    with pytest.raises(OptionError, match="overlap 64 and blend exact, where tiles share 120"):
        geop2p.translate(scene, tmp_path / "map.tif", model=model, overlap=64, **EXACT)
    geop2p.translate(scene, tmp_path / "map.tif", model=model, overlap=120, **EXACT)
    with open_raster(tmp_path / "map.tif") as dataset:
        tags = dataset.tags()
    names = ("GEOP2P_TILE", "GEOP2P_OVERLAP", "GEOP2P_BLEND")
    assert [tags[name] for name in names] == ["256", "120", "exact"]


def test_strips_of_another_blend_are_never_used(tmp_path, model, scene):
    requests = [
        Request(scene=str(scene), out=tmp_path / "map.tif", model=model, **options)
        for options in ({"blend": "exact"}, {"blend": "cut", "overlap": 120})
    ]
    exact, cut = (make_probe_plan(request).fingerprint for request in requests)
    assert exact != cut
    assert exact["grid"] != cut["grid"]


def test_a_map_of_centres_has_no_seams_on_any_lattice(tmp_path, model):
    scene = write_scene(tmp_path / "scene.tif", ground(300, 420))
    geop2p.translate(scene, tmp_path / "truth.tif", model=model, **EXACT)
    report = geop2p.evaluate(scene=scene, truth=tmp_path / "truth.tif", model=model, **EXACT)
    seams = report.seams["model"]
    assert seams["shift_pixels"] == 68
    assert seams["shift_mean"] < 1e-3  # none but roundings that fall to the other side
    assert seams["overlap_rms"] is None
    assert list(report.modes) == ["running", "mean_colour"]


def test_a_u_net_is_refused_by_an_evaluation_too(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", ground(40, 50))
    wide = random_model(tmp_path / "wide.safetensors")
    with pytest.raises(OptionError, match="whole tile"):
        geop2p.evaluate(scene=scene, truth=scene, model=wide, **EXACT)
