"""The truth that a map is compared with: picture, class indexes or vectors, on the scene's grid."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geop2p.errors import SceneError
from geop2p.palette import Palette
from geop2p.raster.aligning import open_aligned
from geop2p.raster.scene import OrderedRows, SceneSpec, open_scene
from geop2p.style import Style
from geop2p.targets import Target, open_target
from geop2p.vector.drawing import is_vector

Pixels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthRows:
    """Whole rows of the truth: (K, h, W) native, (h, W) bool, and (h, W) uint8 where labels say."""

    pixels: Pixels
    valid: Mask
    classes: npt.NDArray[np.uint8] | None


class Truth:
    """Gives whole rows of the truth, asked for in ascending order."""

    def __init__(self, target: Target, labels: OrderedRows | None) -> None:
        self._target = target
        self._labels = labels

    def read(self, *, rows: tuple[int, int]) -> TruthRows:
        """Read rows of the scene.

        Raises
        ------
        SceneError, OptionError
            When they cannot be read, or a label is not in the palette.
        """
        pixels, valid = self._target.read(rows=rows)
        if self._labels is None:
            return TruthRows(pixels=pixels, valid=valid, classes=None)
        labels, is_labelled = self._labels.read(rows=rows)
        classes = np.where(is_labelled, labels[0], 0).astype(np.uint8)
        return TruthRows(pixels=pixels, valid=valid & is_labelled, classes=classes)


@contextmanager
def open_truth(
    path: str | os.PathLike[str],
    *,
    onto: SceneSpec,
    bands: int,
    palette: Palette | None,
    style: Style | None = None,
) -> Iterator[Truth]:
    """Open the truth of a scene ``onto`` for maps of ``bands`` bands.

    Vectors are drawn with ``style``. One band of integers for a map of three holds class indexes,
    drawn with ``palette``; pixels of classes that are not scored keep their colour, and are told.

    Raises
    ------
    SceneError
        When it cannot be read, does not lie on the scene, or has other bands than the map; when
        it holds vectors and none is drawn on the scene.
    OptionError
        When vectors come without a style.
    """
    with ExitStack() as stack:
        if is_vector(path):
            target = stack.enter_context(
                open_target(path, onto=onto, style=style, is_blank_refused=True)
            )
            yield Truth(target, None)
            return
        is_labels = _is_labels(path, bands=bands)
        if is_labels and palette is None:
            raise SceneError(
                f"{path}: 1 band, the map has {bands}: class indexes need a palette "
                "(the model's card has none: give --palette)"
            )
        drawn_with = palette if is_labels else None
        target = stack.enter_context(open_target(path, onto=onto, palette=drawn_with))
        labels = None
        if is_labels:
            raster = stack.enter_context(open_aligned(path, onto=onto, is_labels=True))
            labels = OrderedRows(raster)
        yield Truth(target, labels)


def _is_labels(path: str | os.PathLike[str], *, bands: int) -> bool:
    """Return whether a raster holds class indexes, refusing what fits no map of ``bands`` bands."""
    with open_scene(path) as raster:
        found, dtype = len(raster.spec.bands), raster.spec.dtype
    if found == bands:
        return False
    if found == 1 and bands == 3 and not dtype.startswith("float"):
        return True
    raise SceneError(
        f"{path}: {found} bands of {dtype}, the map has {bands} "
        f"(give {bands} bands, or one of class indexes)"
    )
