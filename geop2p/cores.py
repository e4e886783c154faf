"""How many cores this process may use."""

import os


def usable_cores() -> int:
    """Return the cores that the system lets this process run on, which may be fewer than it has."""
    return len(os.sched_getaffinity(0))
