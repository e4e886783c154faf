"""Everything that geop2p raises on purpose, and the exit status that each error carries.

::

    Geop2pError              1   any other error that has a plain explanation
    |-- OptionError          2   options that contradict each other or the data
    |-- SceneError           3   a scene, or any other raster, vector or table that was given
    |   `-- PairsError       3   a data set of pairs
    |-- ModelError           4   a model file or its card
    |   `-- CheckpointError  4   a training run's checkpoint
    |-- OutputError          5   an output that exists, is locked, or cannot be written
    |   `-- DiskFullError    6   no space, quota, or a device that fails while it is written
    |-- OutOfMemoryError     7   a device without memory for a single tile
    |-- ClusterError         8   workers or a scheduler that are lost, or unfit for the work
    |-- VerificationError    9   a map that is not what it should be
    |-- NothingToDoError    99   the output is there already, complete, of the same command
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


class DiskFullError(OutputError):
    """An output for which the disk has no room, or which the disk fails to take."""

    exit_status = 6


class OutOfMemoryError(MemoryError, Geop2pError):  # this order, or Dask cannot send it
    """A device that has no memory for a single tile."""

    exit_status = 7


class ClusterError(Geop2pError, RuntimeError):
    """Workers or a scheduler that are lost, hang, or are unfit for the work."""

    exit_status = 8


class VerificationError(Geop2pError, ValueError):
    """A map that is not what it should be."""

    exit_status = 9


class NothingToDoError(Geop2pError):
    """The output of the same command is there already, complete."""

    exit_status = 99


class TrainingError(Geop2pError, ArithmeticError):
    """A training that cannot go on."""
