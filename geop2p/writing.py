"""Files that appear complete or not at all: written beside their target, synced, then renamed."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from geop2p.errors import Geop2pError, OutputError


@contextmanager
def told_as_output_error(target: Path) -> Iterator[None]:
    """Raise what the operating system refuses as `OutputError`; geop2p's own errors pass."""
    try:
        yield
    except OSError as exc:
        if isinstance(exc, Geop2pError):
            raise
        reason = exc.strerror or exc
        raise OutputError(
            f"{target}: cannot be written: {reason} (check folder and space)"
        ) from exc


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target``; on success it is synced and takes its name.

    On any error the temporary file is removed and ``target`` is what it was before.

    Raises
    ------
    OutputError
        When the folder cannot be written to or the rename fails.
    """
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.part{target.suffix}")
    try:
        with told_as_output_error(target):
            yield temporary
            sync_file(temporary)
            temporary.replace(target)
            sync_folder(target.parent)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def write_atomically(target: Path, content: bytes) -> None:
    """Put ``content`` into ``target`` in one step; raises what `replacing` raises."""
    with replacing(target) as temporary:
        temporary.write_bytes(content)


def sync_file(path: Path) -> None:
    """Wait until the file's bytes are on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Wait until the folder's entries are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
