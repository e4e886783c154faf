"""Ways to finish a Cloud-Optimised GeoTIFF: time, CPU time, memory, bytes.

    python benchmarks/finish.py [--side 4096] [--repeats 3]

Two pictures of the same ground, repeated by reflection: the sample scene of Kampala and its map by
the default model. Each way gets the rows 512 at a time and writes a file, in a process of its own;
reading the file back is timed apart. Every result is compared with the rows and judged by
rio-cogeo. Ways alternate, the least of all repeats counts.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile
from rasterio.windows import Window
from record import geop2p, record
from rio_cogeo import cog_profiles, cog_translate, cog_validate

SCENE = Path(__file__).parents[1] / "sample_tiles/kampala/kampala.tif"
BLOCK = 512
CACHE_BYTES = 64 * 2**20
FACTORS = [2, 4, 8]
Pixels = npt.NDArray[np.uint8]
Options = dict[str, Any]

DEFLATE = {"COMPRESS": "DEFLATE", "PREDICTOR": "YES"}
BASE = {"BLOCKSIZE": str(BLOCK), "OVERVIEW_RESAMPLING": "AVERAGE", "NUM_THREADS": "ALL_CPUS"}


def main() -> None:
    """Measure every way on both pictures, and record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", nargs=2, metavar=("WAY", "ROWS"))
    given = parser.parse_args()
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    if given.one is not None:
        print(json.dumps(finished(given.one[0], Path(given.one[1]), side=given.side)))
        return
    with tempfile.TemporaryDirectory() as name:
        pictures = written_pictures(Path(name), side=given.side)
        figures = {kind: measured(path, given) for kind, path in pictures.items()}
    record("finish", {"side": given.side, "repeats": given.repeats} | figures)


def measured(rows: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Return the least seconds, and the rest, of each way."""
    runs: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for _ in range(given.repeats):
        for way, found in runs.items():
            words = [sys.executable, __file__, "--side", str(given.side), "--one", way, str(rows)]
            ended = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
            found.append(json.loads(ended.stdout))
    return {
        way: {key: min(run[key] for run in found) for key in found[0]}
        for way, found in runs.items()
    }


def finished(way: str, rows: Path, *, side: int) -> dict[str, Any]:
    """Write one file, read it back, compare; return what it took."""
    with (
        tempfile.TemporaryDirectory(dir=rows.parent) as name,
        rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES, GDAL_NUM_THREADS="ALL_CPUS"),
    ):
        path = Path(name) / "map.tif"
        writing = timed(lambda: WAYS[way](path, rows, side))
        peak = peak_mib()
        reading = timed(lambda: check_pixels(path, rows, side))
        is_valid = cog_validate(str(path), quiet=True)[0]
        return {
            "wall_seconds": writing[0],
            "cpu_seconds": writing[1],
            "decode_cpu_seconds": reading[1],
            "peak_mib": peak,
            "megabytes": path.stat().st_size / 1e6,
            "is_cog": is_valid,
        }


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Return seconds of wall and of CPU time that something takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def peak_mib() -> float:
    """Return this process's largest size; getrusage would count its parent's, before the start."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def check_pixels(path: Path, rows: Path, side: int) -> None:
    """Compare every pixel."""
    with rasterio.open(path) as dataset:
        for top, pixels in chunks(rows, side):
            window = Window(0, top, side, pixels.shape[1])
            if not np.array_equal(dataset.read(window=window), pixels):
                raise AssertionError(f"{path}: rows from {top} differ")


def chunks(rows: Path, side: int) -> Iterator[tuple[int, Pixels]]:
    """Yield the picture 512 rows at a time: the first row, and (3, 512, side)."""
    with rows.open("rb") as file:
        for top in range(0, side, BLOCK):
            yield top, np.fromfile(file, np.uint8, 3 * BLOCK * side).reshape(3, BLOCK, side)


def written_pictures(folder: Path, *, side: int) -> dict[str, Path]:
    """Write both pictures as their rows come."""
    geop2p("translate", SCENE, "--out", folder / "made.tif")
    pictures = {}
    for kind, source in {"map": folder / "made.tif", "photo": SCENE}.items():
        with rasterio.open(source) as dataset:
            pixels = dataset.read()
        wide = np.pad(
            pixels,
            ((0, 0), *((0, max(0, side - length)) for length in pixels.shape[1:])),
            mode="reflect",
        )[:, :side, :side]
        pictures[kind] = folder / f"{kind}.rows"
        with pictures[kind].open("wb") as file:
            for top in range(0, side, BLOCK):
                file.write(np.ascontiguousarray(wide[:, top : top + BLOCK]).tobytes())
    return pictures


def profile(height: int, width: int, **options: str) -> Options:
    """Return what rasterio needs to make a plain tiled GeoTIFF."""
    return {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "count": 3,
        "dtype": "uint8",
        "crs": "EPSG:32636",
        "transform": Affine(1, 0, 5e5, 0, -1, 5e6),
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "interleave": "pixel",
        "photometric": "RGB",
        **options,
    }


def write_tiff(path: Path, rows: Path, side: int, **options: str) -> None:
    """Write the rows into a tiled GeoTIFF."""
    with rasterio.open(path, "w", **profile(side, side, **options)) as dataset:
        for top, pixels in chunks(rows, side):
            dataset.write(pixels, window=Window(0, top, side, BLOCK))


def add_overviews(path: Path) -> None:
    """Let GDAL average overviews inside the file."""
    with rasterio.Env(GDAL_TIFF_OVR_BLOCKSIZE=BLOCK), rasterio.open(path, "r+") as dataset:
        dataset.build_overviews(FACTORS, Resampling.average)


def from_plain(path: Path, rows: Path, side: int, **options: str) -> None:
    """Write an uncompressed GeoTIFF; the COG driver averages while it copies."""
    plain = path.with_name("plain.tif")
    write_tiff(plain, rows, side)
    rasterio.shutil.copy(plain, path, driver="COG", **BASE, **options)


def from_plain_with_overviews(path: Path, rows: Path, side: int, **options: str) -> None:
    """Write an uncompressed GeoTIFF with overviews; the COG driver only copies."""
    plain = path.with_name("plain.tif")
    write_tiff(plain, rows, side)
    add_overviews(plain)
    rasterio.shutil.copy(plain, path, driver="COG", **BASE, **options)


def from_memory(path: Path, rows: Path, side: int, **options: str) -> None:
    """Hold the whole map in memory; the COG driver copies from there."""
    with MemoryFile() as file:
        with file.open(**profile(side, side)) as dataset:
            for top, pixels in chunks(rows, side):
                dataset.write(pixels, window=Window(0, top, side, BLOCK))
        add_overviews(Path(file.name))
        rasterio.shutil.copy(file.name, path, driver="COG", **BASE, **options)


def from_parts(path: Path, rows: Path, side: int, **options: str) -> None:
    """Write an uncompressed GeoTIFF a part; the COG driver copies from a VRT of them."""
    bands: dict[int, list[str]] = {1: [], 2: [], 3: []}
    for top, pixels in chunks(rows, side):
        part = path.with_name(f"{top}.tif")
        with rasterio.open(part, "w", **profile(BLOCK, side)) as dataset:
            dataset.write(pixels)
        for band, sources in bands.items():
            sources.append(
                f'<SimpleSource><SourceFilename relativeToVRT="1">{part.name}</SourceFilename>'
                f'<SourceBand>{band}</SourceBand><SrcRect xOff="0" yOff="0" xSize="{side}" '
                f'ySize="{BLOCK}"/><DstRect xOff="0" yOff="{top}" xSize="{side}" '
                f'ySize="{BLOCK}"/></SimpleSource>'
            )
    body = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}">{"".join(sources)}</VRTRasterBand>'
        for band, sources in bands.items()
    )
    mosaic = path.with_name("map.vrt")
    mosaic.write_text(
        f'<VRTDataset rasterXSize="{side}" rasterYSize="{side}">{body}</VRTDataset>',
        encoding="utf-8",
    )
    rasterio.shutil.copy(mosaic, path, driver="COG", **BASE, **options)


