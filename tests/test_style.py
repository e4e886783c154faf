import json

import pytest

from geop2p.errors import OptionError
from geop2p.style import (
    find_palette,
    find_style,
    parse_style,
    read_style,
    shipped_palettes,
    shipped_styles,
)

ROADS = {
    "background": "#F2EFE9",
    "rules": [
        {"layer": "ways", "where": {"kind": ["major", "minor"]}, "fill": "#FFFFFF", "width_m": 8},
        {"where": {"name": "*"}, "fill": "#000000", "casing": {"colour": "#C9C1B6", "width_m": 1}},
    ],
}


def test_the_first_rule_that_matches_draws_a_feature():
    style = parse_style(ROADS)
    assert style.find_rule("ways", {"kind": "minor", "name": "x"}) == 0
    assert style.find_rule("others", {"kind": "minor", "name": "x"}) == 1


@pytest.mark.parametrize("name", [None, float("nan")])
def test_any_value_does_not_match_a_missing_one(name):
    assert parse_style(ROADS).find_rule("others", {"name": name}) is None


def test_colours_are_background_then_fill_and_casing_of_each_rule():
    white, black = (255, 255, 255), (0, 0, 0)
    assert parse_style(ROADS).colours() == [
        (0xF2, 0xEF, 0xE9), white, white, black, (0xC9, 0xC1, 0xB6),
    ]  # fmt: skip


def test_a_style_reaches_as_far_as_its_widest_line_with_its_casing():
    assert parse_style(ROADS).reach_m == 4


def test_every_shipped_file_is_a_palette_or_a_style():
    for name in shipped_styles():
        assert read_style(name) if name == "buildings" else find_palette(name)


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"background": "#FFFFFF", "rules": []},
        {"background": "#FFFFFF", "rules": [{"fill": "white"}]},
        {"background": "#FFFFFF", "rules": [{"fill": "#FFFFFF", "width_m": -1}]},
        {"background": "#FFFFFF", "rules": [{"fill": "#FFFFFF", "widht_m": 1}]},
        {"background": "#FFFFFF", "rules": [{"width_m": 1}]},
    ],
)
def test_a_file_that_is_no_style_is_refused_by_name(tmp_path, content):
    file = tmp_path / "style.json"
    file.write_text(json.dumps(content))
    with pytest.raises(OptionError, match=r"style\.json: not a style"):
        read_style(file)


def test_an_unknown_palette_lists_palettes_alone():
    with pytest.raises(OptionError, match="shipped name: roads, streets"):
        find_palette("rivers")
    assert shipped_palettes() == ["roads", "streets"]


def test_an_unknown_name_lists_what_ships():
    with pytest.raises(OptionError, match="buildings, roads, streets"):
        find_style("rivers")
