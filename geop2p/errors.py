"""Everything that geop2p raises on purpose, and the exit status that each error carries.

::

    Geop2pError              1   any other error that has a plain explanation
    |-- OptionError          2   options that contradict each other or the data
    |-- SceneError           3   a scene, or any other raster, vector or table that was given
    |   `-- PairsError       3   a data set of pairs
    |-- ModelError           4   a model file or its card
    |   `-- CheckpointError  4   a training run's checkpoint
    |-- OutputError          5   an output that exists or cannot be written
    `-- TrainingError        1   a training that cannot go on, e.g. a loss that is not a number

Each class also inherits the built-in error that fits, so ``except OSError`` and ``except
ValueError`` in a program that embeds geop2p do what they say. A message names the file, what was
found, what was expected and what to do. Any other exception that leaves geop2p is a bug.
"""

from typing import ClassVar


class Geop2pError(Exception):
    """Root of the errors that geop2p raises on purpose."""

    exit_status: ClassVar[int] = 1


class OptionError(Geop2pError, ValueError):
    """An option, or a combination of options, that cannot be honoured."""

    exit_status = 2


class SceneError(Geop2pError, OSError):
    """A raster, vector or table given as input that cannot be used."""

    exit_status = 3


class PairsError(SceneError):
    """A data set of pairs that cannot be read or does not match."""


class ModelError(Geop2pError, ValueError):
    """A model file that is missing, damaged, foreign or unfit for the scene."""

    exit_status = 4


class CheckpointError(ModelError):
    """A training checkpoint that is missing, damaged or of another run."""


class OutputError(Geop2pError, OSError):
    """An output that exists already or cannot be written."""

    exit_status = 5


class TrainingError(Geop2pError, ArithmeticError):
    """A training that cannot go on."""
