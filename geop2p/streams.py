"""Streams of random numbers: what training draws for one purpose, it draws for no other.

Each drawing is seeded by its stream, then by the run's seed, the epoch, and the step or the pair.
With one number for two streams both would draw the same: the brightest scenes, say, would be those
whose pairs are moved the farthest.
"""

from enum import IntEnum, unique


@unique
class Stream(IntEnum):
    """First word of a seed. A number stays what it is, so that earlier runs can be made again."""

    ORDER = 1
    VIEW = 2
    DROPOUT = 3
    DISGUISE = 4
    COLOURS = 5
