"""The map as data: its palette, its class raster and its polygons, read by other programs."""

import json
import math
import re
import sqlite3
from xml.etree.ElementTree import fromstring

import numpy as np
import pyogrio
import pytest
import rasterio
import rasterio.shutil
import shapely
import torch
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.features import rasterize
from scenes import (
    GRID,
    UTM,
    identity,
    landscape,
    noise,
    open_raster,
    read_raster,
    write_scene,
)

import geop2p
from geop2p.card import ModelCard
from geop2p.cli.translate import _summary
from geop2p.errors import NothingToDoError, OptionError, OutputError
from geop2p.faults import observed
from geop2p.model import save_model
from geop2p.networks import GeneratorConfig, build_generator, initialise
from geop2p.palette import Palette
from geop2p.pipelines.check import check
from geop2p.style import find_palette

PRODUCT = re.compile(r"\.[cv]\.(tif|gpkg)\.\d+\.part")
STREETS = find_palette("streets")
FOUR_M2 = 4.0  # the ground of a pixel of GRID, but for the projection's scale


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A scene whose bits are the colours of classes, a little off, with a masked wedge."""
    rows, cols = np.mgrid[0:320, 0:300]
    labels = landscape(1, 320, 300, seed=3)[0] % 5 + 1
    random = np.random.default_rng(0)
    labels[random.random(labels.shape) < 0.02] = 5
    picture = STREETS.draw(labels.astype(np.uint8)).astype(int)
    pixels = np.clip(picture + random.integers(-4, 5, picture.shape), 0, 255).astype(np.uint8)
    path = tmp_path_factory.mktemp("classes") / "scene.tif"
    return write_scene(path, pixels, valid=rows + cols > 150)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small model with random weights and a palette in its card."""
    config = GeneratorConfig(arch="unet_128", ngf=4)
    generator = build_generator(config)
    initialise(generator, seed=0, std=0.2)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(path, generator, ModelCard(name="small", generator=config, palette=STREETS))
    return path


def translated(scene, folder, **options):
    """Translate by the identity, with all products; return the report."""
    beside = {"classes": folder / "c.tif", "vectors": folder / "v.gpkg"}
    given = {"generator": identity, "palette": "streets", **beside, **options}
    return geop2p.translate(scene, folder / "map.tif", **given)


@pytest.fixture(scope="module")
def made(scene, tmp_path_factory):
    """The folder of a map with all products."""
    folder = tmp_path_factory.mktemp("made")
    translated(scene, folder)
    return folder


def polygons_of(path):
    """Return polygons and columns by name, as pyogrio reads them."""
    meta, _, geometry, columns = pyogrio.raw.read(path, layer="classes")
    return shapely.from_wkb(geometry), dict(zip(meta["fields"], columns, strict=True))


def test_a_snapped_map_has_only_colours_of_the_palette_and_the_scenes_mask(scene, made):
    pixels, valid = read_raster(made / "map.tif")
    scene_pixels, scene_valid = read_raster(scene)
    assert np.array_equal(valid, scene_valid)
    assert np.array_equal(pixels[:, valid], STREETS.snap(scene_pixels)[:, valid])


def test_the_class_raster_is_read_with_its_colours_names_and_place(scene, made):
    pixels, valid = read_raster(scene)
    with open_raster(made / "c.tif") as raster:
        classes = raster.read(1)
        assert (raster.crs, raster.transform, raster.dtypes) == (UTM, GRID, ("uint8",))
        assert raster.nodata == 255
        assert raster.colorinterp[0].name == "palette"
        table = raster.colormap(1)
        tags = raster.tags()
    assert np.array_equal(classes, np.where(valid, STREETS.nearest(pixels), 255))
    assert all(table[entry.index][:3] == entry.colour for entry in STREETS.classes)
    assert json.loads(tags["GEOP2P_PALETTE"]) == STREETS.to_list()


def test_gdal_reads_the_names_of_classes(made, tmp_path):
    rasterio.shutil.copy(made / "c.tif", tmp_path / "c.vrt", driver="VRT")
    names = fromstring((tmp_path / "c.vrt").read_text()).findall(".//CategoryNames/Category")
    assert [name.text for name in names] == [entry.name for entry in STREETS.classes]


