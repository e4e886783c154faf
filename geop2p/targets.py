"""A target: the map of a scene's ground, drawn on the scene's pixel grid, read by rows.

It is a picture as it is, a raster of class indexes drawn with a palette, or vectors drawn with a
style.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from geop2p.errors import OptionError, SceneError
from geop2p.palette import Palette
from geop2p.raster.aligning import ground_box, open_aligned
from geop2p.raster.burning import burn, into_scene, metres_per_unit, reach
from geop2p.raster.scene import OrderedRows, Scene, SceneSpec
from geop2p.style import Style
from geop2p.vector.drawing import Drawing, Plane, is_vector, read_drawing

logger = logging.getLogger(__name__)

Pixels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


class Target(Protocol):
    """Gives the map of whole scene rows; asked for rows in ascending order."""

    def read(self, *, rows: tuple[int, int]) -> tuple[Pixels, Mask]:
        """Return (C, h, W) pixels and (h, W) bool, True where the target says what is there."""
        ...


class LabelledTarget:
    """Class indexes drawn with a palette. Casings reach over the borders of what is read."""

    def __init__(self, labels: Scene, palette: Palette) -> None:
        self._spec = labels.spec
        self._rows = OrderedRows(labels)
        self._palette = palette
        if len(self._spec.bands) != 1 or self._spec.dtype.startswith("float"):
            raise SceneError(
                f"{self._spec.path}: {len(self._spec.bands)} bands of {self._spec.dtype} "
                "(a palette draws one band of class indexes; leave it out for a picture)"
            )

    def read(self, *, rows: tuple[int, int]) -> tuple[Pixels, Mask]:
        """Draw whole rows: (3, h, W) uint8, and where there are labels.

        Raises
        ------
        OptionError
            When a label is not in the palette.
        """
        margin = self._palette.casing_width
        low, high = max(rows[0] - margin, 0), min(rows[1] + margin, self._spec.height)
        labels, valid = self._rows.read(rows=(low, high))
        drawn = self._draw(labels[0], valid)
        inner = slice(rows[0] - low, rows[1] - low)
        return drawn[:, inner], valid[inner]

    def _draw(self, labels: Pixels, valid: Mask) -> Pixels:
        background = self._palette.classes[0].index
        known = np.where(valid, labels, background)
        if known.min(initial=0) < 0 or known.max(initial=0) > 255:
            raise SceneError(f"{self._spec.path}: labels outside 0 to 255 (expected class indexes)")
        try:
            return self._palette.draw(known.astype(np.uint8))
        except OptionError as exc:
            raise OptionError(f"{self._spec.path}: {exc}") from exc


class DrawnTarget:
    """Vectors drawn with a style. They are taken to say everything: there is a map everywhere."""

    def __init__(self, drawing: Drawing, *, style: Style, onto: SceneSpec) -> None:
        self._drawing = drawing
        self._colours = np.array(style.colours(), np.uint8)
        self._scene = onto

    @property
    def is_blank(self) -> bool:
        """Whether no shape reaches into the scene."""
        whole = {"rows": (0, self._scene.height), "cols": (0, self._scene.width)}
        return not self._drawing.within(ground_box(self._scene, **whole))

    def read(self, *, rows: tuple[int, int]) -> tuple[Pixels, Mask]:
        """Draw whole rows: (3, h, W) uint8, and True everywhere."""
        box = ground_box(self._scene, rows=rows, cols=(0, self._scene.width))
        burnt = burn(self._drawing.within(box), onto=self._scene, rows=rows)
        drawn = np.moveaxis(self._colours[burnt], -1, 0)  # (h, W, 3) -> (3, h, W)
        return drawn, np.ones(burnt.shape, bool)


@contextmanager
def open_target(
    path: str | os.PathLike[str],
    *,
    onto: SceneSpec,
    palette: Palette | None = None,
    style: Style | None = None,
    is_blank_refused: bool = False,
) -> Iterator[Target]:
    """Open a target on the grid of the scene ``onto``.

    Vectors are told by the name of the file (`geop2p.vector.drawing.SUFFIXES`) and need a style; a
    raster holds class indexes when there is a palette, else a picture. Vectors of which nothing is
    drawn on the scene are warned of, or refused.

    Raises
    ------
    SceneError
        When it cannot be read, does not lie on the scene, or holds no class indexes.
    OptionError
        When vectors come without a style.
    """
    if is_vector(path):
        drawn = _draw_vectors(path, onto=onto, style=style)
        if drawn.is_blank:
            _tell_of_blank(path, scene=onto.path, is_refused=is_blank_refused)
        yield drawn
        return
    with open_aligned(path, onto=onto, is_labels=palette is not None) as raster:
        yield OrderedRows(raster) if palette is None else LabelledTarget(raster, palette)


def _draw_vectors(
    path: str | os.PathLike[str], *, onto: SceneSpec, style: Style | None
) -> DrawnTarget:
    if style is None:
        raise OptionError(f"{path}: vectors need a --style (a JSON file, or a shipped name)")
    if not onto.crs:
        raise SceneError(
            f"{onto.path}: has no coordinate reference system, so {path} cannot be drawn on it "
            "(georeference the scene)"
        )
    plane = Plane(
        reproject=lambda crs: into_scene(crs, scene=onto),
        find_box=lambda crs, margin_m: reach(onto, crs=crs, margin_m=margin_m),
        metres_per_unit=metres_per_unit(onto),
    )
    return DrawnTarget(read_drawing(path, style=style, plane=plane), style=style, onto=onto)


def _tell_of_blank(path: str | os.PathLike[str], *, scene: str, is_refused: bool) -> None:
    told = (
        f"{path}: nothing in it is drawn on {scene} (do both show the same ground? do layer and "
        "where of the style match?)"
    )
    if is_refused:
        raise SceneError(told)
    logger.warning("%s", told)
