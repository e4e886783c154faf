"""Polygons that share their borders: made of regions of pixels, simplified without gap or overlap.

Coordinates are corners of pixels, (column, row). Neighbours have the same vertices along a common
border, so that what is done to it is done to both.

References
----------
Visvalingam and Whyatt, Line generalisation by repeated elimination of points (1993): vertices go in
the order of the triangles that they span with their neighbours.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from geop2p.raster.polygonising import RegionBand

Points = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.int64]


def covering(band: RegionBand, *, tolerance: float) -> npt.NDArray[Any]:
    """Return the polygons of a band's regions, in their order, as (N,) shapely polygons.

    The band's edges, and borders on what belongs to no class, stay as they are.

    Parameters
    ----------
    band : RegionBand
    tolerance : float, pixels
        A vertex goes while the triangle that it spans is smaller than the square of this; 0 keeps
        the pixels' own edges.
    """
    if not band.polygons:
        return np.empty(0, object)
    rings = [ring for polygon in band.polygons for ring in polygon]
    owners = np.repeat(np.arange(len(band.polygons)), [len(polygon) for polygon in band.polygons])
    points, ring_numbers = _with_common_nodes(rings, band)
    loops = shapely.linearrings(points.astype(np.float64), indices=ring_numbers)
    polygons = shapely.polygons(loops, indices=owners)
    if tolerance > 0:
        polygons = shapely.coverage_simplify(polygons, tolerance, simplify_boundary=False)
    return np.asarray(polygons)


def edge_owners(band: RegionBand, row: int) -> Numbers:
    """Return which polygon of a band touches the pixel edge above ``row``, (W,); -1: none does."""
    owners = np.full(band.width, -1, np.int64)
    for number, polygon in enumerate(band.polygons):
        for ring in polygon:
            is_on = (ring[:-1, 1] == row) & (ring[1:, 1] == row)
            for start, stop in zip(ring[:-1][is_on, 0], ring[1:][is_on, 0], strict=True):
                owners[min(start, stop) : max(start, stop)] = number
    return owners


def _with_common_nodes(rings: Sequence[Points], band: RegionBand) -> tuple[Points, Numbers]:
    """Return all points of the rings, and each one's ring, with the vertices of neighbours.

    A vertex that lies on the straight edge of another ring is put into that ring too.
    """
    points = np.concatenate([ring[:-1] for ring in rings])
    following = np.concatenate([ring[1:] for ring in rings])
    numbers = np.repeat(np.arange(len(rings)), [len(ring) - 1 for ring in rings])
    known = np.concatenate([points, *_edge_nodes(band)])
    is_level = points[:, 1] == following[:, 1]
    offsets, inserted = np.zeros(len(points), np.int64), []
    for is_chosen, axis in ((is_level, 0), (~is_level, 1)):
        inside, counts = _between(points[is_chosen], following[is_chosen], known, axis=axis)
        offsets[is_chosen] = counts
        inserted.append(inside)
    target = np.arange(len(points)) + np.cumsum(offsets) - offsets
    merged = np.empty((len(points) + int(offsets.sum()), 2), np.int64)
    merged[target] = points
    for is_chosen, inside in zip((is_level, ~is_level), inserted, strict=True):
        counts, first = offsets[is_chosen], target[is_chosen] + 1
        merged[np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(len(inside))] = (
            inside
        )
    return merged, np.repeat(numbers, offsets + 1)


def _edge_nodes(band: RegionBand) -> list[Points]:
    """Return the vertices that polygons beyond the band have on its edges."""
    return [
        np.stack([columns, np.full_like(columns, row)], axis=1)
        for columns, row in zip(band.nodes, band.rows, strict=True)
    ]


def _between(starts: Points, stops: Points, known: Points, *, axis: int) -> tuple[Points, Numbers]:
    """Return the known points inside of straight edges, in the edges' direction, and how many each.

    Edges run along ``axis``: 0, a row; 1, a column.
    """
    span = int(known.max(initial=0)) + 1
    keys = np.unique(known[:, 1 - axis] * span + known[:, axis])
    ends = [edge[:, 1 - axis] * span + edge[:, axis] for edge in (starts, stops)]
    first = np.searchsorted(keys, np.minimum(*ends), side="right")
    after = np.searchsorted(keys, np.maximum(*ends), side="left")
    counts = after - first
    order = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    is_forward = np.repeat(ends[0] < ends[1], counts)
    rising, falling = np.repeat(first, counts) + order, np.repeat(after, counts) - 1 - order
    found = keys[np.where(is_forward, rising, falling)]
    pair = [found % span, found // span]
    return np.stack(pair if axis == 0 else pair[::-1], axis=1), counts
