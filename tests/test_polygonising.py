"""Regions of a class raster become polygons without gap or overlap, whatever the bands."""

import tracemalloc

import numpy as np
import pytest
import shapely
from rasterio.features import rasterize, shapes

from geop2p.raster import polygonising
from geop2p.raster.polygonising import NO_CLASS, region_bands
from geop2p.vector.joining import Joiner


def classes_of(seed, *, masked=False):
    """A raster of random regions, some of single pixels."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 4, random.integers(3, 30, 2)).astype(np.uint8)
    if seed % 2:
        small = small.repeat(3, axis=0).repeat(2, axis=1)
    return np.where(small == 3, NO_CLASS, small).astype(np.uint8) if masked else small


@pytest.fixture
def outlines(tmp_path, monkeypatch):
    """Return polygons and classes of a raster, traced by bands of so many rows."""

    def make(raster, *, band_rows=1000, tolerance=0.0, least_pixels=1):
        monkeypatch.setattr(polygonising, "BAND_PIXELS", 1)
        monkeypatch.setattr(polygonising, "LEAST_BAND_ROWS", band_rows)
        joiner = Joiner(height=len(raster), tolerance=tolerance, path=tmp_path / "x.pieces")
        bands = region_bands(
            [raster], size=raster.shape, least_pixels=least_pixels, scratch=tmp_path / "x"
        )
        found = [*[joiner.add(band) for band in bands], *joiner.joined()]
        return (
            np.concatenate([one.polygons for one in found]),
            np.concatenate([one.classes for one in found]),
        )

    return make


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("tolerance", [0.0, 1.0, 2.0])
def test_polygons_are_a_coverage_of_what_has_a_class(outlines, seed, tolerance):
    raster = classes_of(seed, masked=seed % 3 == 0)
    polygons, _ = outlines(raster, band_rows=5, tolerance=tolerance)
    assert shapely.is_valid(polygons).all()
    assert shapely.coverage_is_valid(polygons)
    assert shapely.area(polygons).sum() == (raster != NO_CLASS).sum()


@pytest.mark.parametrize("seed", range(6))
def test_unsimplified_polygons_burn_back_to_the_raster(outlines, seed):
    raster = classes_of(seed, masked=seed % 3 == 0)
    polygons, labels = outlines(raster, band_rows=4)
    burnt = rasterize(
        zip(polygons, labels.tolist(), strict=True), out_shape=raster.shape, fill=NO_CLASS
    )
    assert np.array_equal(burnt, raster)


@pytest.mark.parametrize("seed", range(6))
def test_bands_cut_nothing_for_good(outlines, seed):
    raster = classes_of(seed, masked=seed % 3 == 0)
    expected = sum(1 for _ in shapes(raster, mask=raster != NO_CLASS, connectivity=4))
    polygons, _ = outlines(raster, band_rows=3, tolerance=1.0)
    assert set(shapely.get_type_id(polygons)) == {shapely.GeometryType.POLYGON}
    assert len(polygons) == expected


def test_bands_change_outlines_only_at_their_edges(outlines):
    raster = classes_of(5)
    whole, _ = outlines(raster)
    banded, _ = outlines(raster, band_rows=4)
    first, second = (
        {polygon.wkt for polygon in shapely.normalize(shapely.simplify(polygons, 0))}
        for polygons in (whole, banded)
    )
    assert first == second


def test_small_regions_and_holes_go_to_their_largest_neighbour(outlines):
    raster = np.ones((20, 20), np.uint8)
    raster[:, 12:] = 2
    raster[5:7, 5:7] = 3  # a hole of 4 pixels
    raster[10, 12:17] = 1  # a spur of 5
    polygons, labels = outlines(raster, least_pixels=5)
    assert sorted(labels) == [1, 2]
    assert shapely.area(polygons[labels.tolist().index(1)]) == 20 * 12 + 5
    assert not any(polygon.interiors for polygon in polygons)


def test_masked_pixels_are_in_no_polygon_however_much_is_simplified(outlines):
    raster = np.ones((40, 40), np.uint8)
    raster[:, 20:] = 2
    rows, cols = np.mgrid[0:40, 0:40]
    raster[(rows - 20) ** 2 + (cols - 20) ** 2 < 60] = NO_CLASS
    raster[3, 3] = NO_CLASS  # smaller than anything that is kept
    polygons, _ = outlines(raster, tolerance=5.0, least_pixels=30)
    burnt = rasterize(polygons, out_shape=raster.shape, all_touched=False)
    assert np.array_equal(burnt == 0, raster == NO_CLASS)


@pytest.mark.parametrize("least_pixels", [12, 13, 2**40])
def test_in_a_raster_smaller_than_the_least_region_all_stay(outlines, least_pixels):
    raster = np.zeros((3, 4), np.uint8)
    raster[1, 1] = 1
    polygons, labels = outlines(raster, least_pixels=least_pixels)
    assert (len(polygons), sorted(labels)) == (2, [0, 1])


def test_a_region_without_neighbours_stays_however_small(outlines):
    raster = np.full((9, 9), NO_CLASS, np.uint8)
    raster[4, 4] = 2
    polygons, labels = outlines(raster, least_pixels=50)
    assert (len(polygons), labels.tolist()) == (1, [2])
    assert polygons[0].bounds == (4, 4, 5, 5)


def test_simplified_borders_stay_near_the_pixels(outlines):
    rows, cols = np.mgrid[0:200, 0:200]
    raster = np.where(rows + 0.3 * cols > 120, 1, 2).astype(np.uint8)
    plain, _ = outlines(raster)
    smooth, _ = outlines(raster, tolerance=2.0)
    assert shapely.get_num_coordinates(smooth).sum() < shapely.get_num_coordinates(plain).sum() / 2
    assert shapely.hausdorff_distance(smooth[0], plain[0]) < 2


def _peak(height, tmp_path):
    """Return the most memory, in bytes, that tracing a raster of so many rows takes."""

    def rows():
        random = np.random.default_rng(0)
        for _ in range(0, height, 64):
            yield random.integers(0, 3, (4, 8), np.uint8).repeat(16, axis=0).repeat(16, axis=1)

    joiner = Joiner(height=height, tolerance=1.0, path=tmp_path / "x.pieces")
    tracemalloc.start()
    try:
        for band in region_bands(
            rows(), size=(height, 128), least_pixels=4, scratch=tmp_path / "x"
        ):
            joiner.add(band)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_grows_by_a_few_numbers_a_piece_not_by_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr(polygonising, "BAND_PIXELS", 128 * 128)
    low, high = _peak(1024, tmp_path), _peak(8192, tmp_path)
    assert high < 3 * low  # of eight times the height
    assert high < 8192 * 128 / 3
