"""A scene that is kept open: any thread reads it, no block of it is decoded twice."""

import math
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from scenes import landscape, noise, write_scene

from geop2p.errors import SceneError
from geop2p.raster.reader import SceneReader, close_reader, find_reader
from geop2p.raster.scene import OrderedRows, SceneSource, open_scene

SPANS = [(0, 130), (100, 300), (280, 420), (400, 500)]
TILED = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}


class Counted:
    """A scene that notes which rows are read of it."""

    def __init__(self, scene):
        self._scene, self.spec, self.spans = scene, scene.spec, []

    def read(self, *, rows):
        self.spans.append(rows)
        return self._scene.read(rows=rows)


def test_every_block_is_read_once(tmp_path):
    pixels = noise(3, 500, 130)
    with open_scene(write_scene(tmp_path / "scene.tif", pixels, **TILED)) as scene:
        counted = Counted(scene)
        ordered = OrderedRows(counted)
        for start, stop in SPANS:
            found, valid = ordered.read(rows=(start, stop))
            assert np.array_equal(found, pixels[:, start:stop])
            assert valid.shape == (stop - start, 130)
    blocks = [row // 64 for first, last in counted.spans for row in range(first, last, 64)]
    assert counted.spans[0] == (0, 192)
    assert blocks == sorted(set(blocks)) == list(range(8))


@pytest.mark.parametrize(
    ("name", "bands", "block", "mib"),
    [("a.tif", 3, 64, 8), ("many.tif", 60, 256, 15), ("a.png", 3, 64, 64)],
)
def test_gdal_keeps_few_blocks_of_what_is_read_once_by_whole_blocks(
    tmp_path, name, bands, block, mib
):
    tiled = TILED | {"blockxsize": block, "blockysize": block}
    made = write_scene(tmp_path / "made.tif", noise(bands, 256, 130), **tiled)
    path = tmp_path / name
    with rasterio.open(made) as dataset:
        driver = "PNG" if path.suffix == ".png" else "GTiff"
        rasterio.shutil.copy(dataset, path, driver=driver, **({} if driver == "PNG" else tiled))
    reader = SceneReader(SceneSource(path=str(path), bands=(1, 2, 3)))
    try:
        reader.read(rows=(0, 10))
        kept = reader._thread.ask(lambda _: rasterio.env.getenv()["GDAL_CACHEMAX"]).result()
    finally:
        reader.close()
    assert kept == mib * 2**20


def test_spans_out_of_order_are_read_again(tmp_path):
    pixels = noise(1, 500, 90)
    with open_scene(write_scene(tmp_path / "scene.tif", pixels, **TILED)) as scene:
        ordered = OrderedRows(scene)
        for start, stop in [*SPANS[::-1], (50, 60), (470, 480), (100, 500)]:
            assert np.array_equal(ordered.read(rows=(start, stop))[0], pixels[:, start:stop])


def test_many_threads_read_what_the_scene_holds(tmp_path):
    pixels = landscape(3, 500, 130)
    valid = np.ones((500, 130), bool)
    valid[70:210, 30:] = False
    reader = SceneReader(
        SceneSource(path=str(write_scene(tmp_path / "scene.tif", pixels, valid=valid)))
    )
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda span: reader.read(rows=span), SPANS * 3))
    reader.close()
    for (start, stop), (shown, known, unreadable) in zip(SPANS * 3, found, strict=True):
        assert np.array_equal(shown, pixels[:, start:stop])
        assert np.array_equal(known, valid[start:stop])
        assert unreadable == ()
    assert not [thread for thread in threading.enumerate() if "geop2p-reader" in thread.name]


def test_a_scene_that_is_missing_is_told_at_each_read(tmp_path):
    reader = SceneReader(SceneSource(path=str(tmp_path / "none.tif")))
    for _ in range(2):
        with pytest.raises(SceneError, match="no such file"):
            reader.read(rows=(0, 1))
    reader.close()


@pytest.mark.parametrize("nodata", [None, 0.0, math.nan])
def test_a_process_has_one_reader_of_a_key(tmp_path, nodata):
    path = str(write_scene(tmp_path / "scene.tif", noise(1, 20, 20)))
    source = SceneSource(path=path, src_nodata=nodata)
    sent = pickle.loads(pickle.dumps(source))
    assert find_reader("a", source) is find_reader("a", sent)
    close_reader("a")
    close_reader("a")


def test_a_process_keeps_the_last_two_scenes_of_a_key_open(tmp_path):
    pixels = noise(1, 20, 20)
    paths = [write_scene(tmp_path / f"{number}.tif", pixels) for number in range(3)]
    sources = [SceneSource(path=str(path)) for path in paths]
    first, second = (find_reader("b", source) for source in sources[:2])
    assert find_reader("b", sources[0]) is first
    third = find_reader("b", sources[2])
    assert [find_reader("b", source) for source in sources[1:]] == [second, third]
    assert np.array_equal(second.read(rows=(0, 20))[0], pixels)
    with pytest.raises(RuntimeError):
        first.read(rows=(0, 20))
    close_reader("b")
    assert not [thread for thread in threading.enumerate() if "geop2p-reader" in thread.name]