def test_overviews_of_the_class_raster_hold_classes(scene, tmp_path):
    pixels = np.repeat(np.repeat(read_raster(scene)[0], 2, axis=1), 2, axis=2)
    translated(write_scene(tmp_path / "wide.tif", pixels), tmp_path, vectors=None)
    with rasterio.open(tmp_path / "c.tif", overview_level=0) as small:
        assert set(np.unique(small.read(1))) <= {1, 2, 3, 4, 5}


def test_the_class_raster_passes_the_check_with_its_scene(scene, model, tmp_path):
    geop2p.translate(scene, tmp_path / "map.tif", model=model, classes=tmp_path / "c.tif")
    assert check(tmp_path / "c.tif", scene=scene).checksum is not None
    assert check(tmp_path / "map.tif", scene=scene).model == "small"


def test_polygons_burn_back_to_the_sieved_classes(scene, tmp_path):
    report = translated(scene, tmp_path, simplify=0.0, min_area=0.0)
    polygons, columns = polygons_of(tmp_path / "v.gpkg")
    with open_raster(tmp_path / "c.tif") as raster:
        classes = raster.read(1)
    burnt = rasterize(
        zip(polygons, columns["class"].tolist(), strict=True),
        out_shape=classes.shape,
        fill=255,
        transform=GRID,
    )
    assert np.array_equal(burnt, classes)
    assert report.polygons == len(polygons)


def test_polygons_have_attributes_a_crs_and_areas_in_square_metres(scene, tmp_path):
    translated(scene, tmp_path, min_area=400.0)
    info = pyogrio.read_info(tmp_path / "v.gpkg", layer="classes")
    polygons, columns = polygons_of(tmp_path / "v.gpkg")
    assert info["crs"] == "EPSG:32633"
    assert json.loads(info["layer_metadata"]["GEOP2P_PALETTE"]) == STREETS.to_list()
    names = {entry.index: entry.name for entry in STREETS.classes}
    assert columns["name"].tolist() == [names[index] for index in columns["class"]]
    assert set(columns["colour"]) <= {"#F2EFE9", "#A3CCFF", "#C8E6B0", "#D9D0C9", "#FFFFFF"}
    assert np.allclose(columns["area_m2"], shapely.area(polygons), rtol=2e-3)
    assert shapely.coverage_is_valid(shapely.transform(polygons, lambda p: np.rint(p * 8) / 8))


def test_what_is_smaller_than_the_area_is_in_no_polygon(scene, tmp_path):
    translated(scene, tmp_path, min_area=400.0, simplify=0.0)
    polygons, _ = polygons_of(tmp_path / "v.gpkg")
    holes = [shapely.Polygon(ring).area for polygon in polygons for ring in polygon.interiors]
    assert shapely.area(polygons).min() >= 400.0
    assert min(holes, default=math.inf) >= 400.0


def test_qgis_finds_a_style_that_names_and_colours_every_class(scene, made):
    with sqlite3.connect(made / "v.gpkg") as base:
        row = base.execute(
            "SELECT styleQML FROM layer_styles WHERE f_table_schema = '' AND f_table_name = "
            "'classes' AND f_geometry_column = 'geom' AND useAsDefault"
        ).fetchone()
        listed = base.execute("SELECT table_name FROM gpkg_contents ORDER BY 1").fetchall()
    renderer = fromstring(row[0].split("\n", 1)[1]).find("renderer-v2")
    found = {one.get("value"): one.get("label") for one in renderer.iter("category")}
    assert found == {str(entry.index): entry.name for entry in STREETS.classes}
    fills = [one.get("value") for one in renderer.iter("Option") if one.get("name") == "color"]
    assert fills == [",".join(map(str, (*entry.colour, 255))) for entry in STREETS.classes]
    assert listed == [("classes",), ("layer_styles",)]


