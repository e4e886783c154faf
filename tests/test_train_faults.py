"""A training whose disk, loss or neighbour fails: what was good is kept, and one error says so."""

import errno
import os
import resource
import shutil
import subprocess
import time
from contextlib import contextmanager
from threading import Thread

import pytest
import torch
from pair_files import TINY, write_pairs

from geop2p.checkpoint import NEWEST, load_checkpoint, save_checkpoint
from geop2p.errors import (
    CheckpointError,
    DiskFullError,
    OutOfMemoryError,
    OutputError,
    TrainingError,
)
from geop2p.faults import observed
from geop2p.locking import held
from geop2p.pipelines.stopping import signals_held_back
from geop2p.pipelines.train import train
from geop2p.training import Trainer

pytestmark = pytest.mark.usefixtures("one_thread")
SAVING = TINY | {"save_minutes": 1e-9}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("data") / "pairs", train=3, val=1)


@contextmanager
def file_limit(size):
    """Let no file grow beyond ``size`` bytes: the system answers EFBIG."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


def state(step):
    return {"step": step, "weights": torch.full((20_000,), float(step))}


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_a_limit_of_file_size_loses_no_checkpoint(tmp_path):
    save_checkpoint(tmp_path, state(1))
    save_checkpoint(tmp_path, state(2))
    size = (tmp_path / NEWEST).stat().st_size
    for part in range(10):
        with file_limit(size * part // 10), pytest.raises(DiskFullError, match="bytes are needed"):
            save_checkpoint(tmp_path, state(3))
        assert load_checkpoint(tmp_path)["step"] == 2
        assert names(tmp_path) == {"checkpoint.pt", "checkpoint-previous.pt"}
    (tmp_path / NEWEST).unlink()
    assert load_checkpoint(tmp_path)["step"] == 1


def failing(number, error):
    """Fail at the point of that number; tell afterwards whether there was one."""
    points = iter(range(10**6))

    def observe(point):
        if next(points) == number:
            raise OSError(error, os.strerror(error))

    return observe


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_whatever_step_of_a_save_fails_a_checkpoint_is_there(tmp_path, error):
    for number in range(100):
        run = tmp_path / str(number)
        run.mkdir()
        save_checkpoint(run, state(1))
        save_checkpoint(run, state(2))
        try:
            with observed(failing(number, error)):
                save_checkpoint(run, state(3))
        except DiskFullError:
            assert load_checkpoint(run)["step"] in {2, 3}
            assert names(run) == {"checkpoint.pt", "checkpoint-previous.pt"}
        else:
            break
    assert 5 < number < 100


@pytest.fixture(scope="module")
def begun(tmp_path_factory, pairs):
    """A run with one of two epochs done."""
    run = tmp_path_factory.mktemp("begun") / "run"
    train(pairs, run, **SAVING | {"epochs": 1, "epochs_decay": 0})
    return run


# bytes that let through nothing, the log alone, all but checkpoints
@pytest.mark.parametrize("size", [0, 1000, 100_000])
def test_a_full_disk_ends_a_training_that_can_go_on(tmp_path, begun, size):
    run = tmp_path / "run"
    shutil.copytree(begun, run)
    before = load_checkpoint(run)["position"]
    lock = (tmp_path / ".run.lock").as_posix()
    with file_limit(size), pytest.raises(DiskFullError) as error:
        train(resume=run, device="cpu", epochs=2)
    assert str(tmp_path) in str(error.value)
    assert error.value.exit_status == 6
    assert load_checkpoint(run)["position"] == before
    assert train(resume=run, device="cpu", epochs=2).is_complete
    assert not os.path.exists(lock)  # noqa: PTH110


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 512 KiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", folder], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no small file system can be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_fills_up_keeps_the_checkpoints(small_disk):
    save_checkpoint(small_disk, state(1))
    save_checkpoint(small_disk, state(2))
    filler = small_disk / "filler"
    filler.write_bytes(bytes(300 * 1024))
    with pytest.raises(DiskFullError, match="bytes are free"):
        save_checkpoint(small_disk, state(3))
    assert load_checkpoint(small_disk)["step"] == 2
    filler.unlink()
    save_checkpoint(small_disk, state(3))
    assert load_checkpoint(small_disk)["step"] == 3


def test_a_training_on_a_disk_that_is_too_small_says_so(small_disk, pairs, run_cli):
    (small_disk / "filler").write_bytes(bytes(400 * 1024))
    options = [p for n, v in TINY.items() for p in (f"--{n.replace('_', '-')}", str(v))]
    status, out, err = run_cli(
        "train", "-q", "--pairs", pairs, "--out", small_disk / "run", *options
    )
    assert (status, out, err.count("\n")) == (6, "", 1)
    assert "bytes are free" in err


@pytest.mark.parametrize(("number", "status"), [(errno.EROFS, 6), (errno.EACCES, 5)])
def test_a_folder_that_cannot_be_written_to_is_named_and_no_room_is_asked_for(
    tmp_path, pairs, monkeypatch, number, status
):
    def refuse(path, *_args, **_kwargs):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OutputError, match=f"{tmp_path} is not writable") as caught:
        train(pairs, tmp_path / "run", **TINY)
    assert caught.value.exit_status == status
    assert "room" not in str(caught.value)


def with_losses(monkeypatch, change):
    """Let ``change`` see each step's losses and the number of steps before it."""
    step = Trainer.step

    def changed(self, scene, truth, *, position):
        return change(step(self, scene, truth, position=position), position.total_steps)

    monkeypatch.setattr(Trainer, "step", changed)


