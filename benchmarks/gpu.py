r"""Everything that is measured on a GPU machine, in one call of at most ten minutes.

    python3 benchmarks/gpu.py --out FOLDER [--wheels FOLDER] [--device cuda] [--size 10980]

It needs Linux, torch with CUDA, and no network. What the machine lacks of geop2p's dependencies is
carried as wheels. Where there is a network, for Python 3.12:

    pip download -d wheels --no-deps --only-binary=:all: --python-version 3.12 \
        --implementation cp --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 \
        --platform manylinux2014_x86_64 -c constraints.txt affine cligj click-plugins dask \
        distributed importlib_metadata lazy-importer locket partd rasterio tblib tornado zict

(for a machine that has what torch and matplotlib bring, click, rich, psutil, safetensors, msgpack,
PyYAML, sortedcontainers and torchmetrics; ``gpu.log`` names what is missing); then, in the
repository's root on the GPU machine:

    python3 benchmarks/gpu.py --wheels wheels --out gpu_results

Sections run one after the other, each in a process of its own with a time limit, so that none takes
another down. ``FOLDER/gpu.json`` is written after each, ``FOLDER/gpu.log`` has all that was said;
copied to ``benchmarks/results/gpu.json`` the figures appear in `benchmarks/summary.py`. This file
itself needs nothing but Python. To try it without a GPU: ``--device cpu --size 1024``.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

from record import record

ROOT = Path(__file__).resolve().parents[1]
LIMITS = {"machine": 100, "generator": 110, "whole": 140, "plain": 100, "training": 170}
"""Section to the seconds that it may take."""
MINUTES = 9.5
Figures = dict[str, Any]


def main() -> int:
    """Run the sections that were asked for; 1 when one failed."""
    options = _options()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * MINUTES
    figures: Figures = {"device": options.device, "size": options.size, "failed": {}}
    with (out / "gpu.log").open("w", encoding="utf-8") as log, _workplace() as name:
        folder = Path(name)
        environment = _environment(folder, options.wheels, log)
        for section in options.only:
            limit = min(LIMITS[section], end - time.monotonic())
            words = [section, "--device", options.device, "--size", str(options.size)]
            result = _run(words, folder=folder, environment=environment, log=log, limit=limit)
            if "failed" in result:
                figures["failed"][section] = result.pop("failed")
            figures[section] = result
            _compare(figures)
            record("gpu", figures, folder=out, is_shown=False)
    print(json.dumps(figures, indent=2))
    return int(bool(figures["failed"]))


def _workplace() -> tempfile.TemporaryDirectory[str]:
    """Return a folder for scenes and maps, in memory where there is room."""
    shared = Path("/dev/shm")
    stat = os.statvfs(shared) if shared.is_dir() else None
    has_room = stat is not None and stat.f_bavail * stat.f_frsize > 8 << 30
    return tempfile.TemporaryDirectory(dir=shared if has_room else None)


def _environment(folder: Path, wheels: Path | None, log: IO[str]) -> dict[str, str]:
    """Make geop2p and what it needs importable, without installing anything on the machine."""
    tree = folder / "tree" / "geop2p"
    tree.mkdir(parents=True)
    for source in (*(ROOT / "geop2p").iterdir(), ROOT / "cli", ROOT / "pipelines"):
        (tree / source.name).symlink_to(source)
    paths = [str(tree.parent)]
    if wheels is not None:
        site = folder / "site"
        install = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps"]
        files = sorted(str(path.resolve()) for path in wheels.glob("*.whl"))
        install += ["--no-compile", "--no-cache-dir", "--target", str(site), *files]
        subprocess.run(install, check=True, stdout=log, stderr=log)
        paths.append(str(site))
    before = os.environ.get("PYTHONPATH")
    paths += [before] if before else []
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def _run(
    words: list[str], *, folder: Path, environment: dict[str, str], log: IO[str], limit: float
) -> Figures:
    """Run one section and return its figures; ``failed`` says why there are none, or not all."""
    print(f"{words[0]} ...", flush=True)
    answer = folder / "answer.json"
    answer.unlink(missing_ok=True)
    script = str(Path(__file__).resolve().parent / "gpu_sections.py")
    command = [sys.executable, script, *words, "--answer", str(answer)]
    log.write(f"\n== {words[0]}\n")
    log.flush()
    start, failed = time.monotonic(), ""
    if limit < 10:
        return {"failed": "no time was left"}
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        if status := process.wait(limit):
            failed = f"ended with status {status} (see gpu.log)"
    except subprocess.TimeoutExpired:
        failed = f"took more than {limit:.0f} s"
        os.killpg(process.pid, signal.SIGKILL)  # what it started, too
        process.wait()
    found: Figures = json.loads(answer.read_text()) if answer.exists() else {}
    found["section_seconds"] = time.monotonic() - start
    return found | ({"failed": failed} if failed else {})


def _compare(figures: Figures) -> None:
    """Set the plain script's time beside that of the whole command, for the same model."""
    plain = figures.get("plain", {}).get("seconds")
    runs = figures.get("whole", {}).get("runs", {})
    ours = [run["seconds"] for name, run in runs.items() if name.startswith("unet_256 ")]
    if plain and ours:
        figures["plain"]["times_plain"] = plain / min(ours)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for results and log")
    parser.add_argument("--wheels", type=Path, help="folder of wheels to use")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", type=int, default=10980, help="pixels, side of the scene")
    parser.add_argument("--only", nargs="+", default=list(LIMITS), choices=LIMITS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
