"""How long work says how far it is: the library reports, somebody else shows."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a stage of some work is.

    Parameters
    ----------
    stage : str
        What is being done, e.g. ``translate``.
    done, total : int
        Units done of all, ``0 <= done <= total``.
    unit : str
        What is counted, in the plural, e.g. ``tiles``.
    note : str
        A few words about the moment, e.g. the losses of a training step.
    """

    stage: str
    done: int
    total: int
    unit: str
    note: str = ""


OnProgress = Callable[[Progress], None]
"""Called from the thread that the work was started in."""


def ignore_progress(_progress: Progress) -> None:
    """Show nothing."""
