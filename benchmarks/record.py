"""Figures that are kept: with date, commit, machine and command, so that they can be made again."""

import json
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from geop2p.writing import write_atomically

RESULTS = Path(__file__).parent / "results"


def record(
    name: str, figures: dict[str, Any], *, folder: Path = RESULTS, is_shown: bool = True
) -> Path:
    """Write ``figures`` to ``FOLDER/NAME.json``, say so, and return the file."""
    path = folder / f"{name}.json"
    folder.mkdir(exist_ok=True, parents=True)
    content = provenance() | {"figures": _rounded(figures)}
    write_atomically(path, f"{json.dumps(content, indent=2)}\n".encode())
    print(path)
    if is_shown:
        print(json.dumps(content["figures"], indent=2))
    return path


def provenance() -> dict[str, str]:
    """Return what tells a figure from another day's: date, commit, machine, command."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": _commit(),
        "machine": _machine(),
        "command": shlex.join(["python", *_relative(sys.argv)]),
    }


def recorded(name: str, *, folder: Path = RESULTS) -> dict[str, Any] | None:
    """Return what ``FOLDER/NAME.json`` holds, or None where it was not measured."""
    path = folder / f"{name}.json"
    if not path.exists():
        return None
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def geop2p(*words: str | Path) -> dict[str, Any]:
    """Run the command line in a process of its own; return its JSON."""
    command = [sys.executable, "-m", "geop2p", *map(str, words), "--json", "-q"]
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    report: dict[str, Any] = json.loads(ended.stdout)
    return report


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = {line.split(":")[1].strip() for line in lines if line.startswith("model name")}
    count = sum(line.startswith("processor") for line in lines)
    cpu = f"{count} x {', '.join(sorted(names))}"
    return f"{cpu}, {platform.system()}, Python {platform.python_version()}"


def _commit() -> str:
    """Return the commit, with ``+`` where tracked files differ from it."""
    try:
        commit = _output("git", "rev-parse", "--short", "HEAD")
        is_changed = bool(_output("git", "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return "unknown"  # a copy without its history
    return f"{commit}+" if is_changed else commit


def _rounded(figures: Any) -> Any:  # noqa: ANN401  as JSON has it
    """Return figures with floats of 4 digits: no measurement here is worth more."""
    if isinstance(figures, float):
        return float(f"{figures:.4g}")
    if isinstance(figures, dict):
        return {key: _rounded(value) for key, value in figures.items()}
    if isinstance(figures, list | tuple):
        return [_rounded(value) for value in figures]
    return figures


def _relative(words: list[str]) -> list[str]:
    """Return a command's words without folders outside the repository."""
    here = Path.cwd()
    return [
        str(Path(word).relative_to(here))
        if word.startswith(str(here))
        else Path(word).name
        if word.startswith("/")
        else word
        for word in words
    ]


def _output(*command: str) -> str:
    here = Path(__file__).parent
    ended = subprocess.run(command, check=True, capture_output=True, text=True, cwd=here)
    return ended.stdout.strip()