def test_a_loss_that_is_no_number_names_step_part_and_checkpoint(tmp_path, pairs, monkeypatch):
    nan = torch.tensor([0.0, 0.0, float("nan"), 0.0])
    with_losses(monkeypatch, lambda losses, done: losses + nan if done == 4 else losses)
    run = tmp_path / "run"
    expected = (
        r"generator_gan is nan at step 2 of epoch 2 .*last good checkpoint is .*checkpoint.pt"
    )
    with pytest.raises(TrainingError, match=expected):
        train(pairs, run, **SAVING)
    assert load_checkpoint(run)["position"]["total_steps"] == 4
    monkeypatch.undo()
    assert train(resume=run, device="cpu").is_complete


def test_weights_that_are_no_numbers_are_not_saved(tmp_path, pairs, monkeypatch):
    def spoil(self):
        found = state_of(self)
        return found | {
            "generator": {name: t * float("nan") for name, t in found["generator"].items()}
        }

    state_of = Trainer.state
    monkeypatch.setattr(Trainer, "state", spoil)
    with pytest.raises(TrainingError, match=r"generator .* is not finite after step 1 .*no checkp"):
        train(pairs, tmp_path / "run", **SAVING)


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")],
)
def test_missing_memory_has_its_own_status(tmp_path, pairs, monkeypatch, error):
    def fail(losses, done):
        raise error

    with_losses(monkeypatch, fail)
    with pytest.raises(OutOfMemoryError, match="--batch-size") as told:
        train(pairs, tmp_path / "run", **TINY)
    assert told.value.exit_status == 7


def test_networks_that_no_memory_holds_are_refused_before_they_are_built(tmp_path, pairs):
    with pytest.raises(OutOfMemoryError, match="GiB to be trained"):
        train(pairs, tmp_path / "run", **TINY | {"ngf": 4096})
    assert not (tmp_path / "run").exists()


def test_a_second_training_of_one_run_fails_at_once(tmp_path, pairs, begun):
    began = time.monotonic()
    run = tmp_path / "run"
    shutil.copytree(begun, run)
    for folder, arguments in (
        (run, {"resume": run}),
        (tmp_path / "new", {"pairs": pairs, "out": tmp_path / "new"}),
    ):
        with held(folder), pytest.raises(OutputError, match=f"process {os.getpid()} "):
            train(**arguments, **({} if "resume" in arguments else TINY))
    assert time.monotonic() - began < 5


DAMAGES = {
    "ngf": lambda found: found["settings"].update(ngf=4096),
    "a list": lambda found: found["settings"].update(arch=["resnet"]),
    "seed": lambda found: found["settings"].update(seed="1"),
    "surprise": lambda found: found["settings"].update(surprise=1),
    "no settings": lambda found: found.pop("settings"),
    "facts": lambda found: found["facts"].update(description=[1]),
    "position": lambda found: found["position"].update(step=-1),
    "sums": lambda found: found.update(sums=torch.zeros(2)),
    "missing": lambda found: found["generator"].popitem(),
    "shape": lambda found: found["discriminator"].update({"0.weight": torch.zeros(3)}),
    "nan": lambda found: next(iter(found["generator"].values())).fill_(float("nan")),
    "moments": lambda found: found["optimisers"]["generator"]["state"][0].update(
        exp_avg=torch.ones(1)
    ),
    "optimiser": lambda found: found.update(optimisers={}),
    "weights": lambda found: found.update(generator=5),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_checkpoint_of_another_kind_is_refused_in_one_line(tmp_path, begun, kind):
    run = tmp_path / "run"
    shutil.copytree(begun, run)
    found = load_checkpoint(run)
    found["generator"] = dict(found["generator"])
    DAMAGES[kind](found)
    save_checkpoint(run, found)
    with pytest.raises(CheckpointError, match="does not fit this geop2p") as error:
        train(resume=run, epochs=2, device="cpu")
    assert "\n" not in str(error.value)


def test_signals_wait_for_the_end_of_what_is_computed():
    import signal

    came = []
    former = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    try:
        with signals_held_back() as pending:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)  # the same, sent to the whole group
            assert (pending.has_come, came) == (True, [])
            pending.deliver()
            assert came == [signal.SIGTERM]
            os.kill(os.getpid(), signal.SIGTERM)
        assert came == [signal.SIGTERM] * 2
    finally:
        signal.signal(signal.SIGTERM, former)


def test_another_thread_holds_nothing_back():
    def hold():
        with signals_held_back() as pending:
            found.append(pending.has_come)

    found = []
    thread = Thread(target=hold)
    thread.start()
    thread.join()
    assert found == [False]
