"""A command measured from outside: wall time, CPU time and memory, child processes included."""

import json
import os
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

MIB = 1 << 20
SAMPLE_SECONDS = 0.05


class CommandFailed(RuntimeError):  # noqa: N818  a command that failed is what it is
    """A command ended with an error; the message is the end of what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one run of a command took.

    Parameters
    ----------
    report : dict
        The JSON that it printed last.
    wall_seconds, cpu_seconds : float
        From its start to its end, over all its threads and child processes.
    peak_mib : float, MiB
        Largest resident size, of the process and its children together.
    """

    report: dict[str, Any]
    wall_seconds: float
    cpu_seconds: float
    peak_mib: float


def measured(command: Sequence[str | Path], *, timeout: float = 1800) -> Measured:
    """Run a command that prints JSON and measure it.

    Every command gets the thread waiting policy that ``geop2p`` sets for itself, so that other load
    on the machine does not count against those that leave it at torch's default.

    Raises
    ------
    CommandFailed
        When it ends with another status than 0, takes longer than ``timeout``, or prints no JSON.
    """
    words = [str(word) for word in command]
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "PYTHONWARNINGS": "ignore"}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as told:
        start = time.perf_counter()
        process = subprocess.Popen(words, stdout=out, stderr=told, env=environment)
        memory = _Memory(process.pid)
        stopper = threading.Timer(timeout, process.kill)
        stopper.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        finally:
            stopper.cancel()
            peak = memory.stopped()
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        told.seek(0)
        report = _last_json(out.read())
        if process.returncode or report is None:
            raise CommandFailed(f"{shlex.join(words)}: {told.read()[-2000:]}")
    return Measured(
        report=report,
        wall_seconds=wall,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_mib=peak,
    )


def geop2p_command(*words: str | Path) -> list[str]:
    """Return the command line's words, run by this Python, with its report as JSON."""
    return [sys.executable, "-m", "geop2p", *map(str, words), "--json", "-q"]


class _Memory:
    """Samples the resident size of a process and its children until it is stopped."""

    def __init__(self, pid: int) -> None:
        self._pid, self._peak = pid, 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def stopped(self) -> float:
        """Return the largest sum seen, in MiB."""
        self._end.set()
        self._thread.join()
        return self._peak / MIB

    def _sample(self) -> None:
        while not self._end.wait(SAMPLE_SECONDS):
            try:
                process = psutil.Process(self._pid)
                family = [process, *process.children(recursive=True)]
                sizes = [_resident(member) for member in family]
                self._peak = max(self._peak, sum(sizes), _highest(self._pid))
            except (psutil.Error, OSError):  # it has ended meanwhile
                continue


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # it has ended meanwhile
        return 0


def _highest(pid: int) -> int:
    """Return the largest resident size of a process so far, in bytes.

    The kernel's figure for a child that ended, ``ru_maxrss``, is no use: it is never below the size
    that the parent had when it forked.
    """
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    return 0


def _last_json(text: str) -> dict[str, Any] | None:
    """Return the last object that was printed; a list, of several scenes, as ``scenes``."""
    for line in reversed(text.strip().splitlines()):
        if line.startswith(("{", "[")):
            found = json.loads(line)
            return {"scenes": found} if isinstance(found, list) else found
    return None
