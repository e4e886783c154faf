import json

import numpy as np
import pytest

from geop2p.errors import OptionError
from geop2p.palette import Palette, read_palette
from geop2p.style import find_palette

CASED = Palette.from_list(
    [
        {"index": 0, "name": "land", "colour": "#F2EFE9"},
        {
            "index": 1,
            "name": "road",
            "colour": "#FFFFFF",
            "casing": {"colour": "#C9C1B6", "width": 2},
        },
        {"index": 2, "name": "rail", "colour": "#101010", "casing": {"colour": "#808080"}},
    ]
)


def test_a_casing_surrounds_its_class_by_its_width():
    labels = np.zeros((9, 9), np.uint8)
    labels[4, 4] = 1
    is_casing = (CASED.draw(labels) == np.array([0xC9, 0xC1, 0xB6])[:, None, None]).all(axis=0)
    expected = np.zeros((9, 9), bool)
    expected[2:7, 2:7] = True
    expected[4, 4] = False
    assert (is_casing == expected).all()


def test_a_casing_never_covers_a_class_that_has_its_own():
    labels = np.array([[1, 2, 1]], np.uint8)
    assert CASED.draw(labels)[0].tolist() == [[255, 0x10, 255]]


def test_casing_pixels_are_scored_as_the_class_that_they_lie_in():
    labels = np.zeros((9, 9), np.uint8)
    labels[4] = 1
    assert (CASED.nearest(CASED.draw(labels)) == labels).all()


def test_unscored_classes_are_never_the_nearest():
    streets = find_palette("streets")
    labels = np.arange(6, dtype=np.uint8)[np.newaxis]
    assert streets.nearest(streets.draw(labels)).tolist() == [[1, 1, 2, 3, 4, 5]]


def test_a_palette_comes_back_from_its_list():
    assert Palette.from_list(CASED.to_list()) == CASED
    assert CASED.casing_width == 2


def test_a_label_without_an_entry_is_named():
    with pytest.raises(OptionError, match="label 9 is not in the palette"):
        CASED.draw(np.array([[0, 9]], np.uint8))


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [{"index": 1, "name": "a"}],
        [{"index": 300, "name": "a", "colour": "#000000"}],
        [{"index": 1, "name": "a", "colour": "black"}],
        [{"index": 1, "name": "a", "colour": "#000000", "casing": {"width": 1}}],
        [
            {
                "index": 1,
                "name": "a",
                "colour": "#000000",
                "casing": {"colour": "#000000", "width": 0},
            }
        ],
        {"background": "#000000"},
    ],
)
def test_a_file_that_is_no_palette_is_refused_by_name(tmp_path, entries):
    file = tmp_path / "palette.json"
    file.write_text(json.dumps(entries))
    with pytest.raises(OptionError, match=r"palette\.json"):
        read_palette(file)


@pytest.mark.parametrize("name", ["streets", "roads"])
def test_the_nearest_colour_is_that_of_the_least_distance_and_the_first_of_equals(name):
    palette = find_palette(name)
    picture = np.random.default_rng(0).integers(0, 256, (3, 40, 2000), np.uint8)  # > one piece
    scored = [entry for entry in palette.classes if entry.is_scored]
    distances = [
        ((picture.astype(int) - np.array(entry.colour)[:, None, None]) ** 2).sum(axis=0)
        for entry in scored
    ]
    expected = np.array([entry.index for entry in scored])[np.argmin(distances, axis=0)]
    assert np.array_equal(palette.nearest(picture), expected)


def test_snapping_gives_only_colours_of_scored_classes_and_changes_them_no_more():
    streets = find_palette("streets")
    picture = np.random.default_rng(0).integers(0, 256, (3, 50, 60), np.uint8)
    snapped = streets.snap(picture)
    scored = {entry.colour for entry in streets.classes if entry.is_scored}
    assert set(map(tuple, snapped.reshape(3, -1).T.tolist())) <= scored
    assert np.array_equal(streets.snap(snapped), snapped)
    assert np.array_equal(streets.nearest(snapped), streets.nearest(picture))


def test_a_palette_without_scored_classes_has_no_nearest():
    entry = {"index": 0, "name": "sea", "colour": "#000000", "scored": False}
    with pytest.raises(OptionError, match="none of the palette's classes is scored"):
        Palette.from_list([entry]).nearest(np.zeros((3, 1, 1), np.uint8))
