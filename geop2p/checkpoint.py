"""Checkpoints: all that a training needs to go on, in one file that is never half written.

The file before the newest is kept, and read when the newest is damaged. Files hold tensors and
plain values, and are read with torch's restricted unpickler, which runs no code.
"""

import logging
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from geop2p.errors import CheckpointError
from geop2p.writing import replacing, sync_file

FORMAT = 1
NEWEST, PREVIOUS = "checkpoint.pt", "checkpoint-previous.pt"

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
    OutputError
        When the folder cannot be written to.
    """
    with replacing(run / NEWEST) as temporary:
        torch.save({"format": FORMAT} | dict(state), temporary)
        sync_file(temporary)
        _keep_newest(run)


def remove_remains(run: Path) -> None:
    """Remove what a killed process left of a checkpoint that it was writing."""
    for path in run.glob(f".{Path(NEWEST).stem}.*.part*"):
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
            return _read(path)
        except CheckpointError as exc:
            problems.append(str(exc))
            logger.warning("%s", exc)
    raise CheckpointError("; ".join(problems))


def _keep_newest(run: Path) -> None:
    """Give the newest checkpoint a second name, so that it outlives its successor's arrival."""
    newest, previous = run / NEWEST, run / PREVIOUS
    if not newest.exists():
        return
    previous.unlink(missing_ok=True)
    try:
        previous.hardlink_to(newest)
    except OSError:  # a file system without links
        newest.replace(previous)


def _read(path: Path) -> dict[str, Any]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as exc:
        reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        raise CheckpointError(f"{path}: not a readable checkpoint: {reason[:200]}") from exc
    found = state.get("format") if isinstance(state, dict) else None
    if found != FORMAT:
        raise CheckpointError(
            f"{path}: checkpoint format {found!r}, this geop2p reads {FORMAT} "
            "(resume with the geop2p that wrote it, or start again)"
        )
    return dict(state)
