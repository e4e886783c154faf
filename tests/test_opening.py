"""What may be opened, and what is said of everything else."""

import os
import re
import socket
import subprocess
import sys

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from scenes import GRID, UTM, landscape, noise, open_raster, random_model, write_scene

from geop2p.errors import SceneError
from geop2p.raster.opening import SceneSource, open_dataset
from geop2p.raster.scene import describe, open_scene, open_source

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
CONTENTS = {
    "pointer.tif": (LFS, "a Git LFS pointer, not the raster itself"),
    "annex.tif": (b"/annex/objects/MD5-s7--0", "a git-annex pointer"),
    "empty.tif": (b"", "an empty file"),
    "zeros.tif": (bytes(4096), "only zeros"),
    "text.tif": (b"dear reader\n", "a text of 12 bytes"),
    "page.tif": (b"<!DOCTYPE html><html><body>404</body></html>", "an HTML page"),
    "list.tif": (b"<?xml version='1.0'?><ListBucket/>", "an XML file, and no VRT"),
    "points.tif": (b'{"type": "FeatureCollection"}', "a JSON text"),
    "scene.tif.gz": (b"\x1f\x8b\x08\x00" + bytes(60), "a gzip archive"),
    "scene.zip": (b"PK\x03\x04" + bytes(60), "a ZIP archive"),
    "paper.tif": (b"%PDF-1.7\n%\xe2\xe3", "a PDF"),
    "cube.h5": (b"\x89HDF\r\n\x1a\n" + bytes(60), "an HDF5 or NetCDF-4 file"),
    "cube.nc": (b"CDF\x01" + bytes(60), "a NetCDF file"),
    "roads.shp": (b"\0\0\x27\x0a" + bytes(96), "a shapefile"),
    "roads.gpkg": (b"SQLite format 3\0" + bytes(96), "an SQLite data base"),
    "short.tif": (b"II*\0\xff\xff\0\0" + bytes(8), "a truncated TIFF: its directory lies at byte"),
    "noise.tif": (bytes(range(128, 255)), "not a raster that can be opened: it begins with"),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_what_is_no_scene_is_named(tmp_path, name):
    content, finding = CONTENTS[name]
    (tmp_path / name).write_bytes(content)
    assert_refused(tmp_path / name, f"{name}: {finding}")


def test_special_files_are_named_and_never_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.tif")
    (tmp_path / "lost.tif").symlink_to(tmp_path / "gone.tif")
    (tmp_path / "ring.tif").symlink_to(tmp_path / "ring.tif")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket.tif"))
        assert_refused(tmp_path / "socket.tif", "a socket")
    assert_refused(tmp_path / "pipe.tif", r"a pipe \(FIFO\)")
    assert_refused(tmp_path / "lost.tif", "a link to .*gone.tif, which is missing")
    assert_refused(tmp_path / "ring.tif", "cannot be read: Too many levels of symbolic links")
    assert_refused(tmp_path, "a folder")
    assert_refused("/dev/zero", "a device")
    assert_refused(tmp_path / ("x" * 300), "cannot be read: File name too long")
    assert_refused("a\0b.tif", "a NUL character in the name")
    assert_refused("", "no such file|a folder")


def test_a_file_without_rights_is_named(tmp_path):
    path = write_scene(tmp_path / "scene.tif", noise(1, 8, 8))
    path.chmod(0)
    user = os.geteuid()
    if user == 0:  # root may read everything
        os.seteuid(65534)
    try:
        assert_refused(path, "no permission to read it")
    finally:
        os.seteuid(user)


@pytest.mark.parametrize(
    "name", ["https://a.invalid/x.tif", "/vsicurl/http://a.invalid/x", "s3://b/k", "/vsimem/x.tif"]
)
def test_the_network_needs_leave(name):
    assert_refused(name, r"not a local file \(--allow-network opens it\)")


def test_a_connection_string_is_a_file_name_like_others(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_scene(tmp_path / "scene.tif", noise(1, 8, 8))
    for name in ("GTIFF_DIR:1:scene.tif", "vrt:scene.tif", "<VRTDataset/>", "WMS:scene.tif"):
        assert_refused(name, "no such file")
    (tmp_path / "GTIFF_DIR:1:scene.tif").write_bytes(b"dear reader")
    assert_refused("GTIFF_DIR:1:scene.tif", "a text of 11 bytes")


@pytest.mark.parametrize("name", ["a b#c?d=1&e.tif", "zip!x.tif", "äöü.tif", "file:x.tif"])
def test_odd_names_are_opened_as_they_are(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    pixels = noise(1, 8, 8)
    write_scene(tmp_path / "plain.tif", pixels).rename(tmp_path / name)
    with open_scene(name) as scene:
        assert np.array_equal(scene.read(rows=(0, 8))[0], pixels)


def test_a_driver_outside_the_list_is_not_tried(tmp_path):
    write_scene(tmp_path / "scene.gif", noise(1, 8, 8), driver="GIF", crs=None, transform=None)
    assert_refused(tmp_path / "scene.gif", "a GIF picture")
    (tmp_path / "scene.asc").write_text(
        "ncols 2\nnrows 1\nxllcorner 0\nyllcorner 0\ncellsize 1\n1 2\n"
    )
    assert_refused(tmp_path / "scene.asc", "a text")


def test_a_scene_larger_than_the_limit_is_refused_with_the_option_that_lifts_it(tmp_path):
    path = write_scene(tmp_path / "scene.tif", noise(1, 30, 40))
    with (
        pytest.raises(SceneError, match=r"40 x 30 pixels, 1200 in all.*--max-pixels 1200"),
        open_source(SceneSource(path=str(path), max_pixels=1199)),
    ):
        pass


def test_a_small_file_that_declares_much_is_doubted_until_the_size_is_meant(tmp_path):
    path = tmp_path / "sparse.tif"
    grid = {"width": 60_000, "height": 50_000, "count": 1, "dtype": "uint8"}
    with rasterio.open(
        path, "w", driver="GTiff", tiled=True, SPARSE_OK=True, crs=UTM, transform=GRID, **grid
    ):
        pass
    assert_refused(path, "60000 x 50000 .* are 3000000000 bytes, in a file of .*--max-pixels")
    with open_source(SceneSource(path=str(path), max_pixels=3_000_000_000)) as scene:
        assert scene.spec.width == 60_000


def test_a_huge_block_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "strip.tif"
    grid = {"width": 20_000, "height": 16_000, "count": 1, "dtype": "uint8", "SPARSE_OK": True}
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        tiled=True,
        blockxsize=20_000,
        blockysize=16_000,
        crs=UTM,
        transform=GRID,
        **grid,
    ):
        pass
    with (
        pytest.raises(SceneError, match="blocks of 20000 x 16000 pixels take 320000000 bytes"),
        open_source(SceneSource(path=str(path), max_pixels=2**34)),
    ):
        pass


BAND = '<VRTRasterBand dataType="Byte" band="1" {extra}>{source}</VRTRasterBand>'
SIMPLE = (
    '<SimpleSource><SourceFilename relativeToVRT="1">{}</SourceFilename>'
    "<SourceBand>1</SourceBand></SimpleSource>"
)


def write_vrt(path, source, *, extra="", size=8):
    band = BAND.format(extra=extra, source=source)
    path.write_text(f'<VRTDataset rasterXSize="{size}" rasterYSize="{size}">{band}</VRTDataset>')
    return path


def test_a_vrt_is_read_through_its_sources(tmp_path):
    pixels = noise(1, 8, 8)
    write_scene(tmp_path / "scene.tif", pixels)
    write_vrt(tmp_path / "inner.vrt", SIMPLE.format("scene.tif"))
    path = write_vrt(tmp_path / "outer.tif", SIMPLE.format("inner.vrt"))
    with open_scene(path) as scene:
        assert np.array_equal(scene.read(rows=(0, 8))[0], pixels)


@pytest.mark.parametrize(
    ("source", "finding"),
    [
        (SIMPLE.format("gone.tif"), "its source .*gone.tif: no such file"),
        (SIMPLE.format("page.tif"), "its source .*page.tif: an HTML page"),
        (SIMPLE.format("self.vrt"), "a VRT that is made of itself"),
        (SIMPLE.format("/vsicurl/http://a.invalid/x.tif"), "names /vsicurl/.*--allow-network"),
        (SIMPLE.format("https://u:p@a.invalid/x.tif?sig=1"), r"names https://a.invalid/x.tif\?sig"),
        (SIMPLE.format("GTIFF_DIR:1:scene.tif"), "made of 'GTIFF_DIR:1:scene.tif', which is no"),
        (SIMPLE.format("&lt;VRTDataset/&gt;"), "made of '<VRTDataset/>', which is no file name"),
        (SIMPLE.format("GDAL_WMS:x"), "which is no file name"),
    ],
)
def test_a_vrt_whose_source_is_unfit_fails_with_its_name(tmp_path, source, finding):
    (tmp_path / "page.tif").write_bytes(b"<html></html>")
    write_scene(tmp_path / "scene.tif", noise(1, 8, 8))
    assert_refused(write_vrt(tmp_path / "self.vrt", source), finding)


def test_a_warped_vrt_is_checked_too(tmp_path):
    (tmp_path / "warped.vrt").write_text(
        '<VRTDataset rasterXSize="8" rasterYSize="8" subClass="VRTWarpedDataset"><GDALWarpOptions>'
        '<SourceDataset relativeToVRT="1">gone.tif</SourceDataset></GDALWarpOptions></VRTDataset>'
    )
    assert_refused(tmp_path / "warped.vrt", "its source .*gone.tif: no such file")


def test_python_in_a_vrt_is_refused_and_never_run(tmp_path):
    write_scene(tmp_path / "scene.tif", noise(1, 8, 8))
    canary = tmp_path / "canary"
    code = (
        "<PixelFunctionType>f</PixelFunctionType><PixelFunctionLanguage>Python"
        "</PixelFunctionLanguage><PixelFunctionCode><![CDATA[open("
        + repr(str(canary))
        + ", 'w')]]>"
        "</PixelFunctionCode>"
    )
    path = write_vrt(
        tmp_path / "code.vrt",
        code + SIMPLE.format("scene.tif"),
        extra='subClass="VRTDerivedRasterBand"',
    )
    assert_refused(path, "a VRT with a pixel function in Python")
    assert not canary.exists()


def test_entities_and_nesting_are_bounded(tmp_path):
    bomb = '<!DOCTYPE a [<!ENTITY x "xxxxxxxxxx">]><VRTDataset>&x;</VRTDataset>'
    (tmp_path / "bomb.vrt").write_text(bomb)
    assert_refused(tmp_path / "bomb.vrt", "a document type or entities")
    for depth in range(12):
        write_vrt(tmp_path / f"{depth}.vrt", SIMPLE.format(f"{depth + 1}.vrt"))
    assert_refused(tmp_path / "0.vrt", "VRTs nested more than 8 deep")


@pytest.mark.parametrize("suffix", [".msk", ".ovr"])
def test_a_sidecar_that_is_xml_is_refused(tmp_path, suffix):
    path = write_scene(tmp_path / "scene.tif", noise(1, 8, 8))
    (tmp_path / f"scene.tif{suffix}").write_text("<GDAL_WMS><Service/></GDAL_WMS>")
    assert_refused(path, f"scene.tif{suffix}: XML, where a raster is expected")


def test_an_overview_on_the_network_is_refused(tmp_path):
    path = write_scene(tmp_path / "scene.tif", noise(1, 8, 8))
    (tmp_path / "scene.tif.aux.xml").write_text(
        '<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">'
        "/vsicurl/http://a.invalid/x.ovr</MDI></Metadata></PAMDataset>"
    )
    assert_refused(path, "scene.tif.aux.xml: it names /vsicurl/http://a.invalid/x.ovr")


def test_sidecars_are_read(tmp_path):
    path = write_scene(tmp_path / "scene.tif", noise(1, 32, 32))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), open_raster(path, "r+") as dataset:
        dataset.write_mask(np.arange(1024).reshape(32, 32) > 99)
    (tmp_path / "scene.tif.aux.xml").write_text(
        '<PAMDataset><Metadata><MDI key="PLACE">Ulm</MDI></Metadata></PAMDataset>'
    )
    assert (tmp_path / "scene.tif.msk").exists()
    assert describe(path)["tags"]["PLACE"] == "Ulm"
    with open_scene(path) as scene:
        assert (~scene.read(rows=(0, 32))[1]).sum() == 100


TRANSLATE = ("translate", "--stretch", "auto")


def state(folder):
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()}


