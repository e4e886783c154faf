"""Checkpoints: all that a training needs to go on, in one file that is never half written.

The file before the newest is kept, and read when the newest is damaged. Files hold tensors and
plain values, and are read with torch's restricted unpickler, which runs no code.
"""

import io
import logging
import os
import pickle
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import torch

from geop2p.archive import ArchiveError, examine_archive
from geop2p.errors import CheckpointError
from geop2p.faults import around
from geop2p.signatures import TORCH_ARCHIVE, file_kind, special_kind
from geop2p.writing import remains, replacing, sync_file

FORMAT = 1
NEWEST, PREVIOUS = "checkpoint.pt", "checkpoint-previous.pt"
DAMAGED = "checkpoint-damaged.pt"
"""What a newest checkpoint is called once it was found damaged."""
SAFE_TORCH = (2, 6)
"""The first torch whose restricted unpickler is known to run no code."""

TORCH_ERRORS = (RuntimeError, ValueError, TypeError, LookupError, AttributeError)

logger = logging.getLogger(__name__)


def has_checkpoint(run: Path) -> bool:
    """Return whether the folder of a run holds a checkpoint."""
    return (run / NEWEST).exists() or (run / PREVIOUS).exists()


def save_checkpoint(run: Path, state: Mapping[str, Any]) -> None:
    """Write ``state`` as the newest checkpoint of ``run``; the one before it is kept.

    Parameters
    ----------
    state : mapping
        Tensors, numbers, texts, None, and lists, tuples and dicts of these.

    Raises
    ------
    DiskFullError, OutputError
        When it cannot be written; the checkpoints that were there are still there.
    """
    content = io.BytesIO()  # torch's own writer tells a full disk in no way that can be relied on
    torch.save({"format": FORMAT} | dict(state), content)
    with replacing(run / NEWEST, needed=content.getbuffer().nbytes) as temporary:
        with around("write file"):
            temporary.write_bytes(content.getbuffer())
        sync_file(temporary)
        _keep_newest(run)


def remove_remains(run: Path) -> None:
    """Remove what a killed process left of a checkpoint that it was writing."""
    for path in (*remains(run / NEWEST), *remains(run / PREVIOUS)):
        path.unlink(missing_ok=True)


def load_checkpoint(run: Path) -> dict[str, Any]:
    """Return the newest readable checkpoint of ``run``, on the CPU.

    Raises
    ------
    CheckpointError
        When there is none, none can be read, or it has a format that this geop2p does not know.
    """
    paths = [run / name for name in (NEWEST, PREVIOUS) if (run / name).exists()]
    if not paths:
        raise CheckpointError(f"{run}: no checkpoint (give the folder of a run, its --out)")
    problems = []
    for path in paths:
        try:
            state = _read(path)
        except CheckpointError as exc:
            problems.append(str(exc))
        else:
            _set_aside(run, problems)
            return state
    raise CheckpointError("; ".join(problems))


def _set_aside(run: Path, problems: list[str]) -> None:
    """Rename a newest checkpoint that is damaged, so that the next save keeps the good one."""
    if problems:
        logger.warning("%s; going on from %s", problems[0], PREVIOUS)
        with suppress(OSError):
            (run / NEWEST).replace(run / DAMAGED)


def _keep_newest(run: Path) -> None:
    """Give the newest checkpoint a second name, so that it outlives its successor's arrival."""
    newest, previous = run / NEWEST, run / PREVIOUS
    if not newest.exists():
        return
    link = previous.with_name(f".{PREVIOUS}.{os.getpid()}.part")
    try:
        link.hardlink_to(newest)
        link.replace(previous)
    except OSError:  # a file system without links
        newest.replace(previous)
    finally:
        link.unlink(missing_ok=True)  # a rename onto another name of the same file does nothing


def _read(path: Path) -> dict[str, Any]:
    _check_torch(path)
    try:
        _check_kind(path)
        with path.open("rb") as file:
            state = _loaded(file)
    except (ArchiveError, OSError, EOFError) as exc:
        raise _unreadable(path, str(exc)) from exc
    except (*TORCH_ERRORS, pickle.UnpicklingError) as exc:  # what torch advises then is no advice
        raise _unreadable(path, f"torch refuses it ({type(exc).__name__})") from exc
    found = state.get("format") if isinstance(state, dict) else None
    if found != FORMAT:
        raise CheckpointError(
            f"{path}: checkpoint format {found!r}, this geop2p reads {FORMAT} "
            "(resume with the geop2p that wrote it, or start again)"
        )
    return dict(state)


def _check_kind(path: Path) -> None:
    kind = special_kind(path) or file_kind(path)
    if kind != TORCH_ARCHIVE:
        raise ArchiveError(f"it is {kind} (expected a torch archive)")


def _loaded(file: IO[bytes]) -> Any:  # noqa: ANN401
    """Return what an archive holds, after it was examined; torch reads the same open file."""
    examine_archive(file)
    file.seek(0)
    return torch.load(file, map_location="cpu", weights_only=True)


def _unreadable(path: Path, reason: str) -> CheckpointError:
    first = reason.splitlines()[0] if reason else "no reason is known"
    return CheckpointError(
        f"{path}: not a readable checkpoint: {first[:200]} "
        "(resume from another one, or begin a new run)"
    )


def _check_torch(path: Path) -> None:
    """Refuse a torch that might run what a file says."""
    found = re.match(r"(\d+)\.(\d+)", torch.__version__)
    if found is None or (int(found[1]), int(found[2])) < SAFE_TORCH:
        raise CheckpointError(
            f"{path}: not read: torch {torch.__version__} is installed, checkpoints are read with "
            f"{SAFE_TORCH[0]}.{SAFE_TORCH[1]} or later (upgrade torch)"
        )
