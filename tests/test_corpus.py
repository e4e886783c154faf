"""Any file whatever: a right map, or one line and a documented status, and nothing left over."""

import pytest
from corpus import FORMATS, damaged, faults, make_formats, make_odd
from fuzz import verdicts


def assert_kept(found, *, expected=None):
    broken = {verdict["path"]: faults(verdict) for verdict in found if faults(verdict)}
    assert broken == {}
    for verdict in found:
        wanted = {0, 3} if expected is None else {expected[verdict["path"]]}
        assert verdict["status"] in wanted, (verdict["path"], verdict["text"])


def test_sound_scenes_of_every_format_are_translated(tmp_path):
    scenes = make_formats(tmp_path)
    assert_kept(verdicts(scenes, tmp_path / "w"), expected=dict.fromkeys(map(str, scenes), 0))


def test_odd_rasters_and_what_is_none(tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    expected = {str(path): status for path, status in make_odd(folder)}
    assert_kept(verdicts(list(expected), tmp_path / "w"), expected=expected)


def damaged_scenes(tmp_path, *, cuts, flips, names=tuple(FORMATS)):
    (tmp_path / "sound").mkdir()
    (tmp_path / "damaged").mkdir()
    sound = [path for path in make_formats(tmp_path / "sound") if path.name in names]
    return [
        path for one in sound for path in damaged(tmp_path / "damaged", one, cuts=cuts, flips=flips)
    ]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_cut_at_every_64th_and_500_flipped_bits(tmp_path):
    scenes = damaged_scenes(tmp_path, cuts=64, flips=46)
    assert len(scenes) == len(FORMATS) * (64 + 46)
    assert_kept(verdicts(scenes, tmp_path / "w"))
