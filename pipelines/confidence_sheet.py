"""How sure a strip of the map is, put together on the generator's device while it is painted.

Two things are kept, as variances in the generator's units, [-1, 1], squared: how far overlapping
tiles disagree, and how far pictures drawn with dropout differ. The second is blended as the map is.
"""

import torch
from torch import Tensor

from geop2p.canvas import StripCanvas
from geop2p.cutting import Run
from geop2p.disagreement import DisagreementCanvas
from geop2p.grid import Strip, TileGrid
from geop2p.pipelines.confidence import ConfidenceSpec, band_weights
from geop2p.radiometry import MapValues
from geop2p.sampling import Place
from geop2p.transfer import sent


def places_of(grid: TileGrid, run: Run) -> list[Place]:
    """Return where a run's tiles begin."""
    return [(run.row * grid.stride, col * grid.stride) for col in range(*run.cols)]


class ConfidenceSheet:
    """The strip's measures, filled tile row by tile row.

    Parameters
    ----------
    spec : ConfidenceSpec
    grid, strip, blend, values
        As in `geop2p.pipelines.strips.StripJob`.
    bands : int
        K, of the map.
    device : torch.device
    """

    def __init__(
        self,
        spec: ConfidenceSpec,
        *,
        grid: TileGrid,
        strip: Strip,
        blend: str,
        values: MapValues,
        bands: int,
        device: torch.device,
    ) -> None:
        self._grid, self._strip = grid, strip
        self._weights, _unit = band_weights(values, bands)
        self._column = sent(torch.tensor(self._weights), device).view(-1, 1, 1)
        self._disagreement: DisagreementCanvas | None = None
        self._spread: StripCanvas | None = None
        if spec.has_disagreement:
            self._disagreement = DisagreementCanvas(
                grid, strip, weights=self._weights, device=device
            )
        if spec.sampling is not None:
            self._spread = StripCanvas(grid, strip, blend=blend, bands=1, device=device)
        start, stop = grid.painted_rows(strip)
        self._rows, self._done = stop - start, 0
        shared = (grid.head(strip), grid.foot(strip))
        planes, kinds = spec.planes(bands), len(spec.names)
        self._head, self._foot = (
            torch.empty((planes, rows, grid.width), device=device) for rows in shared
        )
        self._inner = torch.empty((kinds, self._rows - sum(shared), grid.width), device=device)
        self._row = strip.first

    def add(self, run: Run, pictures: Tensor, variances: Tensor | None) -> None:
        """Add a run's pictures, and their variances over samples, both (n, K, size, size)."""
        self.finish_rows(run.row)
        if self._disagreement is not None:
            self._disagreement.add(run, pictures)
        if self._spread is not None and variances is not None:
            self._spread.add(run, (variances * self._column).sum(dim=1, keepdim=True))

    def finish_rows(self, row: int) -> None:
        """Finish the tile rows above ``row``."""
        while self._row < row:
            self._row += 1
            planes = []
            if self._disagreement is not None:
                planes.append(self._disagreement.finish_row())
            if self._spread is not None:
                planes.append(self._spread.finish_row().unsqueeze(0))
            self._put(torch.cat(planes)[:, : self._rows - self._done, : self._grid.width])

    def finished(self) -> list[Tensor]:
        """Return head, inner rows and foot; see `geop2p.parts.Shares`."""
        self.finish_rows(self._strip.last)
        return [self._head, self._inner, self._foot]

    def _put(self, planes: Tensor) -> None:
        """Put rows of the strip, (P, h, W), to head, inner rows and foot."""
        start, done = 0, self._done
        self._done += planes.shape[1]
        for target in (self._head, self._inner, self._foot):
            stop = start + target.shape[1]
            first, last = max(start, done), min(stop, self._done)
            if first < last:
                # of inner rows the last planes are known: variances
                target[:, first - start : last - start] = planes[
                    -len(target) :, first - done : last - done
                ]
            start = stop
