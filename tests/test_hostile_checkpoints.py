"""Whatever lies where a checkpoint should be: the checkpoint, or one line. No code ever runs."""

import io
import os
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from hostile_files import CANARIES, FOREIGN, unzipped, zipped

from geop2p import checkpoint
from geop2p.archive import ArchiveError, Sketch, examine_archive
from geop2p.checkpoint import NEWEST, load_checkpoint, save_checkpoint
from geop2p.errors import CheckpointError

STATE = {
    "generator": torch.nn.Linear(3, 5).state_dict(),
    "sums": torch.zeros(4, dtype=torch.float64),
    "settings": {"name": "größe", "lr": 2e-4, "amp": False, "max": None, "list": [1, 70_000]},
}


@pytest.fixture
def saved(tmp_path):
    save_checkpoint(tmp_path, STATE)
    return tmp_path


def refusal(run):
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(run)
    text = str(error.value)
    assert "\n" not in text
    assert "weights_only" not in text
    return text


@pytest.mark.parametrize("kind", CANARIES)
def test_no_code_runs_when_a_run_is_resumed(tmp_path, kind, run_cli):
    canary, run = tmp_path / "canary", tmp_path / "run"
    run.mkdir()
    for name in ("checkpoint.pt", "checkpoint-previous.pt"):
        (run / name).write_bytes(CANARIES[kind](canary))
    refusal(run)
    status, out, err = run_cli("train", "--resume", run)
    assert (status, out) == (4, "")
    assert "weights_only" not in err
    assert not canary.exists()


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_files_are_named(tmp_path, kind):
    (tmp_path / NEWEST).write_bytes(FOREIGN[kind])
    assert "it is " in refusal(tmp_path)


@pytest.mark.timeout(20)
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / NEWEST)
    assert "a pipe" in refusal(tmp_path)


def test_an_older_torch_reads_nothing(saved, monkeypatch):
    monkeypatch.setattr(checkpoint.torch, "__version__", "2.5.1+cpu")
    assert "torch 2.5.1+cpu is installed" in refusal(saved)


def test_examining_gives_plain_values_and_sketches(saved):
    with (saved / NEWEST).open("rb") as file:
        found = examine_archive(file)
    assert found["settings"] == STATE["settings"]
    assert found["sums"] == Sketch("DoubleStorage", (4,))
    assert dict(found["generator"])["weight"] == Sketch("FloatStorage", (5, 3))


def archive_of(value):
    content = io.BytesIO()
    torch.save(value, content)
    return content.getvalue()


def repacked(content, change, **options):
    return zipped(change(unzipped(content)), **options)


def with_pickle(content, pickled):
    """Return the archive with another pickle in it."""
    return repacked(
        content, lambda entries: [(n, pickled if n.endswith("data.pkl") else c) for n, c in entries]
    )


def replaced(content, old, new):
    """Return the archive with bytes of its pickle replaced; there must be some."""
    pickled = dict(unzipped(content))["archive/data.pkl"]
    assert old in pickled
    return with_pickle(content, pickled.replace(old, new))


def overlapping(content):
    """Let two names of the directory lead to one entry."""
    damaged = bytearray(content)
    first = content.rfind(b"PK\1\2", 0, content.rfind(b"PK\1\2"))
    last = content.rfind(b"PK\1\2")
    damaged[last + 42 : last + 46] = content[first + 42 : first + 46]
    return bytes(damaged)


def duplicate(content):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return repacked(content, lambda entries: [*entries, entries[-1]])