@pytest.mark.parametrize("suffix", ["tif", "png", "jpg", "jp2", "webp", "bmp", "img", "bsq", "vrt"])
def test_no_command_touches_the_folder_of_the_scene(tmp_path, run_cli, suffix):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir(), out.mkdir()
    scene = write_any(folder / f"scene.{suffix}", landscape(3, 150, 170))
    model = random_model(out / "model.safetensors")
    before = state(folder)
    for arguments in (
        ["info", scene],
        [*TRANSLATE, scene, "--out", out / "map.tif", "--model", model, "--preview", out / "a.png"],
        ["prepare", scene, "--target", scene, "--out", out / "pairs", "--size", 32],
    ):
        status, _, err = run_cli(*arguments)
        assert (status, state(folder)) == (0, before), (arguments, err)


DRIVERS = {"tif": "GTiff", "png": "PNG", "jpg": "JPEG", "jp2": "JP2OpenJPEG", "webp": "WEBP"}
DRIVERS |= {"bmp": "BMP", "img": "HFA", "bsq": "ENVI"}


def write_any(path, pixels):
    """Write pixels in the format of the suffix; a VRT beside the GeoTIFF that it shows."""
    if path.suffix == ".vrt":
        source = write_scene(path.with_suffix(".tif"), pixels)
        bands = "".join(
            f'<VRTRasterBand dataType="Byte" band="{band}"><SimpleSource>'
            f'<SourceFilename relativeToVRT="1">{source.name}</SourceFilename>'
            f"<SourceBand>{band}</SourceBand></SimpleSource></VRTRasterBand>"
            for band in (1, 2, 3)
        )
        size = f'rasterXSize="{pixels.shape[2]}" rasterYSize="{pixels.shape[1]}"'
        path.write_text(f"<VRTDataset {size}>{bands}</VRTDataset>")
        return path
    if path.suffix == ".tif":
        write_scene(path, pixels)
        with open_raster(path, "r+") as dataset:
            dataset.build_overviews([2], Resampling.average)
        return path
    where = {"crs": None, "transform": None}
    return write_scene(path, pixels, driver=DRIVERS[path.suffix[1:]], **where)


