"""Structural similarity as pictures, at one scale or five, so that parts of a whole add up.

Round each pixel means, variances and covariance are taken with Gaussian weights in a window of
11 x 11; past its edges a picture is continued by reflection. A picture that is looked at by parts,
each with `MARGIN` more pixels round it, gives the same values as the whole, but for the last bits.
Values are those of torchmetrics, which gives only their means.

References
----------
Wang, Bovik, Sheikh, Simoncelli: Image Quality Assessment: From Error Visibility to Structural
Similarity, 2004, section III: window, K1 and K2.
Wang, Simoncelli, Bovik: Multi-Scale Structural Similarity for Image Quality Assessment, 2003,
section 3.2: exponents of the five scales.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

Span = tuple[int, int]

WINDOW = 11
SIGMA = 1.5
K1, K2 = 0.01, 0.03
EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
SCALES = len(EXPONENTS)
SCALE_STEP = 2 ** (SCALES - 1)
"""Pixels; the corners of parts lie on multiples of it, so that halving meets the same pixels."""
MARGIN = (WINDOW // 2 + 1) * SCALE_STEP
"""Pixels that a part needs round it: half a window, and what reflection takes, at the coarsest."""
LEAST_SIDE = WINDOW * SCALE_STEP
"""Pixels; a picture that is lower or narrower has no window at the coarsest scale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Similarity at one scale, for the window round each pixel of a part and a few more.

    Parameters
    ----------
    whole, structure : (h, w) float32
        SSIM, and its factor without luminance, each the mean over bands; 0 where not counted.
    is_counted : (h, w) bool
        Windows without an invalid pixel.
    corner : (int, int)
        Row and column of the first of these pixels in the picture, at this scale.
    """

    whole: npt.NDArray[np.float32]
    structure: npt.NDArray[np.float32]
    is_counted: npt.NDArray[np.bool_]
    corner: tuple[int, int]


def scale_count(height: int, width: int) -> int:
    """Return how many scales a picture has: five, one where it is small, none below a window.

    The bound is that of torchmetrics.
    """
    side = min(height, width)
    return SCALES if side >= LEAST_SIDE else int(side >= WINDOW)


def similarity(
    made: Tensor,
    real: Tensor,
    *,
    valid: npt.NDArray[np.bool_],
    part: tuple[Span, Span],
    span: float,
    scales: int,
) -> list[Scale]:
    """Return the similarity of two pictures, (K, H, W) float32, from the finest scale on.

    Parameters
    ----------
    valid : (H, W) bool
        Pixels to look at; what the others hold does not matter.
    part : ((int, int), (int, int))
        Rows and columns whose windows are wanted; the others are there for their sake.
    span : float
        From the lowest to the highest value that a picture may have.
    scales : int
        How many, see `scale_count`; pictures are halved from one to the next.
    """
    mask = torch.from_numpy(np.ascontiguousarray(valid))
    made, real = (torch.where(mask, picture, 0.0) for picture in (made, real))
    found = []
    for scale in range(scales):
        if scale:
            made, real = (F.avg_pool2d(picture[None], 2)[0] for picture in (made, real))
            mask = F.avg_pool2d(mask[None].float(), 2)[0] == 1
        rows, cols = (_near(*where, scale) for where in part)
        near = (..., rows, cols)
        found.append(
            _at_scale(
                made[near], real[near], mask=mask[near], span=span, corner=(rows.start, cols.start)
            )
        )
    return found


def combined(means: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """Return MS-SSIM from the means of each scale: of structure, and of the whole at the last.

    Means below zero count as zero, as in torchmetrics.
    """
    powers = [np.maximum(m, 0.0) ** beta for m, beta in zip(means, EXPONENTS, strict=True)]
    return np.asarray(np.prod(np.stack(powers), axis=0))


def _near(first: int, last: int, scale: int) -> slice:
    """Return a span at a scale, and as many pixels beside it as a window and reflection take."""
    margin = MARGIN // SCALE_STEP
    return slice(max(0, (first >> scale) - margin), (last >> scale) + margin)


def _at_scale(
    made: Tensor, real: Tensor, *, mask: Tensor, span: float, corner: tuple[int, int]
) -> Scale:
    is_counted = _all_in_window(mask)
    centre = real.mean()  # second moments of small numbers lose fewer digits
    made, real = (_continued(picture - centre) for picture in (made, real))
    stacked = torch.stack([made, real, made * made, real * real, made * real])  # (5, K, H, W)
    mean_m, mean_r, mean_mm, mean_rr, mean_mr = _smoothed(stacked)
    c1, c2 = (K1 * span) ** 2, (K2 * span) ** 2
    variances = (mean_mm - mean_m**2).clamp(min=0) + (mean_rr - mean_r**2).clamp(min=0)
    structure = (2 * (mean_mr - mean_m * mean_r) + c2) / (variances + c2)
    mean_m, mean_r = mean_m + centre, mean_r + centre
    luminance = (2 * mean_m * mean_r + c1) / (mean_m**2 + mean_r**2 + c1)
    whole, part = ((x.mean(dim=0) * is_counted).numpy() for x in (luminance * structure, structure))
    return Scale(whole=whole, structure=part, is_counted=is_counted.numpy(), corner=corner)


def _smoothed(pictures: Tensor) -> Tensor:
    """Return Gaussian means over windows: (N, K, H, W) to (N, K, H - 10, W - 10).

    As products with banded matrices, which are quicker than convolutions of one channel.
    """
    height, width = pictures.shape[2:]
    smooth: Tensor = _band(height) @ pictures @ _band(width).T
    return smooth


@lru_cache(maxsize=32)
def _band(length: int) -> Tensor:
    """Return the matrix whose rows hold the window's weights: (length - 10, length) float32."""
    distances = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    weights = torch.exp(-((distances / SIGMA) ** 2) / 2)
    weights = (weights / weights.sum()).float()
    weights[WINDOW // 2] += 1 - weights.double().sum()  # or flat parts have a variance
    band = torch.zeros(length - WINDOW + 1, length)
    for offset, weight in enumerate(weights):
        band.diagonal(offset).fill_(weight)
    return band


def _continued(picture: Tensor) -> Tensor:
    """Return (K, H, W) with half a window more on each side, by reflection."""
    return F.pad(picture[None], (WINDOW // 2,) * 4, mode="reflect")[0]


def _all_in_window(mask: Tensor) -> Tensor:
    """Return for each window whether all of its pixels are counted, (H, W) bool."""
    if bool(mask.all()):
        return mask
    return F.max_pool2d(_continued((~mask)[None].float()), WINDOW, stride=1)[0] == 0
