"""Whatever is given as a model: a model, or one line that says what it is. No code ever runs."""

import json
import os
import socket
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch
from hostile_files import CANARIES, FOREIGN, torch_archive
from safetensors.torch import load_file, save_file
from scenes import noise, random_model, write_scene

from geop2p.errors import ModelError
from geop2p.header import read_header
from geop2p.model import load_model, read_card


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    return random_model(tmp_path_factory.mktemp("model") / "m.safetensors", ngf=1)


@pytest.fixture(scope="module")
def weights(model_file):
    return load_model(model_file).generator.state_dict()


def one_line(error):
    return "\n" not in str(error.value) and "weights_only" not in str(error.value)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors", ".tif", ""])
@pytest.mark.parametrize("kind", CANARIES)
def test_no_code_runs_whatever_a_model_holds(tmp_path, kind, suffix, run_cli):
    canary, path = tmp_path / "canary", tmp_path / f"model{suffix}"
    path.write_bytes(CANARIES[kind](canary))
    scene = write_scene(tmp_path / "scene.tif", noise(3, 32, 32))
    for arguments in (("info", path), ("translate", scene, "--model", path, "--out", "map.tif")):
        status, out, err = run_cli(*arguments)
        assert (status in {3, 4}, out, err.count("\n")) == (True, "", 1), err
        assert "weights_only" not in err
    assert not canary.exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_pickle_of_another_project_is_named_and_not_read(tmp_path, suffix):
    path = tmp_path / f"latest_net_G{suffix}"
    path.write_bytes(torch_archive(tmp_path / "canary"))
    with pytest.raises(ModelError, match=r"holds a pickle.*is not read") as error:
        load_model(path)
    assert one_line(error)


def test_a_json_card_is_text_only(tmp_path):
    canary = tmp_path / "canary"
    path = random_model(tmp_path / "m.safetensors")
    card = json.loads(read_card(path).to_json())
    card["training"] = {"py/reduce": [{"py/type": "os.system"}, {"py/tuple": [f"touch {canary}"]}]}
    card["description"] = f"!!python/object/apply:os.system ['touch {canary}']"
    save_file(load_file(path), path, {"geop2p": json.dumps(card)})
    load_model(path)
    assert not canary.exists()


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_foreign_files_are_named(tmp_path, kind, suffix, run_cli):
    path = tmp_path / f"m{suffix}"
    path.write_bytes(FOREIGN[kind])
    for read in (load_model, read_card):
        with pytest.raises(ModelError, match=r"m\.(safetensors|bin): ") as error:
            read(path)
        assert one_line(error)
    status, out, err = run_cli("info", path)
    assert (status in {3, 4}, out, err.count("\n")) == (True, "", 1)


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


