import subprocess
import sys

import numpy as np

from geop2p import memory
from geop2p.memory import peak_memory_mib

TOLD = "from geop2p.memory import peak_memory_mib; print(peak_memory_mib())"


def test_a_large_array_is_seen_and_stays_seen():
    pixels = np.ones(256 * 2**20, np.uint8)
    assert peak_memory_mib() >= 256
    del pixels
    assert peak_memory_mib() >= 256


def test_a_program_started_by_a_large_one_tells_its_own_size():
    held = np.ones(600 * 2**20, np.uint8)
    found = subprocess.run([sys.executable, "-c", TOLD], capture_output=True, text=True, check=True)
    assert float(found.stdout) < 300 < peak_memory_mib()
    assert held.size == 600 * 2**20


def test_without_proc_the_figure_is_that_of_getrusage(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "STATUS", tmp_path / "status")
    assert peak_memory_mib() > 1
