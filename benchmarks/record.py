"""Figures that are kept: with date, commit, machine and command, so that they can be made again."""

import json
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def record(name: str, figures: dict[str, Any]) -> Path:
    """Write ``figures`` to ``results/NAME.json``, say so, and return the file."""
    path = RESULTS / f"{name}.json"
    RESULTS.mkdir(exist_ok=True)
    content = {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": _output("git", "rev-parse", "--short", "HEAD"),
        "machine": _machine(),
        "command": shlex.join(["python", *_relative(sys.argv)]),
        "figures": figures,
    }
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(f"{path}\n{json.dumps(figures, indent=2)}")
    return path


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
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
