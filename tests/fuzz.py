"""Translate files of any kind, each in a process of its own; ``make fuzz`` damages them at random.

python tests/fuzz.py --minutes 10
"""

import argparse
import collections
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import numpy as np
import rasterio
from corpus import damaged, faults, listing, make_formats

from geop2p.raster.opening import SceneSource, open_dataset
from geop2p.raster.scene import open_source

SECONDS = 60
"""Longest that a file may take."""


def verdicts(paths, folder, *, processes=2):
    """Translate files by the command line; return what became of each, in any order."""
    lists = [paths[number::processes] for number in range(processes)]
    runs = []
    for number, part in enumerate(lists):
        work = Path(folder) / f"work{number}"
        work.mkdir(parents=True, exist_ok=True)
        (work / "files.json").write_text(json.dumps(list(map(str, part))))
        runs.append((work, subprocess.Popen([sys.executable, __file__, "--work", str(work)])))
    found = []
    for work, run in runs:
        assert run.wait() == 0, f"the process that translates {work}/files.json died"
        found += [json.loads(line) for line in (work / "verdicts.jsonl").read_text().splitlines()]
    assert len(found) == len(paths)
    return found


def work_through(work):
    """Translate the files of a list, each in a fork of this process, and note each verdict."""
    import torch
    from scenes import random_model

    import geop2p.pipelines.translate  # noqa: F401  loaded once, for all forks

    torch.set_num_threads(1)
    model = random_model(work / "model.safetensors")
    out = work / "out"
    with (work / "verdicts.jsonl").open("w") as log:
        for path in map(Path, json.loads((work / "files.json").read_text())):
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            before = listing(path.parent)
            verdict = {"path": str(path), "wrong": ""}
            verdict |= _in_fork(work, lambda: _run_command(path, out / "map.tif", model))  # noqa: B023
            verdict["left"] = sorted(entry.name for entry in out.iterdir())
            verdict["is_touched"] = listing(path.parent) != before
            if verdict["status"] == 0:
                compared = _in_fork(work, lambda: _compare(path, out / "map.tif"))  # noqa: B023
                said, mark, wrong = compared["text"].rpartition("\nwrong: ")
                verdict["wrong"] = wrong if mark else f"not compared: {said or wrong}"
            log.write(json.dumps(verdict) + "\n")
            log.flush()


def _in_fork(work, action):
    """Run ``action`` in a fork; return its status, what it said, its seconds and its memory.

    Everything that starts threads has to stay in forks: a fork of a process with threads may hang.
    """
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        _end_with(work / "said", action)
    status = None
    while status is None:
        ended, code, usage = os.wait4(child, os.WNOHANG)
        if ended:
            status = os.waitstatus_to_exitcode(code)
        elif time.monotonic() - start > SECONDS:
            os.killpg(child, signal.SIGKILL)
            _, _, usage = os.wait4(child, 0)
            status = "killed, it took too long"
        else:
            time.sleep(0.005)
    return {
        "status": status,
        "text": (work / "said").read_text(errors="replace")[-4000:],
        "seconds": round(time.monotonic() - start, 1),
        "mebibytes": usage.ru_maxrss // 1024,
    }


def _end_with(said, action):
    """Be the fork: say everything into a file, and leave without what the parent would clean up."""
    os.setsid()
    file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1), os.dup2(file, 2)
    status = 70
    try:
        action()
        status = 0
    except SystemExit as exc:
        status = exc.code or 0
    except BaseException:  # noqa: BLE001  the parent sees the traceback
        traceback.print_exc()
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)


def _run_command(path, out, model):
    from geop2p.cli.main import main

    options = ["--out", out, "--model", model, "--device", "cpu", "--threads", "1", "--quiet"]
    sys.argv = ["geop2p", "translate", str(path), *map(str, options)]
    main()


def _compare(path, map_path):
    """Say what is wrong with a map; nothing where all is right."""
    sys.stdout.write(f"\nwrong: {_wrong(path, map_path) or _wrong_pixels(path)}")


def _wrong(path, map_path):
    """Return what of a map is not as rasterio reads the scene."""
    with (
        warnings.catch_warnings(),
        open_dataset(SceneSource(path=str(path))) as scene,
        rasterio.open(map_path) as found,
    ):
        warnings.simplefilter("ignore")
        valid = scene.dataset_mask() != 0
        pixels = scene.read() if scene.dtypes[0].startswith("float") else None
        if pixels is not None:
            valid &= np.isfinite(pixels).all(axis=0)
        with open_source(SceneSource(path=str(path), is_expanded=True)) as opened:
            is_expanded = opened.spec.is_expanded
        wrong = {
            "size": (scene.height, scene.width) != (found.height, found.width),
            "CRS": (scene.crs or None) != (found.crs or None),
            "transform": scene.transform != found.transform,
            "GCPs": _points(scene) != _points(found),
            "RPCs": (scene.rpcs is None) != (found.rpcs is None),
            "mask": not is_expanded and not np.array_equal(valid, found.dataset_mask() != 0),
        }
    return ", ".join(name for name, is_so in wrong.items() if is_so)


def _points(dataset):
    return [(p.row, p.col, p.x, p.y, p.z) for p in dataset.gcps[0]]


def _wrong_pixels(path):
    """Return whether the generator that changes nothing gives other pixels than the scene's."""
    import geop2p

    with open_source(SceneSource(path=str(path), is_expanded=True)) as scene:
        pixels, valid = scene.read(rows=(0, scene.spec.height))
    if pixels.dtype != np.uint8 or not valid.any():
        return ""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = Path(folder) / "same.tif"
        geop2p.translate(path, out, generator=lambda tiles: tiles, tile=64, overlap=16)
        with rasterio.open(out) as found:
            is_same = np.array_equal(found.read()[:, valid], pixels[:, valid])
    return "" if is_same else "pixels"


def fuzz(minutes, seed):
    """Damage and translate until the time is over; say every fault; return an exit status."""
    counts, broken = collections.Counter(), []
    end = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory(prefix="geop2p-fuzz-") as name:
        sound = Path(name) / "sound"
        sound.mkdir()
        formats = make_formats(sound)
        while time.monotonic() < end:
            folder = Path(name) / "damaged"
            folder.mkdir()
            seed += 1
            paths = [
                path for one in formats for path in damaged(folder, one, cuts=0, flips=8, seed=seed)
            ]
            random.Random(seed).shuffle(paths)
            for verdict in verdicts(paths, Path(name) / "work"):
                counts[verdict["status"]] += 1
                if faults(verdict):
                    kept = shutil.copy(
                        verdict["path"], Path.cwd() / f"fuzz-{seed}-{Path(verdict['path']).name}"
                    )
                    broken.append(f"{kept}: {faults(verdict)}")
            shutil.rmtree(folder)
            print(f"{sum(counts.values())} files, {dict(counts)}, {len(broken)} faults", flush=True)
    print(*broken, sep="\n")
    return 1 if broken else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work_through(arguments.work)
    else:
        sys.exit(fuzz(arguments.minutes, arguments.seed))
