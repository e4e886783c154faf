"""What all tests share."""

import logging
import os
import signal

import pytest
from hypothesis import settings

# results must not depend on how busy the machine is
settings.register_profile("geop2p", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("geop2p")
os.environ.setdefault("MPLBACKEND", "Agg")
# as the command does: torch's threads that wait by spinning take the core that the others want
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# nohup, and a shell's &, switch signals off for all that is started below
for number in (signal.SIGHUP, signal.SIGINT):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def one_thread(monkeypatch):
    """Tiny networks gain nothing from threads, and lose much on a busy machine."""
    import torch

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def run_cli():
    """Run the command line in this process; return its exit status, stdout and stderr."""
    import sys
    from contextlib import redirect_stderr, redirect_stdout
    from io import StringIO

    from geop2p.cli import main as cli_main

    def run(*args):
        out, err = StringIO(), StringIO()
        argv, sys.argv = sys.argv, ["geop2p", *map(str, args)]
        try:
            with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
                cli_main.main()
        finally:
            sys.argv = argv
            logger = logging.getLogger("geop2p")
            logger.handlers, logger.propagate = [], True
        return ended.value.code, out.getvalue(), err.getvalue()

    return run


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model file with random weights, for tests that only draw with it."""
    from scenes import random_model

    return random_model(tmp_path_factory.mktemp("model") / "random.safetensors")


@pytest.fixture
def out(tmp_path):
    """Where a map may go: alone in a folder."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "map.tif"
