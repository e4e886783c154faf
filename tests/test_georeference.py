"""A map lies where its scene lies, however that is said."""

from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.rpc import RPC
from scenes import GRID, UTM, identity, noise, open_raster, write_scene

import geop2p
from geop2p.errors import SceneError
from geop2p.pipelines.check import check
from geop2p.raster.georeference import is_same_crs

SIZE = (40, 50)
MOON = (
    'GEOGCS["Moon 2000",DATUM["D_Moon_2000",SPHEROID["Moon_2000_IAU_IAG",1737400,0]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]]'
)
MARS = (
    'PROJCS["Mars_Equicylindrical",GEOGCS["GCS_Mars_2000",DATUM["D_Mars_2000",'
    'SPHEROID["Mars_2000",3396190,169.89444722361179]],PRIMEM["Reference_Meridian",0],'
    'UNIT["degree",0.0174532925199433]],PROJECTION["Equirectangular"],'
    'PARAMETER["latitude_of_origin",0],PARAMETER["central_meridian",180],'
    'PARAMETER["standard_parallel_1",30],UNIT["metre",1]]'
)
ENGINEERING = (
    'ENGCRS["site",EDATUM["here"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],'
    'LENGTHUNIT["metre",1]]'
)
ROTATED_POLE = (
    "+proj=ob_tran +o_proj=longlat +o_lon_p=-162 +o_lat_p=39.25 +lon_0=180 +ellps=WGS84 "
    "+to_meter=0.0174532925199433"
)
CRSS = {
    "projected": UTM,
    "geographic": CRS.from_epsg(4326),
    "feet": CRS.from_epsg(2263),
    "local": CRS.from_wkt('LOCAL_CS["site grid",UNIT["foot",0.3048]]'),
    "engineering": CRS.from_wkt(ENGINEERING),
    "moon": CRS.from_wkt(MOON),
    "mars": CRS.from_wkt(MARS),
    "compound": CRS.from_user_input("EPSG:25832+7837"),
    "three axes": CRS.from_epsg(4979),
    "geocentric": CRS.from_epsg(4978),
    "sphere": CRS.from_string("+proj=sinu +R=6371007.181"),
    "satellite": CRS.from_string("+proj=geos +h=35785831 +lon_0=0 +sweep=y +ellps=WGS84"),
    "shifted": CRS.from_string(
        "+proj=tmerc +lon_0=9 +ellps=bessel +towgs84=598.1,73.7,418.2,0.202,0.045,-2.455,6.7"
    ),
}
TRANSFORMS = {
    "north up": GRID,
    "south up": Affine(2.0, 0.0, 500_000.0, 0.0, 2.0, 5_000_000.0),
    "mirrored": Affine(-2.0, 0.0, 500_000.0, 0.0, -2.0, 5_000_000.0),
    "rotated": Affine(1.7, 0.3, 500_000.0, 0.4, -1.9, 5_000_000.0),
    "sheared": Affine(2.0, 0.5, 500_000.0, 0.0, -2.0, 5_000_000.0),
    "crooked": Affine(0.1234567891234, 0, 12.98765432109876, 0, -0.0987654321987, 45.123456789012),
    "minute": Affine(1e-9, 0.0, 12.1, 0.0, -1e-9, 33.3),
    "identity": Affine.identity(),
}
POINTS = [
    GroundControlPoint(row=0, col=0, x=12.123456789, y=45.1, z=100.25, id="a", info="corner"),
    GroundControlPoint(row=0, col=50, x=12.2, y=45.1, z=3.0, id="b"),
    GroundControlPoint(row=40, col=0, x=12.1, y=45.0, z=1.0, id="c"),
    GroundControlPoint(row=40.5, col=50.25, x=12.25, y=45.05, z=-7.125, id="d"),
]