SPECIAL = {
    "a folder": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "a socket": make_socket,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "no such model": lambda path: path.symlink_to("nowhere"),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_regular_file_is_named_and_never_waited_for(
    tmp_path, monkeypatch, kind, run_cli
):
    monkeypatch.chdir(tmp_path)  # a socket's name must be short
    from pathlib import Path

    path = Path("m.safetensors")
    SPECIAL[kind](path)
    with pytest.raises(ModelError, match=kind):
        load_model(path)
    assert run_cli("info", path)[0] == 4


def test_info_knows_a_model_by_its_content(tmp_path, model_file, run_cli):
    path = tmp_path / "model.bin"
    path.write_bytes(model_file.read_bytes())
    status, out, _err = run_cli("info", path, "--json")
    assert (status, json.loads(out)["kind"]) == (0, "model")


def with_header(path, change):
    """Write the file again with its header changed, the weights as they were."""
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    text = change(header)
    text = (text if isinstance(text, str) else json.dumps(header)).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def a_name(header):
    return next(name for name in header if name != "__metadata__")


def changed_card(**changes):
    def change(header):
        card = json.loads(header["__metadata__"]["geop2p"])
        for name, value in changes.items():
            card[name] = card[name] | value if isinstance(value, dict) else value
        header["__metadata__"]["geop2p"] = json.dumps(card)

    return change


def entry(**changes):
    return lambda header: header[a_name(header)].update(changes)


HEADERS = {
    "deep": (lambda header: '{"a":' * 5000 + "1" + "}" * 5000, "nested"),
    "deep card": (
        lambda header: header["__metadata__"].update(geop2p='{"a":' * 5000 + "1" + "}" * 5000),
        "nested",
    ),
    "twice": (lambda header: '{"a":{},"a":{}}', "twice"),
    "no object": (lambda header: "{} {}", "Extra data"),
    "metadata": (lambda header: header.update(__metadata__={"a": 1}), "no texts"),
    "negative": (entry(shape=[-1]), "whole numbers"),
    "huge": (entry(shape=[2**40, 2**40]), "does not fit its place"),
    "many": (entry(shape=[1] * 4000), "whole numbers"),
    "type": (entry(dtype="F64"), "expected F16"),
    "odd type": (entry(dtype=["F16"]), "expected F16"),
    "offsets": (entry(data_offsets=[0, 10**12]), "does not fit"),
    "backwards": (entry(data_offsets=[8, 0]), "does not fit"),
    "entry": (lambda header: header.update({a_name(header): 5}), "other entries"),
    "gap": (lambda header: header.pop(a_name(header)), "instead of"),
    "wide": (changed_card(generator={"ngf": 10**9}), "ngf is 1000000000"),
    "wider": (changed_card(generator={"ngf": 4096, "max_channels": None}), "instead of"),
    "bands": (changed_card(generator={"in_bands": 10**9}), "in_bands"),
    "true": (changed_card(generator={"ngf": True}), "ngf is True"),
    "tile": (changed_card(tile=10**9), "tile side"),
    "half tile": (changed_card(tile=256.0), "tile is"),
    "scaling": (changed_card(scene={"low": 10**400}), "card cannot be read"),
    "name": (changed_card(name=["x"]), "name is"),
    "not a number": (changed_card(scores={"a": float("nan")}), "NaN"),
    "list": (lambda header: header["__metadata__"].update(geop2p="[1]"), "card cannot be read"),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_headers_and_cards_that_claim_what_cannot_be(tmp_path, model_file, kind):
    change, expected = HEADERS[kind]
    path = tmp_path / "m.safetensors"
    path.write_bytes(with_header(model_file, change))
    with pytest.raises(ModelError, match=expected) as error:
        load_model(path)
    assert one_line(error)


@pytest.mark.parametrize("length", [2**63, 2**40, 17 * 2**20, 0, 1])
def test_a_headers_length_is_bounded(tmp_path, model_file, length):
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", length) + model_file.read_bytes()[8:])
    with pytest.raises(ModelError, match=r"safetensors"):
        load_model(path)


def test_another_architecture_is_told_by_its_first_differences(tmp_path, model_file):
    tensors = {f"model.{i}.weight": torch.zeros(2) for i in range(9)}
    path = tmp_path / "m.safetensors"
    save_file(tensors, path, {"geop2p": read_card(model_file).to_json()})
    with pytest.raises(ModelError, match=r"is missing; .*is missing; .*; and \d+ more"):
        load_model(path)


def test_a_flipped_weight_is_noticed(tmp_path, model_file):
    content = bytearray(model_file.read_bytes())
    content[-50] ^= 1
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="checksum"):
        load_model(path)


def test_two_files_of_one_model_are_equal(tmp_path, model_file):
    model = load_model(model_file)
    from geop2p.model import save_model

    save_model(tmp_path / "again.safetensors", model.generator, model.card)
    assert (tmp_path / "again.safetensors").read_bytes() == model_file.read_bytes()


def loads_right_or_says_so(path, weights):
    """Return whether the file loads; its weights must be right then."""
    try:
        found = load_model(path).generator.state_dict()
    except ModelError as exc:
        return "\n" in str(exc)
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) for name in weights)
    return True


def test_truncations_at_every_64th_are_refused(tmp_path, model_file, weights):
    content, path = model_file.read_bytes(), tmp_path / "m.safetensors"
    for part in range(64):
        path.write_bytes(content[: len(content) * part // 64])
        assert not loads_right_or_says_so(path, weights)


def flip(content, random):
    damaged = bytearray(content)
    damaged[random.integers(len(damaged))] ^= 1 << random.integers(8)
    return bytes(damaged)


@pytest.mark.parametrize("where", ["header", "anywhere"])
def test_flipped_bits_give_the_same_weights_or_one_line(tmp_path, model_file, weights, where):
    content, path = model_file.read_bytes(), tmp_path / "m.safetensors"
    data_at = len(content) - max(place.end for place in read_header(model_file).tensors.values())
    random = np.random.default_rng(7)
    end = data_at if where == "header" else len(content)
    loaded = 0
    for _ in range(200):
        path.write_bytes(flip(content[:end], random) + content[end:])
        loaded += loads_right_or_says_so(path, weights)
    assert loaded < 200


def test_a_claim_of_terabytes_takes_no_memory(tmp_path, model_file):
    path = tmp_path / "m.safetensors"
    path.write_bytes(with_header(model_file, changed_card(generator={"ngf": 4096})))
    script = (
        "import sys; from geop2p.memory import peak_memory_mib\n"
        "from geop2p.model import load_model\n"
        "from geop2p.errors import ModelError\n"
        "try: load_model(sys.argv[1])\n"
        "except ModelError: print(int(peak_memory_mib()))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, check=True
    )
    assert int(found.stdout) < 1024
