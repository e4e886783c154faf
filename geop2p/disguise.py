"""What the discriminator sees of a pair: changed at random, true and generated pair alike.

A discriminator that sees few pairs learns them by heart. Changes that gradients pass through, made
to true and generated pairs alike, make them many without teaching the generator to draw the
changes. They are a pure function of (seed, epoch, step), and within a step the same for the true
and the generated pair.

References
----------
Zhao et al.: Differentiable Augmentation for Data-Efficient GAN Training, NeurIPS 2020
(arXiv:2006.10738), section 3.2 and its published code, for the policies and their ranges.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from geop2p.streams import Stream
from geop2p.transfer import sent

NONE, SEPARATOR = "none", "+"
POLICIES = ("colour", "translation", "cutout")
BRIGHTNESS, SATURATION, CONTRAST = (-0.5, 0.5), (0.0, 2.0), (0.5, 1.5)
"""Added, in [-1, 1]; times the distance to the mean of a pixel's bands; to that of the picture."""
FARTHEST = 8
"""A picture is moved by up to one part in so many of its side."""
HOLE = 2
"""The side of a hole is one part in so many of the picture's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disguise:
    """One change for each pair of a batch.

    Parameters
    ----------
    scene_colours, map_colours : (N, 3) float32 or None
        Brightness, saturation and contrast of each scene, and others of each map.
    moves : (N, 2) int64 or None
        Rows and columns by which both pictures move; zeros follow.
    centres : (N, 2) int64 or None
        Row and column round which a square of both pictures is zero.
    """

    scene_colours: Tensor | None = None
    map_colours: Tensor | None = None
    moves: npt.NDArray[np.int64] | None = None
    centres: npt.NDArray[np.int64] | None = None

    def __call__(self, scene: Tensor, picture: Tensor) -> Tensor:
        """Return the pair that is judged, (N, C + K, H, W), of scene and map in [-1, 1]."""
        if self.scene_colours is not None and self.map_colours is not None:
            scene, picture = (
                coloured(scene, self.scene_colours),
                coloured(picture, self.map_colours),
            )
        pair = torch.cat([scene, picture], dim=1)
        if self.moves is not None:
            pair = moved(pair, self.moves)
        return pair if self.centres is None else holed(pair, self.centres)


PLAIN = Disguise()
"""Changes nothing."""


def draw_disguise(
    policies: str, key: tuple[int, int, int], *, shape: tuple[int, int, int]
) -> Disguise:
    """Return the changes that ``key`` = (seed, epoch, step) stands for.

    Parameters
    ----------
    policies : str
        ``none``, or some of `POLICIES` joined by ``+``.
    shape : (int, int, int)
        Pairs of the batch, rows, columns.
    """
    if policies == NONE:
        return PLAIN
    chosen = policies.split(SEPARATOR)
    random = np.random.default_rng((Stream.DISGUISE, *key))
    count, *size = shape
    # all are drawn always, so that one policy does not depend on another
    colours = [_colours(random, count) for _ in range(2)]
    most = [side // FARTHEST for side in size]
    moves = random.integers([-rows for rows in most], [rows + 1 for rows in most], (count, 2))
    centres = random.integers(0, size, (count, 2))
    has_colours = "colour" in chosen
    return Disguise(
        scene_colours=colours[0] if has_colours else None,
        map_colours=colours[1] if has_colours else None,
        moves=moves if "translation" in chosen else None,
        centres=centres if "cutout" in chosen else None,
    )


def coloured(pictures: Tensor, colours: Tensor) -> Tensor:
    """Return (N, C, H, W) with (N, 3) other brightness, saturation and contrast, in that order."""
    brightness, saturation, contrast = sent(colours, pictures.device).view(-1, 3, 1, 1, 1).unbind(1)
    brighter = pictures + brightness
    grey = brighter.mean(dim=1, keepdim=True)
    saturated = (brighter - grey) * saturation + grey
    middle = saturated.mean(dim=(1, 2, 3), keepdim=True)
    return (saturated - middle) * contrast + middle


def moved(pictures: Tensor, moves: npt.NDArray[np.int64]) -> Tensor:
    """Return (N, C, H, W), each moved by its rows and columns; what comes into sight is 0."""
    height, width = pictures.shape[2:]
    rows, cols = height // FARTHEST, width // FARTHEST
    wide = F.pad(pictures, (cols, cols, rows, rows))
    return torch.stack(
        [
            picture[:, rows - down : rows - down + height, cols - right : cols - right + width]
            for picture, (down, right) in zip(wide, moves.tolist(), strict=True)
        ]
    )


def holed(pictures: Tensor, centres: npt.NDArray[np.int64]) -> Tensor:
    """Return (N, C, H, W), a square of half the side round each centre set to 0."""
    height, width = pictures.shape[2:]
    kept = np.ones((len(centres), 1, height, width), np.float32)
    for picture, (row, col) in zip(kept[:, 0], centres.tolist(), strict=True):
        top, left = row - height // HOLE // 2, col - width // HOLE // 2
        bottom, right = top + height // HOLE, left + width // HOLE
        picture[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = 0
    return pictures * sent(kept, pictures.device)


def _colours(random: np.random.Generator, count: int) -> Tensor:
    drawn = [random.uniform(*limits, count) for limits in (BRIGHTNESS, SATURATION, CONTRAST)]
    return torch.from_numpy(np.stack(drawn, axis=1).astype(np.float32))
