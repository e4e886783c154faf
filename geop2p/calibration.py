"""Calibration: which ranges the 8-bit numbers of a generator should span, from real tiles.

A generator in float32 is shown tiles, and the inputs of its convolutions are counted. A range that
leaves out rare large values is finer for all others; which choice loses least is tried.
"""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from geop2p.engines.int8 import Int8Runner, convolutions
from geop2p.quantisation import Range

BATCH = 4
"""Tiles that the generator is shown at a time."""
BINS = 4096
STEPS = 8
"""Ranges that are tried on each side for the least squared error."""
SHOWN_RANGE = (-1.0, 1.0)
"""Of tiles, always."""

Ranges = Mapping[str, Range]


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How often values occur: (bins,) float64 counts between ``low`` and ``high``."""

    low: float
    high: float
    counts: Tensor

    @property
    def centres(self) -> Tensor:
        """The middle of each bin, float64."""
        width = (self.high - self.low) / len(self.counts)
        return self.low + width * (torch.arange(len(self.counts), dtype=torch.float64) + 0.5)


Method = Callable[[Histogram], Range]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """The ranges that lost least, how they were chosen, and the PSNR in dB of each method tried."""

    ranges: Ranges
    method: str
    psnr_db: Mapping[str, float]


def calibrate(network: nn.Module, tiles: Sequence[Tensor], *, span: float) -> Calibrated:
    """Choose ranges by every method, and keep those whose pictures are nearest to float32.

    Parameters
    ----------
    network : torch.nn.Module
        A generator that `Int8Runner` takes, in evaluation mode, on the CPU.
    tiles : sequence of (C, S, S) float32
        In [-1, 1], at least one.
    span : float
        Levels of the map between -1 and 1, which pictures are rounded to for the comparison.

    Raises
    ------
    ModelError
        When the network cannot be run in 8 bits.
    """
    groups = _groups(tiles)
    histograms = observe(network, groups)
    choices = {name: choose_ranges(histograms, method) for name, method in METHODS.items()}
    with torch.no_grad():
        pictures = [network(group) for group in groups]
    psnr_db = {
        name: _psnr(Int8Runner(copy.deepcopy(network), ranges, BATCH), groups, pictures, span=span)
        for name, ranges in choices.items()
    }
    best = max(psnr_db, key=psnr_db.__getitem__)
    return Calibrated(ranges=choices[best], method=best, psnr_db=psnr_db)


def observe(network: nn.Module, groups: Iterable[Tensor]) -> dict[str, Histogram]:
    """Return how often the inputs of each convolution have which value; shows the groups twice.

    Of the input of a decoder step, which has two halves, the second is counted: the first is what
    an encoder step has too.
    """
    limits = dict.fromkeys(convolutions(network), (0.0, 0.0))

    def widen(name: str, values: Tensor) -> None:
        low, high = limits[name]
        limits[name] = min(low, float(values.min())), max(high, float(values.max()))

    shown = list(groups)
    _show(network, shown, widen)
    counts = {name: torch.zeros(BINS, dtype=torch.float64) for name in limits}

    def count(name: str, values: Tensor) -> None:
        low, high = limits[name]
        counts[name] += torch.histc(values, BINS, low, high).double()

    limits = {name: _not_empty(limits[name]) for name in limits}
    _show(network, shown, count)
    return {
        name: Histogram(low=low, high=high, counts=counts[name])
        for name, (low, high) in limits.items()
    }


def choose_ranges(histograms: Mapping[str, Histogram], method: Method) -> Ranges:
    """Return each convolution's range by a method; the first one's is that of all tiles."""
    ranges = {name: method(histogram) for name, histogram in histograms.items()}
    ranges[next(iter(ranges))] = SHOWN_RANGE
    return ranges


def least_and_most(histogram: Histogram) -> Range:
    """Return the range of everything that was seen."""
    return histogram.low, histogram.high


def percentile(share: float) -> Method:
    """Return the method that leaves out the largest values on each side, all but ``share``."""

    def choose(histogram: Histogram) -> Range:
        total = histogram.counts.cumsum(0) / histogram.counts.sum()
        low = int((total < 1 - share).sum())
        high = int((total < share).sum()) + 1
        width = (histogram.high - histogram.low) / BINS
        return _not_empty((histogram.low + low * width, histogram.low + high * width))

    return choose


def least_error(histogram: Histogram) -> Range:
    """Return the range with the least mean squared error of rounding and clipping."""
    values, counts = histogram.centres.float(), histogram.counts.float()
    best, found = float("inf"), (histogram.low, histogram.high)
    for low in _shrunk(histogram.low):
        for high in _shrunk(histogram.high):
            step = (high - low) / 254
            error = values - (values.clamp(low, high) / step).round() * step
            total = float((counts * error**2).sum())
            if total < best:
                best, found = total, (low, high)
    return found


METHODS: dict[str, Method] = {
    "least and most": least_and_most,
    "99.999%": percentile(0.99999),
    "99.99%": percentile(0.9999),
    "least squared error": least_error,
}
"""Ways to choose ranges, by the name that the card tells."""


def _shrunk(end: float) -> list[float]:
    return [end * (1 - step / (2 * STEPS)) for step in range(STEPS)] if end else [0.0]


def _not_empty(limits: Range) -> Range:
    low, high = limits
    return (low, high) if high - low > 1e-6 else (low, low + 1e-6)


def _groups(tiles: Sequence[Tensor]) -> list[Tensor]:
    """Return groups of `BATCH` tiles; the last one is filled up with its last tile."""
    groups = []
    for first in range(0, len(tiles), BATCH):
        group = list(tiles[first : first + BATCH])
        group += [group[-1]] * (BATCH - len(group))
        groups.append(torch.stack(group))
    return groups


def _show(
    network: nn.Module, groups: Iterable[Tensor], look: Callable[[str, Tensor], None]
) -> None:
    """Run a network on groups of tiles; ``look`` gets each convolution's name and input."""
    layers = convolutions(network)
    joined = [name for name, layer in layers.items() if name.startswith("decoder")][1:]
    joined += ["head.1"] if joined else []

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor]], None]:
        def called(_module: nn.Module, inputs: tuple[Tensor]) -> None:
            values = inputs[0]
            look(name, values[:, values.shape[1] // 2 :] if name in joined else values)

        return called

    handles = [layer.register_forward_pre_hook(hook(name)) for name, layer in layers.items()]
    try:
        with torch.no_grad():
            for group in groups:
                network(group)
    finally:
        for handle in handles:
            handle.remove()


def _psnr(
    runner: Callable[[Tensor], Tensor],
    groups: Sequence[Tensor],
    pictures: Sequence[Tensor],
    *,
    span: float,
) -> float:
    """Return the PSNR in dB of a runner's pictures, rounded to the map's levels; 100 for equal."""
    total, count = 0.0, 0
    for group, picture in zip(groups, pictures, strict=True):
        made, real = ((x + 1).mul(span / 2).round().double() for x in (runner(group), picture))
        total += float((made - real).square().sum())
        count += picture.numel()
    return 100.0 if total == 0 else float(10 * torch.log10(torch.tensor(span**2 * count / total)))
