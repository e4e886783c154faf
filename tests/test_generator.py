"""Devices that have too little memory, or do not work: smaller batches, the CPU, or one line."""

import logging
import warnings

import numpy as np
import pytest
import torch
from clusters import Hungry
from scenes import landscape, write_scene

import geop2p
from geop2p.engines import choice
from geop2p.engines.choice import Engine, choose_device
from geop2p.errors import OptionError, OutOfMemoryError
from geop2p.generator import (
    ReadyGenerator,
    told_when_out_of_memory,
    torch_left_alone,
    use_exact_kernels,
)

TILES = torch.from_numpy(np.random.default_rng(0).random((8, 3, 16, 16), np.float32))


def ready(most, *, error=torch.OutOfMemoryError, batch_size=8):
    hungry = Hungry(most, error)
    # a bound method is a bare function: it gets the batch size, as a network does on a GPU
    return hungry, ReadyGenerator(hungry.forward, Engine(batch_size=batch_size))


@pytest.mark.parametrize(("most", "seen"), [(8, [8]), (4, [8, 4, 4]), (3, [8, 4, 2, 2, 2, 2])])
def test_batches_are_halved_until_they_fit_and_the_pictures_are_the_same(most, seen, caplog):
    hungry, run = ready(most)
    assert torch.equal(run(TILES), TILES)
    assert hungry.seen == seen
    assert len(caplog.records) == (most < 8)


def test_what_fits_is_remembered_and_told_once(caplog):
    hungry, run = ready(2)
    run(TILES)
    hungry.seen.clear()
    run(TILES)
    assert hungry.seen == [2, 2, 2, 2]
    assert len(caplog.records) == 1
    assert "no memory for batches of 8 tiles" in caplog.text


def test_a_network_is_halved_too_and_padded_to_what_fits():
    run = ReadyGenerator(Hungry(2), Engine())
    assert torch.equal(run(TILES[:5]), TILES[:5])
    assert run.runner.function.seen == [4, 2, 2, 2]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, RuntimeError])
def test_no_memory_for_a_single_tile_is_one_clear_error(error):
    _, run = ready(0, error=error)
    with pytest.raises(OutOfMemoryError, match="no memory for a group of tiles: CUDA") as caught:
        run(TILES)
    assert caught.value.exit_status == 7


def test_the_cpus_own_refusal_is_understood():
    run = ReadyGenerator(lambda _: torch.empty(1 << 50), Engine())
    with pytest.raises(OutOfMemoryError, match="can't allocate memory"):
        run(TILES)


def test_other_errors_pass():
    def broken(_):
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        ReadyGenerator(broken, Engine())(TILES)


def test_a_map_is_the_same_where_memory_is_short(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", landscape(3, 500, 700))
    maps = [
        geop2p.translate(scene, tmp_path / f"{most}.tif", generator=Hungry(most), batch_size=4)
        for most in (4, 1)
    ]
    assert maps[0].sha256 == maps[1].sha256


def test_strips_without_memory_say_what_to_do(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", landscape(3, 300, 300))
    with pytest.raises(OutOfMemoryError, match="fewer --workers"):
        geop2p.translate(scene, tmp_path / "map.tif", generator=Hungry(0))
    assert [path.name for path in tmp_path.iterdir()] == ["scene.tif"]


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="torch before 2.9")
@pytest.mark.parametrize("wanted", ["tf32", "ieee", "none"])
def test_tf32_is_off_however_a_program_asked_for_it_and_comes_back(wanted):
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul

    def switches():
        return [matmul.fp32_precision, cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision]

    with torch_left_alone():
        torch.backends.fp32_precision = wanted
        try:
            before = switches()
            with torch_left_alone():
                use_exact_kernels()
                assert switches() == ["ieee"] * 3
                assert not matmul.allow_tf32
                assert not cudnn.allow_tf32
                assert cudnn.deterministic
            assert switches() == before
        finally:
            torch.backends.fp32_precision = "none"


@pytest.mark.parametrize(
    "words", ["CUDA error: out of memory\nmore", "cuDNN error: CUDNN_STATUS_ALLOC_FAILED"]
)
def test_memory_that_a_gpu_lacks_is_told_of_whatever_the_words(words):
    told = told_when_out_of_memory("a strip")
    with pytest.raises(OutOfMemoryError, match="no memory for a strip"), told:
        raise RuntimeError(words)


class FakeGpu:
    """Stands for torch.cuda."""

    def __init__(self, *, is_available=True, warning=None, count=1):
        self.found, self.warning, self.count = is_available, warning, count

    def is_available(self):
        if self.warning:
            warnings.warn(self.warning, UserWarning, stacklevel=1)
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def device_count(self):
        return self.count


BROKEN = {
    "an old driver": (
        FakeGpu(is_available=False, warning="The NVIDIA driver is too old\nand more"),
        "the GPU is not usable: The NVIDIA driver is too old",
    ),
    "an error": (FakeGpu(is_available=RuntimeError("no NVML\nmore")), "not usable: no NVML"),
    "no kernel": (FakeGpu(), "the GPU is not usable: "),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_gpu_that_does_not_work_is_told_of_once_and_refused_by_name(monkeypatch, caplog, case):
    fake, expected = BROKEN[case]

    def refuse(*_, **__):
        raise RuntimeError("no kernel image is available for execution on the device")

    monkeypatch.setattr(choice.torch, "cuda", fake)
    monkeypatch.setattr(choice.torch, "ones", refuse)
    assert choose_device("auto") == "cpu"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert expected in caplog.text
    with pytest.raises(OptionError, match=expected) as caught:
        choose_device("cuda")
    assert "\n" not in str(caught.value)


def test_no_gpu_is_no_warning(monkeypatch, caplog):
    monkeypatch.setattr(choice.torch, "cuda", FakeGpu(is_available=False))
    with caplog.at_level(logging.INFO, logger="geop2p"):
        assert choose_device("auto") == "cpu"
    assert [record.levelname for record in caplog.records] == ["INFO"]


def test_a_second_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(choice.torch, "cuda", FakeGpu(count=1))
    with pytest.raises(OptionError, match="1 CUDA devices are usable"):
        choose_device("cuda:1")
