"""Class-balanced sampling: pairs that hold rare classes come more often.

A class is drawn, each as likely as another, then one of its pixels, and the pair that holds it: so
classes of few pixels in few pairs weigh as much as common ones. Half of an epoch is drawn so, half
evenly, so that no pair has less than half of its even chance. The pairs of an epoch are a pure
function of (seed, epoch), and each comes as often as it should, less or more than one time.

References
----------
Shen, Lin, Huang: Relay Backpropagation for Effective Learning of Deep Convolutional Neural
Networks, ECCV 2016 (arXiv:1512.05830), section 3.3, for drawing the class first.
Kitagawa: Monte Carlo Filter and Smoother for Non-Gaussian Nonlinear State Space Models, Journal of
Computational and Graphical Statistics 5(1), 1996, appendix, for systematic resampling.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

EVEN = 0.5
"""Share of an epoch that every pair has the same part of."""
WITH_CHANCES = 1
"""Last word of the seed: tells these random numbers from those of the order without chances."""


class Draw(NamedTuple):
    """A pair in an epoch: its index, and how often the epoch has shown it before."""

    pair: int
    repeat: int


def balanced_chances(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the share of an epoch that each pair is to have.

    Parameters
    ----------
    shares : (P, K) float64
        Share of each pair's pixels that each class has. Classes that never occur count as none.

    Returns
    -------
    (P,) float64
        Sum 1, none below ``EVEN / P``.
    """
    even = np.full(len(shares), 1 / len(shares))
    totals = shares.sum(axis=0)
    occurring = shares[:, totals > 0] / totals[totals > 0]
    if not occurring.size:
        return even
    chances: npt.NDArray[np.float64] = EVEN * even + (1 - EVEN) * occurring.mean(axis=1)
    return chances


def chosen_order(chances: npt.NDArray[np.float64], *, key: tuple[int, ...]) -> list[Draw]:
    """Return as many draws as there are pairs: each pair as often as its chance says, shuffled.

    Parameters
    ----------
    chances : (P,) float64
        Sum 1. A pair of chance c comes P c times, rounded up or down at random so that P c is the
        mean over epochs.
    key : tuple of int
        What the order is a pure function of, beside ``chances``.
    """
    random = np.random.default_rng((*key, WITH_CHANCES))
    count = len(chances)
    shuffled = random.permutation(count)  # neighbours in a folder often look alike
    ends = np.cumsum(chances[shuffled])
    places = (random.random() + np.arange(count)) / count * ends[-1]
    drawn = shuffled[np.minimum(np.searchsorted(ends, places, side="right"), count - 1)]
    seen: dict[int, int] = {}
    draws = []
    for index in map(int, random.permutation(drawn)):
        draws.append(Draw(index, seen.get(index, 0)))
        seen[index] = seen.get(index, 0) + 1
    return draws
