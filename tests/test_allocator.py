import subprocess
import sys

import pytest

from geop2p import allocator

SCRIPT = """
import ctypes, resource, sys
from geop2p.allocator import keep_freed_memory
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
if sys.argv[1] == "keep":
    print(keep_freed_memory())
def use():
    block = libc.malloc(64 << 20)
    ctypes.memset(block, 1, 64 << 20)
    libc.free(block)
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how):
    command = [sys.executable, "-c", SCRIPT, how]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is of the GNU C library")
def test_freed_memory_is_used_again_without_asking_the_system():
    can, again = faults("keep")
    assert can == "True"
    assert int(again) < 100 < int(faults("leave")[0])


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _name: object())
    assert not allocator.keep_freed_memory()


TRIM = """
import ctypes
from geop2p.allocator import release_freed_memory
from pathlib import Path
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
blocks = [libc.malloc(1 << 16) for _ in range(1024)]
for block in blocks:
    ctypes.memset(block, 1, 1 << 16)
kept = blocks.pop()  # above the others, so that they stay with the process
for block in blocks:
    libc.free(block)
before = resident()
print(release_freed_memory(), (before - resident()) >> 20)
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="malloc_trim is of the GNU C library"
)
def test_freed_memory_goes_back_to_the_system():
    made = subprocess.run([sys.executable, "-c", TRIM], check=True, capture_output=True, text=True)
    can, freed_mib = made.stdout.split()
    assert can == "True"
    assert int(freed_mib) > 50


def test_a_c_library_without_a_trim_is_left_alone(monkeypatch):
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _name: object())
    assert not allocator.release_freed_memory()
