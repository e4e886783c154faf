import json

import pytest

from geop2p.errors import OptionError
from geop2p.facts import (
    CardFacts,
    band_names,
    parse_facts,
    read_facts,
    reversed_facts,
    scaling_of,
)
from geop2p.palette import MapClass, Palette

FACTS = CardFacts(
    description="a map",
    gsd_m=0.5,
    scene_bands=("nir", "red"),
    scene_range=(0.0, 10_000.0),
    palette=Palette((MapClass(index=0, name="land", colour=(1, 2, 3)),)),
)


def test_facts_come_back_from_plain_values():
    assert parse_facts(json.loads(json.dumps(FACTS.to_dict()))) == FACTS


def test_a_palette_can_be_a_file_beside_the_facts(tmp_path):
    (tmp_path / "palette.json").write_text(json.dumps(FACTS.palette.to_list()))
    (tmp_path / "card.json").write_text('{"palette": "palette.json"}')
    assert read_facts(tmp_path / "card.json").palette == FACTS.palette


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "not the facts"),
        ("[]", "JSON object"),
        ('{"gsd": 1}', "unknown entries: gsd"),
        ('{"scene_range": [1]}', "not the facts"),
        ('{"palette": "nowhere.json"}', "nowhere.json"),
    ],
)
def test_unfit_facts_are_refused_by_file(tmp_path, text, expected):
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(OptionError, match=expected) as caught:
        read_facts(tmp_path / "card.json")
    assert "card.json" in str(caught.value)


def test_the_way_back_has_no_classes():
    back = reversed_facts(FACTS)
    assert (back.map_bands, back.map_range, back.palette) == (("nir", "red"), (0, 10_000), None)


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("uint8", 0, 255),
        ("uint16", 0, 65_535),
        ("int16", -32_768, 32_767),
        ("int8", -128, 127),
        ("uint32", 0, 2**32 - 1),
    ],
)
def test_integers_use_their_whole_range(dtype, low, high):
    scaling = scaling_of(dtype, None)
    assert (scaling.dtype, scaling.low, scaling.high) == (dtype, low, high)


def test_floats_need_a_range():
    with pytest.raises(OptionError, match="float32 need a range"):
        scaling_of("float32", None)
    assert scaling_of("float32", (0, 0.5)).high == 0.5


def test_bands_are_named_or_numbered():
    assert band_names((), 3) == ("red", "green", "blue")
    assert band_names((), 2) == ("band 1", "band 2")
    assert band_names(("a", "b"), 2) == ("a", "b")
    with pytest.raises(OptionError, match="2 band names for 3 bands"):
        band_names(("a", "b"), 3)
