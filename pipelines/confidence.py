"""What is measured of how sure a map is: the options of it, with nothing left open."""

import logging
from dataclasses import dataclass

from geop2p.errors import OptionError
from geop2p.grid import TileGrid
from geop2p.pipelines.request import Request
from geop2p.radiometry import MapValues
from geop2p.sampling import Sampling

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidenceSpec:
    """What is measured.

    Parameters
    ----------
    has_disagreement : bool
        Of overlapping tiles.
    sampling : Sampling or None
        Of passes with dropout on; None: there are none.
    """

    has_disagreement: bool
    sampling: Sampling | None

    @property
    def names(self) -> tuple[str, ...]:
        """What the bands are called."""
        kinds = (("disagreement", self.has_disagreement), ("spread", self.sampling is not None))
        return tuple(name for name, is_wanted in kinds if is_wanted)

    def planes(self, bands: int) -> int:
        """Return how many numbers a pixel of head and foot has, P, for a map of K bands."""
        return (bands + 1) * self.has_disagreement + (self.sampling is not None)


def band_weights(values: MapValues, bands: int) -> tuple[tuple[float, ...], float]:
    """Return how much the variance of each band counts, and what a unit is in the map's values.

    The root of a weighted sum of variances, times the unit, is a root mean square over bands.
    """
    stretch = values.of_bands(bands)
    halves = [high / 2 - low / 2 for low, high in zip(stretch.low, stretch.high, strict=True)]
    unit = max(halves)
    return tuple((half / unit) ** 2 / bands for half in halves), unit


def choose_sampling(request: Request, model: str, *, is_random: bool) -> Sampling | None:
    """Return how often tiles are drawn with dropout on; None: never.

    Parameters
    ----------
    request : Request
    model : str
        What messages call the generator.
    is_random : bool
        It has dropout.

    Raises
    ------
    OptionError
        When samples are asked for, and it has none.
    """
    if request.samples is None:
        return None
    if not is_random:
        raise OptionError(
            f"{request.samples} samples of {model}, which has no dropout: all would be equal "
            "(leave --samples out, or use a model that was trained with dropout)"
        )
    return Sampling(count=request.samples, seed=request.sample_seed or 0)


def choose_confidence(
    request: Request, grid: TileGrid, sampling: Sampling | None
) -> ConfidenceSpec | None:
    """Return what is measured; None where nothing is asked for.

    Raises
    ------
    OptionError
        When tiles do not overlap, and there are no samples either.
    """
    if request.confidence is None:
        return None
    has_overlap = grid.overlap > 0 and request.blend != "exact"
    if not has_overlap and sampling is None:
        why = "--blend exact" if request.blend == "exact" else "--overlap 0"
        raise OptionError(
            f"a confidence raster with {why}: no pixel has two tiles to compare "
            "(give another one, or --samples N)"
        )
    if grid.tile_rows * grid.tile_cols == 1:
        logger.warning("%s: has one tile, so that no tiles can disagree", request.scene)
    return ConfidenceSpec(has_disagreement=has_overlap, sampling=sampling)


def part_planes(spec: ConfidenceSpec | None, bands: int) -> tuple[int, int]:
    """Return the numbers that a part keeps of a pixel: of inner rows, of head and foot."""
    return (0, 0) if spec is None else (len(spec.names), spec.planes(bands))
