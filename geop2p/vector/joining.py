"""Pieces of polygons, cut by the edges of bands, joined again.

Pieces that touch an edge wait on disk until all bands are there. So memory holds one band, a few
numbers a piece, and the largest polygon once it is joined.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import shapely

from geop2p.faults import around
from geop2p.raster.polygonising import RegionBand
from geop2p.vector.coverage import covering, edge_owners

POLYGONS_AT_A_TIME = 4096
"""Of those that were joined, how many are handed on together."""

Numbers = npt.NDArray[np.int64]


class Outlined(NamedTuple):
    """Polygons, (N,) of shapely's, and the class of each, (N,) int64."""

    polygons: npt.NDArray[Any]
    classes: Numbers


class _Piece(NamedTuple):
    """A piece that waits: where its bytes stand, and its class."""

    start: int
    stop: int
    label: int


class Joiner:
    """Takes bands from the upper to the lowest, gives out whole polygons.

    Parameters
    ----------
    height : int, pixels
        Of the raster: its last edge joins nothing.
    tolerance : float, pixels
        See `geop2p.vector.coverage.covering`.
    path : Path
        A file for pieces; the caller removes it.
    """

    def __init__(self, *, height: int, tolerance: float, path: Path) -> None:
        self._height, self._tolerance, self._path = height, tolerance, path
        self._pieces: list[_Piece] = []
        self._parents: list[int] = []
        self._above = np.empty(
            0, np.int64
        )  # the piece at each column of the last band's lower edge
        path.write_bytes(b"")

    def add(self, band: RegionBand) -> Outlined:
        """Take the next band; return its polygons that no edge cuts."""
        polygons = covering(band, tolerance=self._tolerance)
        classes = np.array(band.classes, np.int64)
        top, bottom = band.rows
        upper = edge_owners(band, top) if top else np.empty(0, np.int64)
        lower = edge_owners(band, bottom) if bottom < self._height else np.empty(0, np.int64)
        is_cut = np.zeros(len(polygons), bool)
        is_cut[upper[upper >= 0]] = is_cut[lower[lower >= 0]] = True
        numbers = np.full(len(polygons) + 1, -1, np.int64)  # the last is that of owner -1
        numbers[:-1][is_cut] = self._keep(polygons[is_cut], classes[is_cut])
        if top:
            self._link(self._above, numbers[upper])
        self._above = numbers[lower]
        return Outlined(polygons[~is_cut], classes[~is_cut])

    def joined(self) -> Iterator[Outlined]:
        """Yield the polygons that bands had cut, whole."""
        members: dict[int, list[int]] = {}
        for number in range(len(self._pieces)):
            members.setdefault(self._root(number), []).append(number)
        roots = list(members)
        with self._path.open("rb") as file:
            for start in range(0, len(roots), POLYGONS_AT_A_TIME):
                chosen = roots[start : start + POLYGONS_AT_A_TIME]
                polygons = np.empty(len(chosen), object)
                for place, root in enumerate(chosen):
                    polygons[place] = _union([self._read(file, one) for one in members[root]])
                labels = [self._pieces[root].label for root in chosen]
                yield Outlined(polygons, np.array(labels, np.int64))

    def _keep(self, polygons: npt.NDArray[Any], classes: Numbers) -> range:
        """Write pieces to the disk; return their numbers."""
        first = len(self._pieces)
        with around("write file"), self._path.open("ab") as file:
            for content, label in zip(shapely.to_wkb(polygons), classes.tolist(), strict=True):
                start = file.tell()
                file.write(content)
                self._pieces.append(_Piece(start, file.tell(), label))
        self._parents.extend(range(first, len(self._pieces)))
        return range(first, len(self._pieces))

    def _link(self, above: Numbers, below: Numbers) -> None:
        """Join pieces of one class that meet at an edge, column by column."""
        is_both = (above >= 0) & (below >= 0)
        meeting = np.unique(np.stack([above[is_both], below[is_both]]), axis=1)
        for one, other in meeting.T.tolist():
            if self._pieces[one].label == self._pieces[other].label:
                first, second = sorted((self._root(one), self._root(other)))
                self._parents[second] = first

    def _root(self, number: int) -> int:
        while self._parents[number] != number:
            self._parents[number] = number = self._parents[self._parents[number]]
        return number

    def _read(self, file: Any, number: int) -> Any:  # noqa: ANN401  shapely has no types
        piece = self._pieces[number]
        file.seek(piece.start)
        return shapely.from_wkb(file.read(piece.stop - piece.start))


def _union(pieces: list[Any]) -> Any:  # noqa: ANN401
    return pieces[0] if len(pieces) == 1 else shapely.coverage_union_all(pieces)
