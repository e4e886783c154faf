"""Intervals by the bootstrap: how far a figure would move had other items been drawn.

References
----------
Efron, Tibshirani: An Introduction to the Bootstrap, 1993, section 13.3 (percentile interval) and
chapter 8 (items that belong together are drawn together: here both models' scores of one item).
"""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Figures = dict[str, Floats]
"""Name to one value a set of weights."""

DRAWS = 1000
CONFIDENCE = 0.95
CHUNK_VALUES = 4_000_000
"""Weights that are held at a time: 32 MB."""


def intervals(
    figures_of: Callable[[Floats], Figures], *, items: int, draws: int = DRAWS, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Return the 95 % percentile interval of each figure; NaN where a figure is none.

    The same seed and number of items draw the same weights, whatever the figures.

    Parameters
    ----------
    figures_of : callable
        Gets weights, (draws, items) float64: how often each item was drawn; returns the figures.
    items : int
        How many were observed, at least 1.
    draws : int
        Samples with replacement, each of as many items as there are.
    """
    chunks = [figures_of(weights) for weights in _weights(items, draws=draws, seed=seed)]
    return {
        name: _interval(np.concatenate([chunk[name] for chunk in chunks])) for name in chunks[0]
    }


def _weights(items: int, *, draws: int, seed: int) -> Iterator[Floats]:
    random = np.random.default_rng(seed)
    step = max(1, CHUNK_VALUES // items)
    for first in range(0, draws, step):
        size = min(step, draws - first)
        yield random.multinomial(items, np.full(items, 1 / items), size=size).astype(np.float64)


def _interval(values: Floats) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    if not known.size:
        return float("nan"), float("nan")
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(known, [tail, 100 - tail])
    return float(low), float(high)
