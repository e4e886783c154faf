"""Odd and damaged rasters, made when they are wanted, and the one rule that judges them."""

import os
import random
import shutil
import stat
from pathlib import Path

import numpy as np
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.shutil import copy as copy_raster
from scenes import GRID, UTM, landscape, noise, open_raster, write_scene

BARE = {"crs": None, "transform": None}
FORMATS = {
    "striped.tif": {"blockysize": 7},
    "tiled.tif": {"tiled": True, "blockxsize": 32, "blockysize": 32},
    "deflate.tif": {"compress": "deflate", "predictor": 2},
    "lzw.tif": {"compress": "lzw", "interleave": "band"},
    "jpeg.tif": {"compress": "jpeg", "photometric": "ycbcr", "interleave": "pixel"},
    "zstd.tif": {"compress": "zstd", "tiled": True, "blockxsize": 32, "blockysize": 32},
    "big.tif": {"BIGTIFF": "YES", "compress": "packbits"},
    "cog.tif": None,
    "scene.vrt": None,
    "scene.png": {"driver": "PNG", **BARE},
    "scene.jp2": {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES", **BARE},
}
UNCOUNTED = ("geop2p: warning: ", "_tiffSeekProc: ", "_tiffReadProc: ")
"""Beginnings of lines beside the one of a failure; libtiff writes its own past every handler."""
DOCUMENTED = frozenset({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 99})


def make_formats(folder):
    """Write a sound scene in every format; return their paths."""
    return [_make(folder, name) for name in FORMATS]


def _make(folder, name):
    pixels = landscape(3, 150, 170, seed=3) // 2 + noise(3, 150, 170, seed=4) // 8
    path = folder / name
    if name == "cog.tif":
        plain = write_scene(folder / "plain.tif", pixels)
        copy_raster(plain, path, driver="COG", compress="deflate", blocksize=128)
    elif name == "scene.vrt":
        copy_raster(write_scene(folder / "source.tif", pixels), path, driver="VRT")
    else:
        write_scene(path, pixels, **FORMATS[name])
    return path


def damaged(folder, sound, *, cuts, flips, seed=0):
    """Yield copies of a sound file: cut at every 1/64 or fewer places, and with one bit flipped.

    A flip falls in the first kilobyte half of the time, where most of the header is.
    """
    content = sound.read_bytes()
    chance = random.Random(f"{seed} {sound.name}")
    if sound.suffix == ".vrt":
        shutil.copy(sound.with_name("source.tif"), folder)
    for cut in range(cuts):
        path = folder / f"cut{cut}_{sound.name}"
        path.write_bytes(content[: len(content) * cut // cuts])
        yield path
    for flip in range(flips):
        end = len(content) if flip % 2 else min(1024, len(content))
        place, bit = chance.randrange(end), chance.randrange(8)
        path = folder / f"flip{place}.{bit}_{sound.name}"
        changed = bytearray(content)
        changed[place] ^= 1 << bit
        path.write_bytes(changed)
        yield path


def make_odd(folder):
    """Yield (path, expected status) of sound rasters of odd shapes and kinds, and of no rasters."""
    for height, width in ((1, 1), (1, 300), (300, 1), (2, 129), (127, 3)):
        path = folder / f"{height}x{width}.tif"
        yield write_scene(path, noise(3, height, width)), 0
    yield from _odd_masks(folder)
    yield from _odd_places(folder)
    yield from _odd_kinds(folder)
    yield from _no_rasters(folder)


def _odd_masks(folder):
    pixels = noise(3, 40, 50)
    valid = np.zeros((40, 50), bool)
    yield write_scene(folder / "all_masked.tif", pixels, valid=valid), 0
    yield write_scene(folder / "all_nodata.tif", np.zeros_like(pixels), nodata=0), 0
    yield write_scene(folder / "constant.tif", np.full_like(pixels, 7)), 0
    floats = noise(3, 40, 50, dtype="float32")
    floats[:, :9] = np.nan
    yield write_scene(folder / "nan.tif", floats, nodata=np.nan), 0
    yield write_scene(folder / "all_nan.tif", np.full_like(floats, np.nan)), 0
    floats[:, 10] = 3e38
    yield write_scene(folder / "extremes.tif", floats, nodata=-9999), 0
    alpha = noise(4, 40, 50)
    alpha[3, :20] = 0
    yield write_scene(folder / "alpha.tif", alpha, photometric="RGB", alpha="YES"), 0


def _odd_places(folder):
    pixels = noise(3, 40, 50)
    points = [GroundControlPoint(r, c, c / 9, r / 9) for r, c in ((0, 0), (0, 49), (39, 0))]
    for name, crs in (("gcps", UTM), ("gcps_without_crs", rasterio.CRS())):
        path = write_scene(folder / f"{name}.tif", pixels, **BARE)
        with open_raster(path, "r+") as dataset:
            dataset.gcps = (points, crs)
        yield path, 0
    path = write_scene(folder / "gcps_point.tif", pixels, **BARE)
    with open_raster(path, "r+") as dataset:
        dataset.update_tags(AREA_OR_POINT="Point")
        dataset.gcps = (points, UTM)
    yield path, 0
    yield write_scene(folder / "south_up.tif", pixels, transform=GRID @ GRID.scale(1, -1)), 0
    yield write_scene(folder / "rotated.tif", pixels, transform=GRID @ GRID.rotation(30)), 0
    local = 'LOCAL_CS["plan",UNIT["metre",1]]'
    yield write_scene(folder / "local.tif", pixels, crs=rasterio.CRS.from_wkt(local)), 0


def _odd_kinds(folder):
    yield write_scene(folder / "complex.tif", np.ones((3, 9, 9), np.complex64)), 3
    yield write_scene(folder / "two_bands.tif", noise(2, 9, 9)), 3
    for dtype in ("uint16", "int16", "uint32", "int32", "float64", "int8"):
        yield write_scene(folder / f"{dtype}.tif", noise(3, 40, 50, dtype=dtype)), 0
    path = write_scene(folder / "bgr.tif", noise(3, 40, 50))
    with open_raster(path, "r+") as dataset:
        dataset.colorinterp = (ColorInterp.blue, ColorInterp.green, ColorInterp.red)
    yield path, 0
    path = write_scene(folder / "palette.tif", noise(1, 40, 50))
    with open_raster(path, "r+") as dataset:
        dataset.write_colormap(1, {i: (i, 255 - i, 9, 255) for i in range(256)})
    yield path, 0
    header = {"driver": "GTiff", "dtype": "uint8", "crs": UTM, "transform": GRID, "tiled": True}
    sizes = {"many_bands": (1, 1, 65_535), "huge": (90_000, 90_000, 3)}
    for name, (height, width, count) in sizes.items():
        size = {"height": height, "width": width, "count": count, "SPARSE_OK": True}
        with rasterio.open(folder / f"{name}.tif", "w", **header, **size):
            pass
        yield folder / f"{name}.tif", 3


def _no_rasters(folder):
    contents = {
        "empty.tif": b"",
        "text.tif": b"dear reader\n" * 99,
        "page.tif": b"<html><body>404</body></html>",
        "pointer.tif": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "zip.tif": b"PK\3\4" + bytes(99),
        "header_only.tif": b"II*\0",
        "no_directory.tif": b"II*\0\0\0\0\0",
        "own_directory.tif": b"II*\0\x08\0\0\0\0\0\x08\0\0\0",
        "no_size.vrt": b"<VRTDataset></VRTDataset>",
        "no_bands.vrt": b'<VRTDataset rasterXSize="9" rasterYSize="9"></VRTDataset>',
        "negative.vrt": b'<VRTDataset rasterXSize="-9" rasterYSize="9"></VRTDataset>',
        "signature.png": b"\x89PNG\r\n\x1a\n",
        "signature.jpg": b"\xff\xd8\xff\xe0",
        "signature.jp2": b"\0\0\0\x0cjP  \r\n\x87\n",
        "signature.bmp": b"BM" + bytes(60),
        "signature.webp": b"RIFF\x10\0\0\0WEBPVP8 ",
        "signature.img": b"EHFA_HEADER_TAG\0" + bytes(60),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        yield folder / name, 3
    os.mkfifo(folder / "pipe.tif")
    yield folder / "pipe.tif", 3
    (folder / "folder.tif").mkdir()
    yield folder / "folder.tif", 3
    (folder / "lost.tif").symlink_to("gone.tif")
    yield folder / "lost.tif", 3


def listing(folder):
    """Return what tells whether anything in a folder was touched."""
    entries = {path.name: path.lstat() for path in Path(folder).iterdir()}
    return {
        name: (status.st_size, status.st_mtime_ns)
        for name, status in entries.items()
        if not stat.S_ISSOCK(status.st_mode)
    }


def faults(verdict):
    """Return in words what breaks the rule: a right map, or one line and a documented status."""
    status, text = verdict["status"], verdict["text"]
    lines = [line for line in text.splitlines() if not line.startswith(UNCOUNTED)]
    found = {
        f"status {status}": status not in DOCUMENTED,
        "a traceback": "Traceback" in text,
        f"{len(lines)} lines: {lines[:3]}": status != 0 and len(lines) != 1,
        f"{verdict['mebibytes']} MiB": verdict["mebibytes"] > 2048,
        f"{verdict['seconds']} s": verdict["seconds"] > 60,
        f"left: {verdict['left']}": verdict["left"] != (["map.tif"] if status == 0 else []),
        "the scene's folder was touched": verdict["is_touched"],
        f"a wrong map: {verdict['wrong']}": bool(verdict["wrong"]),
    }
    return [name for name, is_so in found.items() if is_so]
