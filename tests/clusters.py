"""Real clusters of processes for the tests, and generators that harm the workers that run them."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import torch

SCHEDULER = "distributed.cli.dask_scheduler"
WORKER = "distributed.cli.dask_worker"


@contextmanager
def cluster(folder, *, workers=1, nanny=True, protocol="tcp", options=(), environment=()):
    """Run a scheduler and workers, each a program of its own; yield the scheduler's address."""
    started = []
    port_file = Path(folder) / "scheduler.json"
    common = ["--protocol", protocol, *options]
    try:
        started.append(
            _program(
                folder,
                [SCHEDULER, "--host", "127.0.0.1", "--port", "0", "--no-dashboard"],
                ["--scheduler-file", port_file, *common],
            )
        )
        address = _address_in(port_file)
        each = {"nanny": nanny, "options": common, "environment": environment}
        for number in range(workers):
            worker = start_worker(folder, address, name=f"worker-{number}", **each)
            started.append(worker)
        yield address, started
    finally:
        for process in started:
            end_tree(process.pid)
            process.wait()


def start_worker(folder, address, *, name, nanny=True, options=(), environment=()):
    """Start a worker of two threads."""
    mind = "--nanny" if nanny else "--no-nanny"
    limits = ["--nthreads", "2", "--memory-limit", "0", "--no-dashboard", mind, "--name", name]
    place = ["--host", "127.0.0.1", "--local-directory", folder]
    return _program(folder, [WORKER, address, *limits, *place], options, environment)


def _program(folder, command, options=(), environment=()):
    line = [sys.executable, "-m", *map(str, command), *map(str, options)]
    with (Path(folder) / "cluster.log").open("ab") as log:
        return subprocess.Popen(
            line,
            cwd=folder,
            stdout=log,
            stderr=log,
            env=os.environ | {"DASK_DISTRIBUTED__ADMIN__LOG_LENGTH": "100"} | dict(environment),
        )


def _address_in(file):
    import json

    for _ in range(600):
        if file.exists() and file.read_text().strip():
            return json.loads(file.read_text())["address"]
        time.sleep(0.1)
    raise TimeoutError(file)


def end_tree(pid):
    """Kill a process and all that it started."""
    try:
        tree = [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]
    except psutil.NoSuchProcess:
        return
    for process in tree:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def worker_processes(pid=None):
    """Return the worker processes under a process, by default this one."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        try:
            line = " ".join(process.cmdline())
        except psutil.NoSuchProcess:
            continue
        if "spawn_main" in line:
            found.append(process)
    return found


def listening(pid=None):
    """Return the addresses on which a process and all that it started listen."""
    process = psutil.Process(pid)
    found = set()
    for each in [process, *process.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):  # it may end while it is asked
            connections = each.net_connections(kind="inet")
            found |= {one.laddr.ip for one in connections if one.status == psutil.CONN_LISTEN}
    return found


class Slow(torch.nn.Module):
    """The identity, a while later."""

    def __init__(self, seconds):
        super().__init__()
        self.seconds = seconds

    def forward(self, tiles):
        time.sleep(self.seconds)
        return tiles


class Poison(torch.nn.Module):
    """The identity, but it ends its process where a tile is all of its darkest value."""

    def forward(self, tiles):
        if any(bool((tile == -1).all()) for tile in tiles if tile.any()):
            os._exit(1)
        return tiles


class Hungry(torch.nn.Module):
    """The identity, but a device has memory for so many tiles only."""

    def __init__(self, most, error=torch.OutOfMemoryError):
        super().__init__()
        self.most, self.error = most, error
        self.seen = []

    def forward(self, tiles):
        self.seen.append(len(tiles))
        if len(tiles) > self.most:
            raise self.error("CUDA out of memory: not enough memory")
        return tiles
