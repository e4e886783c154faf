"""One run for one output: a lock of the operating system, which ends with the process."""

import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from geop2p.errors import OutputError
from geop2p.writing import told_as_output_error


@contextmanager
def held(target: Path) -> Iterator[None]:
    """Hold the lock of a target, a file or a folder that need not exist yet.

    The lock is an ``flock`` on ``.NAME.lock`` beside it, which is removed afterwards. A process
    that is killed leaves that file, but no lock: the next run takes it over.

    Raises
    ------
    OutputError
        At once, when another run holds it, naming that; or when its folder is not writable.
    """
    path = lock_path(target)
    lock = FileLock(path, timeout=0, thread_local=False)  # any thread may let it go
    with told_as_output_error(target):
        try:
            _acquire(lock, path)
        except Timeout as exc:
            raise OutputError(
                f"{target}: is being written by {_holder(path)} (wait for it, or choose another)"
            ) from exc
    try:
        with told_as_output_error(target):
            path.write_text(_own_name(), encoding="utf-8")
        yield
    finally:
        with suppress(OSError):  # on a disk that turned read-only the file stays, unlocked
            path.unlink(missing_ok=True)  # while it is held: whoever waits sees that it is gone
        lock.release()


@contextmanager
def all_held(targets: Iterable[Path]) -> Iterator[None]:
    """Hold the locks of several targets, see `held`; of none where one is taken."""
    with ExitStack() as locks:
        for target in targets:
            locks.enter_context(held(target))
        yield


def holder_of(target: Path) -> str | None:
    """Return who holds the lock of a target, None where nobody does; nothing is made or removed.

    Raises
    ------
    OutputError
        When the lock cannot be tried.
    """
    path = lock_path(target)
    if not path.exists():
        return None
    lock = FileLock(path, timeout=0, thread_local=False)
    with told_as_output_error(target):
        try:
            lock.acquire()
        except Timeout:
            return _holder(path)
        lock.release()
    return None


def lock_path(target: Path) -> Path:
    """Return the file that is locked for a target."""
    return target.with_name(f".{target.name}.lock")


def _acquire(lock: FileLock, path: Path) -> None:
    """Take a lock at once; a file system that refuses the file is told from a holder."""
    try:
        lock.acquire()
    except Timeout:
        if path.exists():
            raise
        path.touch()  # raises what keeps the file from being made, which passes for a holder
        lock.acquire()


def _own_name() -> str:
    since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"process {os.getpid()} on {socket.gethostname()} since {since}"


def _holder(path: Path) -> str:
    """Return what the holder wrote; it may have gone, or not written yet."""
    try:
        name = path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        name = ""
    return name[:200] or "another process"
