import json

import numpy as np
import pytest
import shapely
from affine import Affine
from pyogrio.raw import write
from rasterio.crs import CRS
from rasterio.warp import transform
from scenes import GRID, UTM, landscape, write_scene

from geop2p.errors import OptionError, SceneError
from geop2p.raster.burning import metres_per_unit
from geop2p.raster.scene import open_scene
from geop2p.style import parse_style
from geop2p.targets import open_target

BLACK = {"background": "#FFFFFF", "rules": [{"fill": "#000000"}]}


def write_features(path, *geometries, **attributes):
    """Write (type, UTM coordinates of pixel corners) as GeoJSON, which is always WGS 84."""
    features = []
    for kind, pixels in geometries:
        xs, ys = zip(*(GRID @ pixel for pixel in pixels), strict=True)
        lonlat = [list(point) for point in zip(*transform(UTM, "EPSG:4326", xs, ys), strict=True)]
        coordinates = {"Polygon": [lonlat], "LineString": lonlat, "Point": lonlat[0]}[kind]
        geometry = {"type": kind, "coordinates": coordinates}
        features.append({"type": "Feature", "geometry": geometry, "properties": attributes})
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def square(low, high):
    return "Polygon", [(low, low), (high, low), (high, high), (low, high), (low, low)]


def draw(path, scene_path, style, *, rows=None):
    """The red band of the target on the scene's grid."""
    with (
        open_scene(scene_path) as scene,
        open_target(path, onto=scene.spec, style=style and parse_style(style)) as target,
    ):
        return target.read(rows=rows or (0, scene.spec.height))[0][0]


@pytest.fixture
def scene(tmp_path):
    return write_scene(tmp_path / "scene.tif", landscape(3, 60, 60))


def test_a_polygon_in_another_crs_is_burnt_on_its_pixels(tmp_path, scene):
    drawn = draw(write_features(tmp_path / "v.geojson", square(10, 20)), scene, BLACK)
    expected = np.full((60, 60), 255)
    expected[10:20, 10:20] = 0
    assert (drawn == expected).all()


def test_rows_drawn_one_by_one_are_those_drawn_at_once(tmp_path, scene):
    path = write_features(tmp_path / "v.geojson", square(5, 33), square(40, 55))
    whole = draw(path, scene, BLACK)
    assert (draw(path, scene, BLACK, rows=(17, 45)) == whole[17:45]).all()


def test_a_line_is_as_wide_as_its_rule_says_in_metres(tmp_path, scene):
    line = ("LineString", [(30, -5), (30, 65)])
    style = {"background": "#FFFFFF", "rules": [{"fill": "#000000", "width_m": 12}]}
    drawn = draw(write_features(tmp_path / "v.geojson", line), scene, style)
    assert ((drawn == 0).sum(axis=1) == 6).all()  # pixels are 2 m


def test_a_casing_lies_round_the_fill_and_below_every_fill_of_its_order(tmp_path, scene):
    casing = {"colour": "#808080", "width_m": 4}
    style = {"background": "#FFFFFF", "rules": [{"fill": "#000000", "casing": casing}]}
    path = write_features(tmp_path / "v.geojson", square(10, 20), square(20, 30))
    drawn = draw(path, scene, style)
    assert drawn[15, 7:23].tolist() == [255] + [128] * 2 + [0] * 10 + [128] * 2 + [255]
    assert drawn[19, 19] == drawn[20, 20] == 0


def test_a_higher_order_is_drawn_on_top_whatever_the_order_of_features(tmp_path, scene):
    rules = [
        {"where": {"kind": "top"}, "fill": "#000000", "order": 2},
        {"fill": "#808080", "order": 1},
    ]
    path = write_features(tmp_path / "v.geojson", square(10, 20), kind="top")
    content = json.loads(path.read_text())
    below = json.loads(write_features(tmp_path / "w.geojson", square(5, 25)).read_text())
    content["features"] += below["features"]
    path.write_text(json.dumps(content))
    drawn = draw(path, scene, {"background": "#FFFFFF", "rules": rules})
    assert (drawn[15, 15], drawn[7, 7]) == (0, 128)


