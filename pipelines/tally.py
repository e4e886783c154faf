"""What is known of the strips that a run has kept."""

from collections import defaultdict

from geop2p.parts import StripResult
from geop2p.pipelines.planning import Plan
from geop2p.pipelines.strips import Stopwatch


class Tally:
    """What is known of the strips that are kept: their counts, added up, and the map's bands.

    Attributes
    ----------
    sums : dict
        Counts of all strips, whoever made them.
    run : Stopwatch
        Counts of this run beside its strips.
    bands : int
        Of the map.
    """

    def __init__(self, plan: Plan) -> None:
        self.sums: defaultdict[str, float] = defaultdict(float)
        self.run = Stopwatch()
        self.bands = 1 if plan.card is None else plan.card.generator.out_bands

    def add(self, part: StripResult) -> None:
        """Add a strip."""
        self.bands = max(self.bands, len(part.inner))
        for name, amount in part.counts.items():
            self.sums[name] += amount