GOOD = archive_of({"format": 1, "weight": torch.zeros(8), "name": "x"})
EXPANDED = archive_of({"format": 1, "weight": torch.zeros(1).expand(10**9)})
BOMB = b"\x80\x02cbuiltins\nbytearray\nq\x00J\xff\xff\xff\x7f\x85R."
MEMO_BOMB = b"\x80\x02}r\xff\xff\xff\x7f."
ARCHIVES = {
    "expanded": (EXPANDED, "lies in a storage of 1"),
    "legacy": (archive_of({"w": torch.zeros(2)})[4:], "it is "),
    "compressed": (
        repacked(GOOD, lambda entries: entries, compression=zipfile.ZIP_DEFLATED),
        "compressed",
    ),
    "comment": (repacked(GOOD, lambda entries: entries, comment=b"hello"), "comment"),
    "odd name": (repacked(GOOD, lambda entries: [*entries, ("../x", b"")]), "is called '../x'"),
    "code": (
        repacked(GOOD, lambda entries: [*entries, ("archive/code/a.py", b"")]),
        "is called 'archive/code",
    ),
    "two roots": (repacked(GOOD, lambda entries: [*entries, ("b/version", b"3")]), "folders"),
    "twice": (duplicate(GOOD), "one name"),
    "overlap": (overlapping(GOOD), "overlap|otherwise"),
    "before": (b"PK\3\4" + bytes(96) + GOOD, "it is a ZIP archive|bytes lie before"),
    "no pickle": (repacked(GOOD, lambda entries: [entries[-1]]), "ZIP archive|no data.pkl"),
    "storage claims more": (replaced(GOOD, b"K\x08t", b"J\0\0\0\x10t"), "should have 268435456"),
    "storage claims less": (replaced(GOOD, b"K\x08t", b"K\x04t"), "should have 4"),
    "other type": (replaced(GOOD, b"FloatStorage", b"DoubleStorage"), "should have"),
    "beyond": (replaced(GOOD, b"QK\0K\x08", b"QK\x07K\x08"), "lies in a storage"),
    "strides": (replaced(GOOD, b"K\x01\x85", b"K\x09\x85"), "lies in a storage"),
    "negative": (replaced(GOOD, b"QK\0K\x08", b"QJ\xff\xff\xff\xffK\x08"), "as torch does it"),
    "bytearray": (with_pickle(GOOD, BOMB), "builtins.bytearray"),
    "tensor class": (with_pickle(GOOD, b"\x80\x02ctorch\nFloatTensor\nK\x05\x85R."), "FloatTensor"),
    "memo": (with_pickle(GOOD, MEMO_BOMB), "numbers a value"),
    "opcode": (with_pickle(GOOD, pickle.dumps({1}, protocol=4)), "instruction"),
    "cut pickle": (with_pickle(GOOD, b"\x80\x02}q\0(X\xff\xff\xff\x7fab"), "damaged"),
    "attributes": (
        with_pickle(GOOD, b"\x80\x02ccollections\nOrderedDict\n)R}X\x04\0\0\0keysK\x01sb."),
        "changes the attributes",
    ),
    "many": (
        zipped([("archive/data.pkl", b"\x80\x02}.")])[:-22] + b"PK\5\6" + bytes(4) + b"\xff" * 14,
        "not a readable checkpoint",
    ),
    "a list": (archive_of([1, 2]), "format None"),
    "another format": (archive_of({"format": 99}), "format 99"),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_archives_that_torch_would_believe_are_refused(tmp_path, kind):
    content, expected = ARCHIVES[kind]
    (tmp_path / NEWEST).write_bytes(content)
    import re

    assert re.search(expected, refusal(tmp_path))


def test_what_is_refused_is_refused_for_its_fault(tmp_path):
    (tmp_path / NEWEST).write_bytes(repacked(GOOD, lambda entries: entries))
    assert load_checkpoint(tmp_path)["name"] == "x"


def test_a_storage_that_is_shared_counts_each_time():
    shared = torch.zeros(1000)
    with pytest.raises(ArchiveError, match="more items than the file"):
        examine_archive(io.BytesIO(archive_of([shared[:999] for _ in range(50)])))


def equal(a, b):
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, OrderedDict | dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    return type(a) is type(b) and a == b


def loads_right_or_says_so(run):
    try:
        found = load_checkpoint(run)
    except CheckpointError as exc:
        return "\n" in str(exc)
    assert equal(found, {"format": 1} | STATE)
    return True


def test_truncations_at_every_64th_are_refused(saved):
    content = (saved / NEWEST).read_bytes()
    for part in range(64):
        (saved / NEWEST).write_bytes(content[: len(content) * part // 64])
        assert not loads_right_or_says_so(saved)


def test_flipped_bits_give_the_same_state_or_one_line(saved):
    content = (saved / NEWEST).read_bytes()
    random = np.random.default_rng(3)
    loaded = 0
    for _ in range(300):
        damaged = bytearray(content)
        damaged[random.integers(len(content))] ^= 1 << random.integers(8)
        (saved / NEWEST).write_bytes(damaged)
        loaded += loads_right_or_says_so(saved)
    assert 0 < loaded < 300  # padding between entries may be anything