def test_a_metre_is_a_metre_where_the_crs_stretches_it(tmp_path):
    mercator = CRS.from_epsg(3857)
    lon, lat = transform("EPSG:4326", mercator, [15.0], [60.0])
    grid = Affine(1, 0, lon[0], 0, -1, lat[0])
    path = write_scene(tmp_path / "s.tif", landscape(1, 8, 8), crs=mercator, transform=grid)
    with open_scene(path) as scene:
        assert metres_per_unit(scene.spec) == pytest.approx((0.5, 0.5), rel=0.01)


def test_a_degree_is_shorter_eastwards_than_northwards(tmp_path):
    grid = Affine(0.001, 0, 15, 0, -0.001, 60)
    path = write_scene(tmp_path / "s.tif", landscape(1, 8, 8), crs="EPSG:4326", transform=grid)
    with open_scene(path) as scene:
        assert metres_per_unit(scene.spec) == pytest.approx((55_800, 111_413), rel=1e-3)


def test_a_line_without_a_width_is_refused(tmp_path, scene):
    path = write_features(tmp_path / "v.geojson", ("LineString", [(0, 0), (50, 50)]))
    with pytest.raises(OptionError, match="width_m"):
        draw(path, scene, BLACK)


def test_vectors_elsewhere_draw_nothing_and_are_warned_of(tmp_path, scene, caplog):
    path = write_features(tmp_path / "v.geojson", square(5000, 5010))
    assert (draw(path, scene, BLACK) == 255).all()
    assert "v.geojson: nothing in it is drawn" in caplog.text


def write_layers(path, *, crs, **layers):
    """Write one feature, given in UTM or whatever ``crs`` is, into each layer of a GeoPackage."""
    for name, shape in layers.items():
        write(
            path,
            np.array([shapely.to_wkb(shape)], object),
            [np.array(["x"], object)],
            ["kind"],
            layer=name,
            crs=crs,
            geometry_type=shape.geom_type,
            append=path.exists(),
        )
    return path


def test_layers_of_a_geopackage_are_told_apart(tmp_path, scene):
    house = shapely.box(*(GRID @ (10, 20)), *(GRID @ (20, 10)))
    way = shapely.LineString([GRID @ (0, 40), GRID @ (60, 40)])
    path = write_layers(tmp_path / "v.gpkg", crs="EPSG:32633", houses=house, ways=way)
    rules = [{"layer": "ways", "fill": "#000000", "width_m": 4, "where": {"kind": "x"}}]
    drawn = draw(path, scene, {"background": "#FFFFFF", "rules": rules})
    assert np.flatnonzero((drawn == 0).all(axis=1)).tolist() == [39, 40]
    assert (drawn[:39] == 255).all()


def test_vectors_in_a_crs_without_a_way_to_the_scenes_are_refused(tmp_path, scene):
    moon = "IAU_2015:30100"
    path = write_layers(tmp_path / "v.gpkg", crs=moon, houses=shapely.box(0, 0, 9, 9))
    with pytest.raises(SceneError, match="cannot be brought into its CRS"):
        draw(path, scene, BLACK)


def test_vectors_need_a_style_and_a_scene_with_a_crs(tmp_path, scene):
    path = write_features(tmp_path / "v.geojson", square(10, 20))
    with pytest.raises(OptionError, match="need a --style"):
        draw(path, scene, None)
    plain = write_scene(
        tmp_path / "p.png", landscape(3, 60, 60), driver="PNG", crs=None, transform=None
    )
    with pytest.raises(SceneError, match="has no coordinate reference system"):
        draw(path, plain, BLACK)


@pytest.mark.parametrize("content", [None, "", "not vectors", '{"type": "FeatureCollection"}'])
def test_a_file_that_holds_no_vectors_is_refused_by_name(tmp_path, scene, content):
    path = tmp_path / "v.geojson"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SceneError, match=r"v\.geojson"):
        draw(path, scene, BLACK)