def by_rio_cogeo(path: Path, rows: Path, side: int, **options: str) -> None:
    """Write an uncompressed GeoTIFF; rio-cogeo makes the rest."""
    plain = path.with_name("plain.tif")
    write_tiff(plain, rows, side)
    made = cog_profiles.get("deflate") | {"predictor": 2} | options
    cog_translate(
        str(plain), str(path), made, overview_resampling="average", quiet=True, in_memory=False
    )


def tiled(path: Path, rows: Path, side: int, **options: str) -> None:
    """Write compressed blocks at once, overviews after them: fast, and no COG."""
    write_tiff(path, rows, side, **options)
    with rasterio.Env(COMPRESS_OVERVIEW=options["compress"], PREDICTOR_OVERVIEW="2"):
        add_overviews(path)


def tiled_then_cog(path: Path, rows: Path, side: int, **options: str) -> None:
    """Write compressed blocks and overviews at once; the COG driver decodes and encodes again."""
    first = path.with_name("tiled.tif")
    tiled(first, rows, side, compress="deflate", predictor="2", zlevel="1")
    rasterio.shutil.copy(first, path, driver="COG", **BASE, **options)


def way(function: Callable[..., None], **options: str) -> Callable[[Path, Path, int], None]:
    """Return a way with its options."""
    return lambda path, rows, side: function(path, rows, side, **options)


WAYS: dict[str, Callable[[Path, Path, int], None]] = {
    "plain, COG driver, deflate 6 (before)": way(from_plain, **DEFLATE),
    "plain, COG driver, deflate 1": way(from_plain, **DEFLATE, LEVEL="1"),
    "plain + overviews, COG driver, deflate 1 (now)": way(
        from_plain_with_overviews, **DEFLATE, LEVEL="1"
    ),
    "the same, deflate 6": way(from_plain_with_overviews, **DEFLATE, LEVEL="6"),
    "the same, deflate 3": way(from_plain_with_overviews, **DEFLATE, LEVEL="3"),
    "the same, deflate 1, no predictor": way(
        from_plain_with_overviews, COMPRESS="DEFLATE", LEVEL="1"
    ),
    "the same, zstd 1": way(from_plain_with_overviews, COMPRESS="ZSTD", PREDICTOR="YES", LEVEL="1"),
    "the same, zstd 9": way(from_plain_with_overviews, COMPRESS="ZSTD", PREDICTOR="YES", LEVEL="9"),
    "the same, lzw": way(from_plain_with_overviews, COMPRESS="LZW", PREDICTOR="YES"),
    "memory + overviews, COG driver, deflate 1": way(from_memory, **DEFLATE, LEVEL="1"),
    "VRT of parts, COG driver, deflate 1": way(from_parts, **DEFLATE, LEVEL="1"),
    "rio-cogeo, deflate 6": way(by_rio_cogeo),
    "rio-cogeo, deflate 1": way(by_rio_cogeo, zlevel="1"),
    "tiled GeoTIFF + overviews, deflate 1 (no COG)": way(
        tiled, compress="deflate", predictor="2", zlevel="1"
    ),
    "tiled deflate 1 + overviews, COG driver, deflate 1": way(tiled_then_cog, **DEFLATE, LEVEL="1"),
}


if __name__ == "__main__":
    main()
