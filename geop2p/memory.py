"""The largest size that this process has had."""

import resource
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_memory_mib() -> float:
    """Return the largest resident size of this process so far, MiB.

    Linux keeps it as ``VmHWM``. What ``getrusage`` tells outlives exec: in a program started by a
    large one it is the large one's size.

    References
    ----------
    proc_pid_status(5): VmHWM, "peak resident set size"; getrusage(2).
    """
    try:
        lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
    except (OSError, StopIteration, ValueError, IndexError):  # another system
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
