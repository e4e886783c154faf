"""Translations in processes of their own, which may be killed, or made to fail at a named point.

A fork server that has imported everything makes such a process quick to start.
"""

import multiprocessing
import os
import resource
import signal
import sys
from pathlib import Path

import geop2p
from geop2p.errors import Geop2pError
from geop2p.faults import observed

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["processes", "geop2p.pipelines.translate"])
REACHED_NO_FAULT = 77


class Fault:
    """At the Nth point that is reached: SIGKILL, or an ``OSError`` of that number."""

    def __init__(self, number, kind):
        self.left, self.kind = number, kind

    def __call__(self, point):
        self.left -= 1
        if self.left:
            return
        if self.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(self.kind, os.strerror(self.kind))


def start(scene, out, *, fault=None, file_limit=None, **options):
    """Start a translation and return its process; see `finished` for its exit status."""
    process = CONTEXT.Process(
        target=_translate, args=(scene, out), kwargs={"plan": (fault, file_limit, options)}
    )
    process.start()
    return process


def finished(process):
    """Wait for a process; return the exit status, negative for a signal."""
    process.join(120)
    assert process.exitcode is not None, "hangs"
    return process.exitcode


def _translate(scene, out, *, plan):
    fault, file_limit, options = plan
    sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115  the process ends with it
    if file_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    observer = Fault(*fault) if fault else Fault(0, None)
    status = 0
    try:
        with observed(observer):
            geop2p.translate(scene, out, **options)
    except Geop2pError as exc:
        status = exc.exit_status
    if status == 0 and observer.left > 0:
        status = REACHED_NO_FAULT
    os._exit(status)
