import numpy as np
import pytest
from scenes import landscape

from geop2p.grid import TileGrid
from geop2p.seams import LINES, Differences, Gradients, Heat, row_spans

GRID = TileGrid(height=150, width=170, size=64, overlap=16)


def measured(pixels, *, grid=GRID, valid=None, rows=37):
    gradients = Gradients(grid)
    valid = np.ones(pixels.shape[1:], bool) if valid is None else valid
    for first, last in row_spans(grid.height, rows):
        gradients.add(pixels[:, first:last], valid[first:last], first=first)
    return gradients.measured()


def ramp(grid=GRID):
    rows, cols = np.mgrid[: grid.height, : grid.width]
    return (rows + cols)[None].astype(np.uint16)


def with_steps(pixels, grid, *, offset, height=50):
    """Each tile's own pixels, raised or not by turns: steps on the lines between tiles."""
    cols = np.maximum(np.arange(grid.width) - offset, 0) // grid.stride
    return pixels + (height * (cols % 2)).astype(pixels.dtype)


def test_a_map_without_seams_has_the_same_gradients_at_lines_and_inside():
    whole, *rows = measured(ramp())
    assert all(whole[name] == 1 for name in ("inside", *LINES, "ratio"))
    assert len(rows) == GRID.tile_rows
    assert all(row["ratio"] == 1 for row in rows)


@pytest.mark.parametrize(("line", "offset"), [("begin", 0), ("middle", 8), ("end", 16)])
def test_a_step_between_tiles_is_seen_on_its_line(line, offset):
    whole, *_ = measured(with_steps(ramp(), GRID, offset=offset))
    assert whole["inside"] == 1
    assert whole[line] > 10
    assert all(whole[other] == 1 for other in LINES if other != line)
    assert whole["ratio"] == whole[line]


def test_a_seam_counts_for_its_tile_row():
    pixels = ramp()
    pixels[:, 2 * GRID.stride :] += 90  # between the tile rows 1 and 2
    _whole, *rows = measured(pixels)
    assert rows[0]["ratio"] == rows[1]["ratio"] == 1
    assert rows[2]["ratio"] > 10


def test_gradients_do_not_depend_on_how_rows_are_read():
    pixels = landscape(3, GRID.height, GRID.width)
    for parts, whole in zip(measured(pixels, rows=7), measured(pixels, rows=150), strict=True):
        assert parts == pytest.approx(whole)


def test_invalid_pixels_make_no_gradient():
    pixels, valid = ramp().astype(np.float32), np.ones((150, 170), bool)
    pixels[:, 60:90, 30:70], valid[60:90, 30:70] = np.nan, False
    assert measured(pixels, valid=valid)[0]["ratio"] == 1


def test_without_overlap_the_three_lines_are_one():
    grid = TileGrid(height=64, width=128, size=64, overlap=0)
    pixels = with_steps(ramp(grid), grid, offset=0)
    whole = measured(pixels, grid=grid)[0]
    assert whole["begin"] == whole["middle"] == whole["end"] == 51


def test_a_scene_of_one_tile_has_no_lines():
    grid = TileGrid(height=40, width=50, size=64, overlap=16)
    assert np.isnan(measured(ramp(grid), grid=grid)[0]["ratio"])


def test_differences_are_those_counted_by_hand():
    found = Differences(GRID)
    distance = np.array([[[3, 0], [-4, 9]]])
    valid = np.array([[True, True], [True, False]])
    changed = np.array([[True, False], [False, True]])
    found.add(distance, valid, corner=(47, 5), is_changed=changed)
    whole, first, second, *_ = found.measured()
    assert whole == {"rms": np.sqrt(25 / 3), "mean": 7 / 3, "changed": 1 / 3}
    assert (first["mean"], second["mean"]) == (1.5, 4)
    assert np.isnan(found.measured()[3]["rms"])


def test_heat_shows_where():
    heat = Heat.over(1024, 700)
    heat.add(np.full((3, 2), 16.0), np.ones((3, 2), bool), corner=(511, 100))
    heat.add(np.full((1, 1), 4.0), np.ones((1, 1), bool), corner=(511, 101))
    picture = heat.picture()
    assert (heat.step, picture.shape) == (2, (512, 350))
    assert np.argwhere(np.isfinite(picture)).tolist() == [[255, 50], [256, 50]]
    assert picture[256, 50] == 4
    assert picture[255, 50] == pytest.approx(np.sqrt((16 + 16 + 4) / 3))