@pytest.mark.slow
def test_products_are_the_same_bytes_for_any_strips_and_workers(scene, model, tmp_path):
    made = []
    for name, options in {
        "a": {"strip_rows": 1},
        "b": {"strip_rows": 100, "batch_size": 3},
        "c": {"workers": 2, "strip_rows": 2},
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        given = {"threads": 2, "generator": None, "model": model, "palette": "card"}
        translated(scene, folder, **given, **options)
        made.append([(folder / file).read_bytes() for file in ("map.tif", "c.tif", "v.gpkg")])
    assert made[0] == made[1] == made[2]


@pytest.mark.parametrize("point", ["before write file", "before rename", "before seal"])
def test_an_interrupted_run_leaves_no_product_and_the_next_makes_all(scene, model, tmp_path, point):
    options = {"generator": None, "model": model, "palette": "card"}

    def stop(reached):
        if reached == point and any(PRODUCT.match(path.name) for path in tmp_path.iterdir()):
            raise KeyboardInterrupt

    with observed(stop), pytest.raises(KeyboardInterrupt):
        translated(scene, tmp_path, **options)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == []
    report = translated(scene, tmp_path, **options)
    assert report.strips_resumed > 0
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["c.tif", "c.tif.aux.xml", "map.tif", "v.gpkg"]


def test_what_a_killed_run_left_of_the_names_of_classes_goes(scene, model, tmp_path):
    left = tmp_path / ".c.tif.aux.xml.99999.part.xml"
    left.write_text("half")
    geop2p.translate(scene, tmp_path / "m.tif", model=model, classes=tmp_path / "c.tif")
    assert not left.exists()
    assert (tmp_path / "c.tif.aux.xml").exists()


def test_another_palette_goes_on_from_the_same_strips(scene, model, tmp_path):
    def stop(reached):
        if reached == "before seal":
            raise KeyboardInterrupt

    out, options = tmp_path / "map.tif", {"model": model}
    with observed(stop), pytest.raises(KeyboardInterrupt):
        geop2p.translate(scene, out, **options)
    assert geop2p.translate(scene, out, palette="roads", **options).strips_resumed > 0


def test_skip_existing_looks_at_every_product(scene, model, tmp_path):
    options = {"generator": None, "model": model, "skip_existing": True}
    translated(scene, tmp_path, **options)
    with pytest.raises(NothingToDoError):
        translated(scene, tmp_path, **options)
    with pytest.raises(OutputError, match=r"v\.gpkg: exists, of another tolerance of outlines"):
        translated(scene, tmp_path, **options, simplify=3.0)
    with pytest.raises(OutputError, match=r"map\.tif: exists, of another palette"):
        translated(scene, tmp_path, **options | {"palette": None})
    (tmp_path / "c.tif").unlink()
    with pytest.raises(OutputError, match=r"c\.tif: is missing, .*--overwrite --skip-existing"):
        translated(scene, tmp_path, **options)


def test_without_a_crs_polygons_are_in_pixels_and_a_line_says_so(tmp_path, caplog):
    plain = write_scene(
        tmp_path / "plain.tif", landscape(3, 300, 280), crs=None, transform=Affine.identity()
    )
    translated(plain, tmp_path)
    polygons, columns = polygons_of(tmp_path / "v.gpkg")
    assert "polygons are in pixels" in caplog.text
    assert shapely.total_bounds(polygons).tolist() == [0, -300, 280, 0]
    assert np.allclose(columns["area_px"], shapely.area(polygons))
    assert pyogrio.read_info(tmp_path / "v.gpkg", layer="classes")["crs"] is None


def test_a_rotated_scene_has_rotated_polygons(tmp_path):
    turned = Affine.translation(500_000, 5_000_000) @ Affine.rotation(30) @ Affine.scale(2, -2)
    path = write_scene(tmp_path / "turned.tif", landscape(3, 300, 280), transform=turned)
    translated(path, tmp_path)
    polygons, columns = polygons_of(tmp_path / "v.gpkg")
    corners = np.array([turned @ corner for corner in ((0, 0), (280, 0), (280, 300), (0, 300))])
    assert shapely.union_all(polygons).symmetric_difference(shapely.Polygon(corners)).area < 0.01
    assert columns["area_m2"].sum() == pytest.approx(280 * 300 * FOUR_M2, rel=2e-3)


def test_ground_control_points_leave_polygons_in_pixels(tmp_path, caplog):
    path = write_scene(tmp_path / "gcps.tif", landscape(3, 300, 280), crs=None, transform=None)
    points = [GroundControlPoint(row=r, col=c, x=c, y=-r) for r in (0, 300) for c in (0, 280)]
    with open_raster(path, "r+") as dataset:
        dataset.gcps = (points, UTM)
    translated(path, tmp_path)
    assert "polygons are in pixels" in caplog.text
    assert "area_px" in polygons_of(tmp_path / "v.gpkg")[1]


def test_a_geographic_scene_has_areas_in_square_metres(tmp_path):
    degree = Affine(1e-5, 0, 15.0, 0, -1e-5, 60.0)
    path = write_scene(
        tmp_path / "s.tif", landscape(3, 300, 280), crs="EPSG:4326", transform=degree
    )
    translated(path, tmp_path)
    _, columns = polygons_of(tmp_path / "v.gpkg")
    metres = 1e-5 * 111_320
    expected = 300 * 280 * metres**2 * math.cos(math.radians(60))
    assert columns["area_m2"].sum() == pytest.approx(expected, rel=0.01)


def test_a_scene_without_a_valid_pixel_has_no_polygon(tmp_path):
    path = write_scene(tmp_path / "s.tif", landscape(3, 300, 280), valid=np.zeros((300, 280), bool))
    assert translated(path, tmp_path).polygons == 0
    assert len(polygons_of(tmp_path / "v.gpkg")[0]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"palette": "card"}, "--classes: a function has no palette in its card"),
        ({"palette": "nothing"}, "nothing: no such file"),
        ({"palette": "buildings"}, "not a palette"),
        ({"classes": "c.png"}, r"c\.png: --classes writes \.tif or \.tiff"),
        ({"vectors": "v.shp"}, r"v\.shp: --vectors writes \.gpkg"),
        ({"vectors": None, "min_area": 3.0}, "--min-area and --simplify .*give --vectors"),
        ({"min_area": -1.0}, "min area -1.0"),
        ({"simplify": math.nan}, "simplify nan"),
    ],
)
def test_options_that_cannot_be_honoured_are_told_before_any_work(
    scene, tmp_path, options, message
):
    with pytest.raises(OptionError, match=message):
        translated(scene, tmp_path, **options)
    assert list(tmp_path.iterdir()) == []


