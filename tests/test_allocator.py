import os
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
    monkeypatch.delenv(allocator.ARENAS, raising=False)
    assert not allocator.keep_freed_memory()
    assert not allocator.share_freed_memory()


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


SHARE = """
import ctypes, re, sys, threading
from pathlib import Path
from geop2p.allocator import share_freed_memory
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
if sys.argv[1] == "share":
    print(share_freed_memory())
places = []
def use():
    places.append(libc.malloc(1000))
    all_here.wait()
all_here = threading.Barrier(4)
threads = [threading.Thread(target=use) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len({place >> 26 for place in places}))  # arenas begin at multiples of 64 MiB
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is of the GNU C library")
def test_threads_share_what_was_freed_unless_the_environment_says_otherwise():
    def told(how, **environment):
        return subprocess.run(
            [sys.executable, "-c", SHARE, how],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
        ).stdout.split()

    assert told("share") == ["True", "1"]
    assert told("share", MALLOC_ARENA_MAX="8") == ["False", *told("leave", MALLOC_ARENA_MAX="8")]
    assert int(told("leave", MALLOC_ARENA_MAX="8")[0]) > 1


def test_a_c_library_without_a_trim_is_left_alone(monkeypatch):
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _name: object())
    assert not allocator.release_freed_memory()
