"""Scores of generated maps: L1, PSNR and SSIM, and per class where the card has a palette."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure
from torchmetrics.regression import MeanAbsoluteError

from geop2p.card import Scaling
from geop2p.palette import Palette

Scores = dict[str, Any]
"""Plain numbers by name: ``l1``, ``psnr_db``, ``ssim``; with a palette also classes."""

MOST_PSNR_DB = 100.0
"""Stands for equal pictures, whose PSNR has no bound."""


class Scorer:
    """Collects pairs of generated and true maps, and scores all of them together.

    L1 is the mean over all pixels, in native values (grey levels for 8-bit maps). PSNR comes from
    the mean squared error over all pixels, SSIM is the mean over pictures; the range of both is
    that of ``scaling``.
    """

    def __init__(self, scaling: Scaling, *, palette: Palette | None = None) -> None:
        span = scaling.high - scaling.low
        limits = (scaling.low, scaling.high)
        self._metrics: dict[str, Metric] = {
            "l1": MeanAbsoluteError(),
            "psnr_db": PeakSignalNoiseRatio(data_range=limits),
            "ssim": StructuralSimilarityIndexMeasure(data_range=span),
        }
        self._palette = palette
        self._confusion = np.zeros((256, 256), np.int64)  # [true index, generated index]

    def add(self, generated: Tensor, truth: Tensor) -> None:
        """Count a batch of native values, both (N, K, H, W) float32."""
        generated, truth = generated.cpu().contiguous(), truth.cpu().contiguous()
        for metric in self._metrics.values():
            metric.update(generated, truth)
        if self._palette is not None:
            for made, real in zip(generated, truth, strict=True):
                self._confusion += _confusion(self._palette, made, real)

    def scores(self) -> Scores:
        """Return the scores of everything that was added."""
        found = {name: float(metric.compute()) for name, metric in self._metrics.items()}
        found["psnr_db"] = min(found["psnr_db"], MOST_PSNR_DB)
        rounded: Scores = {name: round(value, 4) for name, value in found.items()}
        if self._palette is not None:
            rounded |= class_scores(self._confusion, self._palette)
        return rounded


def class_scores(confusion: npt.NDArray[np.int64], palette: Palette) -> Scores:
    """Return overall accuracy, and per scored class its accuracy and IoU, each 0 to 1.

    Parameters
    ----------
    confusion : (256, 256) int64
        Pixels by [true index, generated index].

    Returns
    -------
    dict
        ``accuracy``, ``mean_iou`` and ``classes``: name to ``accuracy`` (share of the class's true
        pixels that were drawn as it) and ``iou``; None for a class that never occurs.
    """
    hits = np.diagonal(confusion)
    true, made = confusion.sum(axis=1), confusion.sum(axis=0)
    classes = {}
    for entry in (entry for entry in palette.classes if entry.is_scored):
        i = entry.index
        iou = _ratio(hits[i], true[i] + made[i] - hits[i])
        classes[entry.name] = {"accuracy": _ratio(hits[i], true[i]), "iou": iou}
    ious = [entry["iou"] for entry in classes.values() if entry["iou"] is not None]
    return {
        "accuracy": _ratio(hits.sum(), confusion.sum()),
        "mean_iou": round(sum(ious) / len(ious), 4) if ious else None,
        "classes": classes,
    }


def _confusion(palette: Palette, generated: Tensor, truth: Tensor) -> npt.NDArray[np.int64]:
    """Count pixels by nearest classes; colours of classes that are not scored are left out."""
    made, real = (picture.numpy().astype(np.uint8) for picture in (generated, truth))
    is_counted = palette.is_scored_colour(real)
    rows = palette.nearest(real)[is_counted].astype(np.int64)
    cols = palette.nearest(made)[is_counted].astype(np.int64)
    return np.bincount(rows * 256 + cols, minlength=256 * 256).reshape(256, 256)


def _ratio(part: np.integer[Any], whole: np.integer[Any]) -> float | None:
    return round(float(part / whole), 4) if whole else None


def mean_picture(truths: Tensor) -> Tensor:
    """Return a picture of the mean colour of ``truths``, (N, K, H, W), of the same shape."""
    mean = truths.double().mean(dim=(0, 2, 3), keepdim=True).float()
    return torch.round(mean).expand_as(truths)
