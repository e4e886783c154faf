"""Where the patches of scenes lie, and on which side of the split, decided by the ground they show.

Scenes that touch or overlap, or nearly do, are one area. Scenes without a coordinate reference
system cannot be compared, so each is an area of its own.
"""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from geop2p.errors import OptionError
from geop2p.patches import TRAIN, VAL, Box, Patch, patch_starts, split_by_area, touching_groups
from geop2p.raster.aligning import box_in, ground_box
from geop2p.raster.scene import SceneSpec

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchLattice:
    """How patches lie in a scene: side and distance in pixels, and how they are split.

    Parameters
    ----------
    size, stride : int, pixels
        Side of a patch; from the start of one to the start of the next.
    val_fraction : float
        Share of each area's patches that validate, where no scene is named.
    val : sequence of str
        Scenes that validate, whole; all others train.
    """

    size: int
    stride: int
    val_fraction: float
    val: Sequence[str] = ()


def place_patches(specs: Sequence[SceneSpec], lattice: PatchLattice) -> list[list[Patch]]:
    """Return the patches of each scene in reading order, each with its side of the split.

    Raises
    ------
    OptionError
        When a scene that was named to validate is not there or touches one that trains.
    """
    placed = [_cover(spec, lattice) for spec in specs]
    if lattice.val:
        return _split_by_name(specs, placed, lattice)
    return _split_by_ground(specs, placed, lattice)


def _cover(spec: SceneSpec, lattice: PatchLattice) -> list[Patch]:
    rows = patch_starts(spec.height, size=lattice.size, stride=lattice.stride)
    cols = patch_starts(spec.width, size=lattice.size, stride=lattice.stride)
    if not rows or not cols:
        logger.warning(
            "%s: %dx%d pixels hold no patch of %d", spec.path, spec.width, spec.height, lattice.size
        )
    return [Patch(row=row, col=col, size=lattice.size) for row in rows for col in cols]


def _split_by_name(
    specs: Sequence[SceneSpec], placed: Sequence[list[Patch]], lattice: PatchLattice
) -> list[list[Patch]]:
    """Put the scenes that were named on the validating side, whole."""
    paths = [os.path.realpath(spec.path) for spec in specs]
    named = [os.path.realpath(path) for path in lattice.val]
    for path, given in zip(named, lattice.val, strict=True):
        if path not in paths:
            raise OptionError(f"{given}: validates, but is not among the scenes (add it to them)")
    for group in _areas(specs, lattice.size):
        _check_one_side([specs[i].path for i in group], [paths[i] in named for i in group])
    return [
        [replace(patch, side=VAL if path in named else TRAIN) for patch in patches]
        for path, patches in zip(paths, placed, strict=True)
    ]


def _check_one_side(paths: Sequence[str], is_named: Sequence[bool]) -> None:
    if any(is_named) and not all(is_named):
        raise OptionError(
            f"{paths[is_named.index(True)]}: validates, but touches "
            f"{paths[is_named.index(False)]}, which trains (name both to validate, or neither)"
        )


def _split_by_ground(
    specs: Sequence[SceneSpec], placed: Sequence[list[Patch]], lattice: PatchLattice
) -> list[list[Patch]]:
    """Cut a block off each area."""
    sided = [list(patches) for patches in placed]
    for area in _areas(specs, lattice.size):
        where = [(i, k) for i in area for k in range(len(placed[i]))]
        boxes = [_patch_box(specs[i], placed[i][k], specs[area[0]]) for i, k in where]
        sides = split_by_area(boxes, fraction=lattice.val_fraction)
        for (i, k), side in zip(where, sides, strict=True):
            sided[i][k] = replace(placed[i][k], side=side)
    return sided


def _areas(specs: Sequence[SceneSpec], size: int) -> list[list[int]]:
    """Return which scenes lie within one patch of each other; without a CRS each is alone."""
    located = [i for i, spec in enumerate(specs) if spec.crs]
    alone = [[i] for i, spec in enumerate(specs) if not spec.crs]
    if not located:
        return alone
    reference = specs[located[0]]
    boxes = [_scene_box(specs[i], reference) for i in located]
    corner = Patch(row=0, col=0, size=size)
    patches = [_patch_box(specs[i], corner, reference) for i in located]
    gap = max(max(box[2] - box[0], box[3] - box[1]) for box in patches)
    groups = touching_groups(boxes, gap=gap)
    return sorted([*alone, *([located[i] for i in group] for group in groups)])


def _scene_box(spec: SceneSpec, reference: SceneSpec) -> Box:
    box = ground_box(spec, rows=(0, spec.height), cols=(0, spec.width))
    return box_in(box, crs=spec.crs, other=reference.crs)


def _patch_box(spec: SceneSpec, patch: Patch, reference: SceneSpec) -> Box:
    box = ground_box(spec, rows=patch.rows, cols=patch.cols)
    return box_in(box, crs=spec.crs, other=reference.crs)
