"""Files that appear complete or not at all: written beside their target, synced, then renamed.

A target's temporary files are called ``.NAME.PROCESS.part*``, so that whoever is next can tell what
a killed process left.
"""

import errno
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from geop2p.errors import DiskFullError, Geop2pError, OutputError
from geop2p.faults import around

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""No space, over the quota, over a limit of file sizes, a failing device."""
DENIALS: dict[int | None, type[OutputError]] = {
    errno.EROFS: DiskFullError,
    errno.EACCES: OutputError,
}
"""A file system that is, or was turned, read-only; a folder that belongs to somebody else."""

_temporaries: set[Path] = set()
_folders: set[Path] = set()


@contextmanager
def told_as_output_error(target: Path, *, needed: int | None = None) -> Iterator[None]:
    """Raise what the operating system refuses as `OutputError`; geop2p's own errors pass.

    Parameters
    ----------
    target : Path
        What is written.
    needed : int or None, bytes
        What it takes, for the message.

    Raises
    ------
    DiskFullError
        For an error of the disk, see `DISK_ERRORS`, and a read-only file system.
    OutputError
        For any other; those of `DENIALS` name the folder.
    """
    try:
        yield
    except OSError as exc:
        if isinstance(exc, Geop2pError):
            raise
        reason = exc.strerror or str(exc)
        if exc.errno in DISK_ERRORS:
            raise disk_full(target, reason, needed=needed) from exc
        if exc.errno in DENIALS:
            raise DENIALS[exc.errno](
                f"{target}: {_refusing(Path(exc.filename or target))} is not writable: {reason} "
                "(choose another folder, or make it writable)"
            ) from exc
        raise OutputError(
            f"{target}: cannot be written: {reason} (check the folder, or choose another)"
        ) from exc


def check_folder(target: Path) -> None:
    """Refuse a target whose folder is missing, no folder, or not writable.

    Raises
    ------
    OutputError
        In any of these cases.
    """
    folder = target.parent
    if folder.is_dir() and os.access(folder, os.W_OK):
        return
    if folder.is_dir():
        why = f"the folder {folder} is not writable (choose another)"
    elif folder.exists():
        why = f"{folder} is a file (expected a folder: choose another)"
    else:
        why = f"the folder {folder} does not exist (create it or choose another)"
    raise OutputError(f"{target}: {why}")


def _refusing(path: Path) -> Path:
    """Return what does not let a path be written: a file itself, else the folder it is to be in."""
    if path.is_file():
        return path
    return next((parent for parent in path.parents if parent.is_dir()), path.parent)


def disk_full(target: Path, reason: str, *, needed: int | None) -> DiskFullError:
    """Return the error of a target that the disk does not take, with bytes needed and free."""
    free = free_bytes(target.parent)
    amount = f"{free} bytes are free" if free is not None else "free space is unknown"
    if needed is not None:
        amount = f"{needed} bytes are needed, {amount}"
    return DiskFullError(
        f"{target}: {reason}: {amount} in {target.parent} (make room or mend the disk, then run "
        "the same command again: it goes on with what is finished)"
    )


def free_bytes(folder: Path) -> int | None:
    """Return what a user may still write in a folder; None where nobody knows."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


@contextmanager
def replacing(target: Path, *, needed: int | None = None) -> Iterator[Path]:
    """Yield a temporary path beside ``target``; on success it is synced and takes its name.

    On any error the temporary file is removed and ``target`` is what it was before.

    Raises
    ------
    DiskFullError
        When the disk does not take it.
    OutputError
        When the folder cannot be written to or the rename fails.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part{target.suffix}")
    _temporaries.add(temporary)
    try:
        with told_as_output_error(target, needed=needed):
            yield temporary
            sync_file(temporary)
            with around("rename"):
                temporary.replace(target)
            sync_folder(target.parent)
    finally:
        with suppress(OSError):  # a disk that turned read-only is told of already
            temporary.unlink(missing_ok=True)
        _temporaries.discard(temporary)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield an empty folder, where the system keeps such, that is gone afterwards.

    Raises
    ------
    DiskFullError, OutputError
        When none can be made.
    """
    parent = Path(tempfile.gettempdir())
    with told_as_output_error(parent):
        folder = Path(tempfile.mkdtemp(prefix="geop2p-", dir=parent))
    _folders.add(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _folders.discard(folder)


def remove_temporaries() -> None:
    """Remove the temporary files of this process: for an exit that passes no ``finally``."""
    for folder in tuple(_folders):
        shutil.rmtree(folder, ignore_errors=True)
    for temporary in tuple(_temporaries):
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
            remove_company(temporary)


def remains(target: Path) -> list[Path]:
    """Return the temporary files that processes, dead or alive, have beside a target."""
    mine = re.compile(rf"\.{re.escape(target.name)}\.\d+\.part(\W|$)")
    return sorted(path for path in target.parent.iterdir() if mine.match(path.name))


def write_atomically(target: Path, content: bytes) -> None:
    """Put ``content`` into ``target`` in one step; raises what `replacing` raises."""
    with replacing(target, needed=len(content)) as temporary, around("write file"):
        temporary.write_bytes(content)


def sync_file(path: Path) -> None:
    """Wait until the file's bytes are on the disk."""
    with around("sync file"), path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Wait until the folder's entries are on the disk."""
    with around("sync folder"):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_company(temporary: Path) -> None:
    """Remove the files that were named after a temporary one: GDAL makes such while it works."""
    stem = temporary.name.removesuffix(temporary.suffix)
    for path in temporary.parent.iterdir():
        if path != temporary and path.name.startswith(f"{stem}."):
            path.unlink(missing_ok=True)
