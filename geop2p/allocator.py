"""The C library's allocator, told what to do with memory that is freed.

A step of training frees hundreds of megabytes and asks for them again. By default each large block
goes back to the system and comes anew, page by page, filled with zeros. Opening a model frees its
weights in other forms, and never asks again: by default they stay with the process. And by default
threads have arenas of their own, each with what it once used and may use again.

References
----------
mallopt(3) of the GNU C library: M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX; malloc_trim(3).
"""

import ctypes
import os
from collections.abc import Callable

ARENAS = "MALLOC_ARENA_MAX"
"""Variable of the environment that says how many arenas a process may have."""
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
KEPT_BYTES = 2**31 - 1
"""The highest threshold that mallopt takes, an int."""


def keep_freed_memory() -> bool:
    """Let this process keep freed memory for its next use; return whether the C library can.

    It cannot be undone, so it is for commands, and not for a library within other programs.
    """
    mallopt = _c_function("mallopt")
    if mallopt is None:
        return False
    is_trim_set = mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
    return bool(mallopt(M_MMAP_MAX, 0) and is_trim_set)


def share_freed_memory() -> bool:
    """Let all threads take from one arena what any of them freed; return whether it was done.

    Before threads are started. It cannot be undone, so it is for commands. A number of arenas that
    the environment names is left as it is.
    """
    mallopt = None if ARENAS in os.environ else _c_function("mallopt")
    return mallopt is not None and bool(mallopt(M_ARENA_MAX, 1))


def release_freed_memory() -> bool:
    """Give freed memory back to the system; return whether some was, and the C library can.

    It changes nothing of what the process does next, so it is for libraries too.
    """
    trim = _c_function("malloc_trim")
    return trim is not None and bool(trim(0))


def _c_function(name: str) -> Callable[..., int] | None:
    """Return a function of GNU's C library; None where there is another, or another system."""
    try:
        found: Callable[..., int] = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):
        return None
    return found
