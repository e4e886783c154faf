"""JSON from outside: what it holds, or one error that says why not."""

import os

import pytest

from geop2p.documents import parse_json, read_json
from geop2p.errors import OptionError
from geop2p.facts import read_facts
from geop2p.palette import read_palette
from geop2p.style import read_style


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[" * 100_000, "nested"),
        ('{"a":' * 40 + "1" + "}" * 40, "nested"),
        ('{"a": 1, "a": 2}', "twice"),
        ("[NaN]", "NaN"),
        ("[-Infinity]", "Infinity"),
        ("", "Expecting value"),
        ("9" * 5000, "limit"),
    ],
)
def test_texts_without_sense_or_bounds_are_refused(text, expected):
    with pytest.raises(ValueError, match=expected):
        parse_json(text)


def test_brackets_in_texts_are_no_depth():
    assert parse_json('["' + "[" * 1000 + '\\""]') == ["[" * 1000 + '"']


@pytest.mark.timeout(20)
@pytest.mark.parametrize("read", [read_facts, read_palette, read_style])
def test_files_of_any_kind_end_in_one_line(tmp_path, read):
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "bytes.json").write_bytes(bytes(range(256)))
    (tmp_path / "deep.json").write_text("[" * 5000)
    (tmp_path / "large.json").write_bytes(b" " * (16 * 2**20 + 1))
    for path in tmp_path.iterdir():
        with pytest.raises(OptionError, match=path.name):
            read(path)


def test_bytes_that_are_no_text_are_told_in_plain_words(tmp_path):
    (tmp_path / "scene.tif").write_bytes(b"II*\0\xff\xfe")
    with pytest.raises(OptionError, match=r"scene\.tif: not a palette: it is no text in UTF-8"):
        read_palette(tmp_path / "scene.tif")


def test_a_device_is_not_read_to_its_end(tmp_path):
    (tmp_path / "zeros.json").symlink_to("/dev/zero")
    with pytest.raises(ValueError, match="a device"):
        read_json(tmp_path / "zeros.json")
