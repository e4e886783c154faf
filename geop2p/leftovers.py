"""What interrupted runs left in a folder: parts, half-written files and locks that nobody holds."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from geop2p.errors import OutputError, SceneError
from geop2p.faults import around
from geop2p.locking import held, holder_of
from geop2p.writing import told_as_output_error

KINDS = {
    "parts": re.compile(r"\.(?P<name>.+)\.[0-9a-f]{16}\.parts"),
    "temporary": re.compile(r"\.(?P<name>.+?)\.(?P<process>\d+)\.part(?:\..+)?"),
    "lock": re.compile(r"\.(?P<name>.+)\.lock"),
}
"""What is left behind, and what such things are called beside the target NAME."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """One thing that a run left.

    Parameters
    ----------
    path, target : Path
        Where it is, and the output that it was to become.
    kind : str
        A key of `KINDS`.
    size : int, bytes
        Of all that is in it.
    process : int or None
        The process that made it, where its name says so.
    """

    path: Path
    target: Path
    kind: str
    size: int
    process: int | None


def find_leftovers(folder: Path, *, is_recursive: bool = False) -> list[Leftover]:
    """Return what runs left in a folder, sorted by path; runs that go on are among them.

    Raises
    ------
    SceneError
        When it is no folder.
    OutputError
        When it cannot be read.
    """
    if not folder.is_dir():
        raise SceneError(f"{folder}: is no folder (give the one where the outputs are)")
    with told_as_output_error(folder):
        return sorted(_found(folder, is_recursive=is_recursive), key=lambda one: one.path)


def check_removable(leftover: Leftover) -> None:
    """Refuse one that a run is at work on, or that the folder does not let go.

    Raises
    ------
    OutputError
        In either case.
    """
    if leftover.process is not None and psutil.pid_exists(leftover.process):
        raise OutputError(f"{leftover.path}: process {leftover.process} may be writing it")
    for target in _locked(leftover):
        holder = holder_of(target)
        if holder is not None:
            raise OutputError(f"{leftover.path}: {holder} is at work on {target}")
    if not os.access(leftover.path.parent, os.W_OK):
        raise OutputError(f"{leftover.path}: the folder {leftover.path.parent} is not writable")


def remove_leftover(leftover: Leftover) -> None:
    """Remove one, unless a run is at work on its target.

    Raises
    ------
    OutputError
        When one is, or the folder does not let it go.
    """
    check_removable(leftover)
    with ExitStack() as locks:
        for target in _locked(leftover):
            locks.enter_context(held(target))
        with told_as_output_error(leftover.path), around("remove file"):
            if leftover.kind == "parts":
                shutil.rmtree(leftover.path)
            else:
                leftover.path.unlink(missing_ok=True)


def _locked(leftover: Leftover) -> tuple[Path, Path]:
    """Return what a run at work on it holds: a translation its map, a training its folder."""
    return leftover.target, leftover.target.parent


def _found(folder: Path, *, is_recursive: bool) -> Iterator[Leftover]:
    for entry in os.scandir(folder):
        is_folder = entry.is_dir(follow_symlinks=False)
        leftover = _recognised(Path(entry.path), is_folder=is_folder)
        if leftover is not None:
            yield leftover
        elif is_folder and is_recursive:
            yield from _found(Path(entry.path), is_recursive=True)


def _recognised(path: Path, *, is_folder: bool) -> Leftover | None:
    for kind, pattern in KINDS.items():
        match = pattern.fullmatch(path.name)
        if match is None or is_folder != (kind == "parts"):
            continue
        process = match.groupdict().get("process")
        return Leftover(
            path=path,
            target=path.with_name(match["name"]),
            kind=kind,
            size=_size(path),
            process=None if process is None else int(process),
        )
    return None


def _size(path: Path) -> int:
    files = path.iterdir() if path.is_dir() else [path]
    size = 0
    for file in files:
        with suppress(FileNotFoundError):  # a run that goes on renames and removes
            size += file.lstat().st_size
    return size
