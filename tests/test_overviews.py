"""Overviews are averages of valid pixels; those that are not are seen, in the map and before."""

import numpy as np
import pytest
from scenes import landscape, noise, open_raster, write_scene

from geop2p.errors import DiskFullError, VerificationError
from geop2p.raster.mapfile import read_tags, write_map
from geop2p.raster.mapformat import MapSpec, choose_format
from geop2p.raster.overviews import (
    build_overviews,
    check_overviews,
    overview_checksums,
    overview_factors,
)
from geop2p.raster.verifying import DamagedMapError, Made, verify_map


def form(path, **options):
    return choose_format(path, driver=None, options=options)


def written(path, pixels, valid=None, **options):
    """Write a map in two unequal pieces."""
    valid = np.ones(pixels.shape[1:], bool) if valid is None else valid
    count, height, width = pixels.shape
    spec = MapSpec(
        height=height,
        width=width,
        count=count,
        dtype=pixels.dtype.name,
        is_masked=not valid.all(),
    )

    def rows():
        for part in (slice(0, 512), slice(512, None)):
            yield pixels[:, part], valid[part]

    write_map(path, spec, rows, map_format=form(path, **options))
    return spec, rows


def halved(pixels, valid):
    """Averages of the valid ones among 2 x 2 pixels, and whether there is one."""
    height, width = valid.shape[0] // 2, valid.shape[1] // 2
    known = valid.reshape(height, 2, width, 2)
    sums = (pixels.reshape(-1, height, 2, width, 2) * known).sum(axis=(2, 4), dtype=float)
    count = known.sum(axis=(1, 3))
    return sums / np.maximum(count, 1), count > 0


def overview(path, level=0):
    with open_raster(path, overview_level=level) as dataset:
        return dataset.read(), dataset.dataset_mask() != 0


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("is_masked", [False, True])
def test_overviews_are_averages_of_valid_pixels(tmp_path, dtype, is_masked):
    pixels = noise(1, 1200, 1028, dtype=dtype)
    valid = np.ones((1200, 1028), bool)
    if is_masked:
        valid[noise(1, 1200, 1028)[0] < 60] = False
        valid[300:700, :500] = False
        pixels[:, ~valid] = 0
    written(tmp_path / "map.tif", pixels, valid)
    found, found_valid = overview(tmp_path / "map.tif")
    expected, expected_valid = halved(pixels, valid)
    slack = 1e-3 if dtype == "float32" else 0.5
    assert np.array_equal(found_valid, expected_valid)
    assert np.abs(found - expected)[:, expected_valid].max() <= slack
    with open_raster(tmp_path / "map.tif") as dataset:
        assert dataset.overviews(1) == [2, 4]


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"OVERVIEW_RESAMPLING": "NEAREST"}, 1),
        ({"OVERVIEW_RESAMPLING": "CUBIC"}, 1),
        ({"OVERVIEWS": "NONE"}, 0),
        ({"BLOCKSIZE": "128"}, 3),
        ({"COMPRESS": "JPEG"}, 1),
        ({"COMPRESS": "ZSTD", "LEVEL": "3"}, 1),
        ({"SPARSE_OK": "TRUE"}, 1),
    ],
)
def test_other_overviews_are_made_and_checked(tmp_path, options, count):
    written(tmp_path / "map.tif", landscape(3, 600, 700), **options)
    with open_raster(tmp_path / "map.tif") as dataset:
        assert len(dataset.overviews(1)) == count


def test_odd_sizes_have_overviews_that_pass(tmp_path):
    written(tmp_path / "map.tif", landscape(1, 1537, 1025))
    with open_raster(tmp_path / "map.tif", overview_level=1) as dataset:
        assert dataset.shape == (385, 257)


@pytest.fixture
def plain(tmp_path):
    """An uncompressed raster with overviews."""
    blocks = {"tiled": True, "blockxsize": 512, "blockysize": 512}
    path = write_scene(tmp_path / "plain.tif", landscape(3, 1100, 1300), **blocks)
    build_overviews(path, overview_factors(1100, 1300, block=512), block=512)
    return path


def test_both_ways_of_decoding_give_the_same_checksums(plain):
    checksums = check_overviews(plain, resampling="AVERAGE")
    assert len(checksums) == 2
    assert checksums == overview_checksums(plain) == check_overviews(plain, resampling=None)


@pytest.mark.parametrize("value", [0, 255])
def test_an_overview_of_other_pixels_is_seen(plain, value):
    with open_raster(plain, "r+") as dataset:
        pixels = dataset.read()
        pixels[:, 512:1024, 512:1024] = value
        dataset.write(pixels)
    with pytest.raises(VerificationError, match="is not what the map shows there"):
        check_overviews(plain, resampling="AVERAGE")


def test_an_overview_that_reads_back_otherwise_is_seen(tmp_path):
    path = tmp_path / "map.tif"
    spec, rows = written(path, landscape(3, 600, 700))
    made = Made(rows=[(600, read_tags(path)["GEOP2P_PIXELS_SHA256"])], overviews=["other"])
    with pytest.raises(DamagedMapError, match="its overviews do not read back as written"):
        verify_map(path, spec, rows, made=made, map_format=form(path))


def test_rows_that_read_back_otherwise_are_named(tmp_path):
    path = tmp_path / "map.tif"
    spec, rows = written(path, landscape(3, 600, 700))
    digest = read_tags(path)["GEOP2P_PIXELS_SHA256"]
    made = Made(rows=[(600, digest[::-1])], overviews=overview_checksums(path))
    with pytest.raises(DamagedMapError, match="rows 0 to 599 do not read back as written"):
        verify_map(path, spec, rows, made=made, map_format=form(path))


def test_rows_that_are_missing_are_told(tmp_path):
    pixels = landscape(1, 600, 700)
    spec = MapSpec(height=700, width=700, count=1, dtype="uint8")
    with pytest.raises((VerificationError, DiskFullError)):
        write_map(
            tmp_path / "map.tif",
            spec,
            lambda: iter([(pixels, np.ones((600, 700), bool))]),
            map_format=form(tmp_path / "map.tif"),
        )
    assert list(tmp_path.iterdir()) == []


def test_the_quick_level_belongs_to_deflate(tmp_path):
    path = tmp_path / "map.tif"
    assert form(path).options["LEVEL"] == "1"
    assert form(path, LEVEL="9").options["LEVEL"] == "9"
    assert "LEVEL" not in form(path, COMPRESS="ZSTD").options
    assert form(path, COMPRESS="ZSTD", LEVEL="9").options["LEVEL"] == "9"