@pytest.fixture
def served(tmp_path):
    """Serve a folder from a process of its own: GDAL keeps Python's lock while it waits."""
    program = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    with subprocess.Popen(
        [*program, "--directory", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        yield "http://127.0.0.1:" + re.search(r"port (\d+)", server.stdout.readline())[1]
        server.kill()


def test_a_url_is_read_with_leave(tmp_path, served):
    pixels = noise(1, 64, 64)
    write_scene(tmp_path / "scene.tif", pixels)
    url = f"{served}/scene.tif"
    assert_refused(url, "--allow-network opens it")
    with open_source(SceneSource(path=url, allow_network=True)) as scene:
        assert np.array_equal(scene.read(rows=(0, 64))[0], pixels)


def test_a_url_without_a_file_fails_with_its_name(tmp_path, served):
    with (
        pytest.raises(SceneError, match=r"/gone.tif\?sig=\*\*\*: not a raster that can be opened"),
        open_dataset(SceneSource(path=f"{served}/gone.tif?sig=secret", allow_network=True)),
    ):
        pass


def test_a_vrt_whose_url_is_missing_fails(tmp_path, served):
    path = write_vrt(tmp_path / "far.vrt", SIMPLE.format(f"/vsicurl/{served}/gone.tif"))
    with (
        pytest.raises(SceneError, match=r"far.vrt: its source .*gone.tif: not a raster"),
        open_source(SceneSource(path=str(path), allow_network=True)),
    ):
        pass


def assert_refused(path, finding):
    with pytest.raises(SceneError, match=finding), open_scene(path):
        pass