def test_products_must_be_apart_and_are_not_overwritten(scene, tmp_path):
    with pytest.raises(OutputError, match="is the map itself"):
        translated(scene, tmp_path, classes=tmp_path / "map.tif")
    (tmp_path / "c.tif.aux.xml").write_text("<a/>")
    with pytest.raises(OutputError, match=r"c\.tif\.aux\.xml: exists"):
        translated(scene, tmp_path)
    assert translated(scene, tmp_path, overwrite=True).classes == str(tmp_path / "c.tif")


def test_a_palette_needs_three_bands_of_bytes(tmp_path):
    wide = write_scene(tmp_path / "wide.tif", noise(3, 300, 280, dtype="uint16"))
    with pytest.raises(OptionError, match="3 bands of uint16"):
        translated(wide, tmp_path)
    scene = write_scene(tmp_path / "s.tif", landscape(3, 300, 280))
    with pytest.raises(OptionError, match="the map has 1 bands"):
        translated(scene, tmp_path, generator=lambda tiles: torch.mean(tiles, 1, keepdim=True))


def test_class_255_and_unscored_palettes_are_refused(scene, tmp_path):
    last = [{"index": 255, "name": "x", "colour": "#000000"}]
    with pytest.raises(OptionError, match="class 255, which stands for no data"):
        translated(scene, tmp_path, palette=Palette.from_list(last))
    unscored = [{"index": 1, "name": "x", "colour": "#000000", "scored": False}]
    with pytest.raises(OptionError, match="none of the palette's classes is scored"):
        translated(scene, tmp_path, palette=Palette.from_list(unscored))


def test_a_lossy_codec_is_told_with_a_palette(scene, tmp_path, caplog):
    translated(scene, tmp_path, creation_options={"COMPRESS": "JPEG"}, vectors=None)
    assert "no longer the palette's" in caplog.text


def test_one_polygon_is_not_polygons(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", np.full((3, 64, 64), 200, np.uint8))
    report = geop2p.translate(
        scene,
        tmp_path / "m.tif",
        generator=lambda tiles: tiles,
        palette="roads",
        vectors=tmp_path / "v.gpkg",
    )
    assert ", 1 polygon\n" in _summary(report)