def virtual(path, extra):
    """Write a VRT of a plain raster, with ``extra`` among its elements."""
    plain = write_scene(path.with_suffix(".tif"), noise(1, *SIZE), crs=None, transform=None)
    path.write_text(
        f'<VRTDataset rasterXSize="{SIZE[1]}" rasterYSize="{SIZE[0]}">{extra}'
        f'<VRTRasterBand dataType="Byte" band="1"><SimpleSource><SourceFilename '
        f'relativeToVRT="1">{plain.name}</SourceFilename><SourceBand>1</SourceBand>'
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    return path


def srs_xml(crs):
    text = crs.to_wkt(version="WKT2_2019").replace("&", "&amp;").replace("<", "&lt;")
    return f"<SRS>{text}</SRS>"


def transform_xml(transform=GRID):
    return f"<GeoTransform>{','.join(map(repr, transform.to_gdal()))}</GeoTransform>"


def points_xml(crs):
    projection = f" Projection={quoteattr(crs.to_wkt())}" if crs else ""
    rows = "".join(
        f'<GCP Id="{p.id}" Info="{p.info or ""}" Pixel="{p.col}" Line="{p.row}" X="{p.x!r}" '
        f'Y="{p.y!r}" Z="{p.z!r}"/>'
        for p in POINTS
    )
    return f"<GCPList{projection}>{rows}</GCPList>"


def values(gcps):
    return [(p.row, p.col, p.x, p.y, p.z) for p in gcps]


def differences(scene, out, **options):
    """Translate; return what says otherwise where the map lies, as rasterio reads both."""
    geop2p.translate(scene, out, generator=identity, **options)
    check(out, scene=scene)
    with open_raster(scene) as before, open_raster(out) as after:
        points = [dataset.tags().get("AREA_OR_POINT") == "Point" for dataset in (before, after)]
        has_crs = before.crs or before.gcps[1]  # it is of a CRS that GeoTIFF says it
        is_kept = {
            "transform": after.transform == before.transform,
            "crs": is_same_crs(after.crs, before.crs),
            "points": values(after.gcps[0]) == values(before.gcps[0]),
            "crs of points": is_same_crs(after.gcps[1], before.gcps[1]),
            "pixel-is-point": points[1] == (points[0] and bool(has_crs)),
        }
    return [name for name, is_so in is_kept.items() if not is_so]


def rpcs_of(path):
    with open_raster(path) as dataset:
        return dataset.rpcs


@pytest.mark.parametrize("name", CRSS)
def test_every_kind_of_crs(tmp_path, name):
    scene = virtual(tmp_path / "scene.vrt", srs_xml(CRSS[name]) + transform_xml())
    assert differences(scene, tmp_path / "map.tif") == []


@pytest.mark.parametrize("format_name", ["COG", "GTiff"])
@pytest.mark.parametrize("is_point", [False, True], ids=["area", "point"])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_every_kind_of_transform(tmp_path, name, is_point, format_name):
    crs = None if name == "minute" else UTM
    scene = write_scene(
        tmp_path / "scene.tif", noise(1, *SIZE), transform=TRANSFORMS[name], crs=crs
    )
    if is_point:
        with open_raster(scene, "r+") as dataset:
            dataset.update_tags(AREA_OR_POINT="Point")
    assert differences(scene, tmp_path / "map.tif", format=format_name) == []


@pytest.mark.parametrize("is_point", [False, True], ids=["area", "point"])
@pytest.mark.parametrize("crs", [CRS.from_epsg(4326), CRSS["moon"], None], ids=str)
def test_ground_control_points_with_and_without_a_crs(tmp_path, crs, is_point):
    scene = virtual(tmp_path / "scene.vrt", points_xml(crs))
    if is_point:
        text = scene.read_text()
        item = '<Metadata><MDI key="AREA_OR_POINT">Point</MDI></Metadata>'
        scene.write_text(text.replace("<VRTRasterBand", f"{item}<VRTRasterBand", 1))
    for format_name in ("COG", "GTiff"):
        assert differences(scene, tmp_path / f"{format_name}.tif", format=format_name) == []


def test_of_points_and_a_transform_what_has_a_crs_is_kept(tmp_path, caplog):
    points = points_xml(CRS.from_epsg(4326))
    both = virtual(tmp_path / "both.vrt", srs_xml(UTM) + transform_xml() + points)
    plain = virtual(tmp_path / "plain.vrt", transform_xml() + points)
    for path in (both, plain):
        geop2p.translate(path, path.with_suffix(".map.tif"), generator=identity)
    with open_raster(tmp_path / "both.map.tif") as found:
        assert (found.transform, found.crs, found.gcps[0]) == (GRID, UTM, [])
    with open_raster(tmp_path / "plain.map.tif") as found:
        assert values(found.gcps[0]) == values(POINTS)
    said = [r.getMessage() for r in caplog.records if "does not keep" in r.getMessage()]
    assert len(said) == 2


@pytest.mark.parametrize("error", [None, 0.0, 1.25])
@pytest.mark.parametrize("has_transform", [False, True])
def test_rational_polynomials(tmp_path, error, has_transform):
    random = np.random.default_rng(0)
    rpcs = RPC(
        **dict.fromkeys(("err_bias", "err_rand"), error),
        **{
            f"{axis}_{part}_coeff": random.normal(0, 1e-3, 20).tolist()
            for axis in ("line", "samp")
            for part in ("num", "den")
        },
        **{
            f"{axis}_{part}": float(random.normal(100, 10))
            for axis in ("line", "samp", "lat", "long", "height")
            for part in ("off", "scale")
        },
    )
    items = "".join(f'<MDI key="{k}">{v}</MDI>' for k, v in rpcs.to_gdal().items())
    transform = srs_xml(UTM) + transform_xml() if has_transform else ""
    xml = f'{transform}<Metadata domain="RPC">{items}</Metadata>'
    scene, out = virtual(tmp_path / "scene.vrt", xml), tmp_path / "map.tif"
    assert differences(scene, out) == []
    before, after = rpcs_of(scene).to_dict(), rpcs_of(out).to_dict()
    for name, value in before.items():
        if not name.startswith("err"):
            np.testing.assert_allclose(after[name], value, rtol=1e-13)


def test_a_world_file(tmp_path):
    scene = write_scene(
        tmp_path / "scene.png", noise(3, *SIZE), driver="PNG", crs=None, transform=None
    )
    for leftover in tmp_path.glob("*.aux.xml"):
        leftover.unlink()
    Path(tmp_path / "scene.pgw").write_text("2\n0.5\n-0.25\n-2\n500000\n4000000\n")
    assert differences(scene, tmp_path / "map.tif") == []
    with open_raster(tmp_path / "map.tif") as found:
        assert found.transform.a == 2
        assert found.transform.b == -0.25


def test_a_side_car_file(tmp_path):
    scene = write_scene(
        tmp_path / "scene.png", noise(3, *SIZE), driver="PNG", crs=None, transform=None
    )
    (tmp_path / "scene.png.aux.xml").write_text(
        f"<PAMDataset>{srs_xml(UTM)}{transform_xml()}</PAMDataset>"
    )
    assert differences(scene, tmp_path / "map.tif") == []
    with open_raster(tmp_path / "map.tif") as found:
        assert (found.crs, found.transform) == (UTM, GRID)


def test_a_crs_that_no_geotiff_keeps_is_refused_before_work(tmp_path):
    crs = CRS.from_string(ROTATED_POLE)
    scene = virtual(tmp_path / "scene.vrt", srs_xml(crs) + transform_xml())
    with pytest.raises(SceneError, match="a GeoTIFF would come back with crs None"):
        geop2p.translate(scene, tmp_path / "map.tif", generator=identity)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["scene.tif", "scene.vrt"]


def test_heights_and_units_tell_two_crs_apart():
    assert not is_same_crs(CRSS["compound"], CRS.from_epsg(25832))
    assert not is_same_crs(CRSS["local"], CRSS["engineering"])
    assert not is_same_crs(UTM, None)
    assert is_same_crs(None, CRS())
