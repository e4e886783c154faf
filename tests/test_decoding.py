"""Several decoders read what one would, and a fault is told as by one."""

import threading

import numpy as np
import pytest
from scenes import landscape, noise, write_scene
from test_read_errors import damage

from geop2p.errors import SceneError
from geop2p.raster import decoding
from geop2p.raster.decoding import open_divided
from geop2p.raster.reader import SceneReader
from geop2p.raster.scene import SceneSource, open_source

TILED = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
FORMS = {
    "tiles": TILED,
    "bands": TILED | {"interleave": "band"},
    "strips": {"compress": "lzw", "blockysize": 8},
    "one_column_of_tiles": TILED | {"blockxsize": 320},
    "plain": {},
}
SPANS = [(0, 130), (64, 192), (3, 5), (180, 291)]


@pytest.fixture
def few_values(monkeypatch):
    """Let decoders share windows of a few thousand values."""
    monkeypatch.setattr(decoding, "LEAST_VALUES", 2**10)


def decoders_at_work():
    return [thread for thread in threading.enumerate() if "geop2p-decoder" in thread.name]


@pytest.mark.usefixtures("few_values")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("threads", [2, 5])
def test_several_decoders_read_what_one_does(tmp_path, form, threads):
    valid = np.random.default_rng(1).random((291, 317)) > 0.2
    path = write_scene(tmp_path / "scene.tif", landscape(3, 291, 317), valid=valid, **FORMS[form])
    source = SceneSource(path=str(path))
    with open_source(source) as whole, open_divided(source, threads=threads) as divided:
        for rows in SPANS:
            for cols in (None, (0, 317), (70, 300), (5, 6)):
                expected, found = (each.read(rows=rows, cols=cols) for each in (whole, divided))
                assert all(map(np.array_equal, expected, found))
        assert 2 <= len(decoders_at_work()) <= threads
        assert np.array_equal(divided.thumbnail(50)[0], whole.thumbnail(50)[0])
    assert not decoders_at_work()


@pytest.mark.usefixtures("few_values")
@pytest.mark.parametrize("block", [(0, 0), (3, 2), (4, 4)])
def test_a_fault_is_told_and_masked_as_by_one(tmp_path, block):
    path = write_scene(tmp_path / "scene.tif", noise(3, 291, 317), **TILED)
    damage(path, block=block)
    source = SceneSource(path=str(path))
    told = []
    for opened in (open_source(source), open_divided(source, threads=3)):
        with opened as scene, pytest.raises(SceneError) as caught:
            scene.read(rows=(0, 291))
        told.append(str(caught.value))
    assert told[0] == told[1]
    assert "rows 0 to 290 cannot be read" in told[0]

    lenient = SceneSource(path=str(path), on_read_error="nodata")
    with open_source(lenient) as whole, open_divided(lenient, threads=3) as divided:
        for rows in SPANS:
            expected, found = (each.read(rows=rows) for each in (whole, divided))
            assert all(map(np.array_equal, expected, found))
            assert divided.unreadable_rows(rows) == whole.unreadable_rows(rows)
        assert divided.unreadable == {(block[1] * 64, block[0] * 64)}


def test_parts_are_whole_blocks_and_worth_it():
    assert decoding._pieces((0, 317), block=64, count=3) == [(0, 64), (64, 192), (192, 317)]
    assert decoding._pieces((70, 300), block=64, count=9) == [
        (70, 128),
        (128, 192),
        (192, 256),
        (256, 300),
    ]
    assert decoding._pieces((5, 6), block=64, count=4) == [(5, 6)]


@pytest.mark.parametrize("driver", ["PNG", "JPEG"])
def test_a_scene_that_is_one_stream_has_one_reader(tmp_path, driver):
    name = f"scene.{driver.lower()}"
    path = write_scene(tmp_path / name, noise(3, 600, 700), driver=driver, crs=None, transform=None)
    with open_divided(SceneSource(path=str(path)), threads=4) as scene:
        assert type(scene).__name__ == "Scene"
        assert scene.read(rows=(0, 600))[0].shape == (3, 600, 700)


@pytest.mark.usefixtures("few_values")
@pytest.mark.parametrize("threads", [1, 3])
def test_a_reader_has_as_many_decoders_as_it_is_given(tmp_path, threads):
    pixels = landscape(3, 291, 317)
    path = write_scene(tmp_path / "scene.tif", pixels, **TILED)
    reader = SceneReader(SceneSource(path=str(path)), threads=threads)
    found, _valid, _lost = reader.read(rows=(10, 200))
    assert np.array_equal(found, pixels[:, 10:200])
    assert len(decoders_at_work()) == (threads if threads > 1 else 0)
    reader.close()
