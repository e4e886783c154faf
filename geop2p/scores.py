"""Scores that add up: each pair, or each square of a scene, leaves one row of sums.

Every figure is a function of such sums, so a scene may be scored by parts, and a figure of any
sample of items (`geop2p.bootstrap`) is that of the sum of their rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from geop2p.card import Scaling
from geop2p.metrics import MOST_PSNR_DB
from geop2p.palette import Palette
from geop2p.similarity import SCALES, WINDOW, combined, similarity

Pixels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Span = tuple[int, int]

NEAR = (5, 10)
"""Grey levels, 255ths of the range, within which a pixel counts as near in all of its bands."""
BASE = ("pixels", "values", "absolute", "squared", *(f"within_{near}" for near in NEAR))
SIMILAR = (
    "whole",
    "whole_windows",
    *(f"similar_{i}" for i in range(SCALES)),
    *(f"windows_{i}" for i in range(SCALES)),
)
PICTURES = ("ssim", "ssim_pictures", "ms_ssim", "ms_ssim_pictures")
COLUMNS = (*BASE, *SIMILAR, *PICTURES)
"""Sums of an item; the confusion of its classes, row by row, comes after them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """A part of a map beside the truth, with as much around it as similarity looks at.

    Parameters
    ----------
    made, real : (K, H, W)
        Native values.
    valid : (H, W) bool
        Where both are.
    classes : (H, W) uint8 or None
        The true class, where labels say it; else the truth's nearest colour does.
    rows, cols : (int, int)
        The span of the part itself in these arrays, which start at a multiple of
        `geop2p.similarity.SCALE_STEP` of the whole.
    around : ((int, int), (int, int))
        Rows of the whole above and below the part, columns left and right of it.
    """

    made: Pixels
    real: Pixels
    valid: Mask
    rows: Span
    cols: Span
    classes: npt.NDArray[np.uint8] | None = None
    around: tuple[Span, Span] = ((0, 0), (0, 0))


class Counter:
    """Turns patches into rows of sums.

    Parameters
    ----------
    scaling : Scaling
        The map's; gives the range of its values.
    palette : Palette or None
        Classes to count; those that are not scored are left out.
    scales : int
        Of similarity, see `geop2p.similarity.scale_count`: of the whole picture.
    """

    def __init__(self, scaling: Scaling, *, palette: Palette | None, scales: int) -> None:
        self._span = scaling.high - scaling.low
        self._scales = scales
        self._palette = palette
        entries = () if palette is None else palette.classes
        self._indexes = [entry.index for entry in entries if entry.is_scored]
        self._place = np.full(256, -1, np.int64)
        self._place[self._indexes] = np.arange(len(self._indexes))

    @property
    def width(self) -> int:
        """Columns of a row of sums."""
        return len(COLUMNS) + len(self._indexes) ** 2

    def count(self, patch: Patch) -> Floats:
        """Return the sums of one patch, (width,) float64."""
        row = np.zeros(self.width)
        self._count_differences(patch, row)
        self._count_similarity(patch, row)
        if self._palette is not None:
            row[len(COLUMNS) :] = self._confusion(patch).ravel()
        return row

    def _count_differences(self, patch: Patch, row: Floats) -> None:
        rows, cols = slice(*patch.rows), slice(*patch.cols)
        made, real = (x[:, rows, cols].astype(np.float64) for x in (patch.made, patch.real))
        valid = patch.valid[rows, cols]
        distance = np.abs(made - real)[:, valid]  # (K, pixels)
        worst = distance.max(axis=0, initial=0)
        near = [float((worst <= limit * self._span / 255).sum()) for limit in NEAR]
        sums = [valid.sum(), distance.size, distance.sum(), (distance**2).sum(), *near]
        row[: len(BASE)] = sums

    def _count_similarity(self, patch: Patch, row: Floats) -> None:
        made, real = (
            torch.from_numpy(np.where(patch.valid, x, 0).astype(np.float32))
            for x in (patch.made, patch.real)
        )
        found = similarity(
            made,
            real,
            valid=patch.valid,
            part=(patch.rows, patch.cols),
            span=self._span,
            scales=self._scales,
        )
        for i, scale in enumerate(found):
            part = _inside(patch, scale=i, corner=scale.corner, margin=0)
            if i == 0:
                row[_column("whole")] = scale.whole[part].sum(dtype=np.float64)
                row[_column("whole_windows")] = scale.is_counted[part].sum()
            # as in torchmetrics: structure of windows that lie in the picture, at the last scale
            # the whole of all windows
            is_last = i == SCALES - 1
            part = (
                part
                if is_last
                else _inside(patch, scale=i, corner=scale.corner, margin=WINDOW // 2)
            )
            values = scale.whole if is_last else scale.structure
            row[_column(f"similar_{i}")] = values[part].sum(dtype=np.float64)
            row[_column(f"windows_{i}")] = scale.is_counted[part].sum()

    def _confusion(self, patch: Patch) -> npt.NDArray[np.int64]:
        """Count pixels by [true class, made class], both by their place among those scored."""
        palette, count = self._palette, len(self._indexes)
        rows, cols = slice(*patch.rows), slice(*patch.cols)
        if palette is None:
            return np.zeros((count, count), np.int64)
        real = patch.real[:, rows, cols].astype(np.uint8)
        true = patch.classes[rows, cols] if patch.classes is not None else palette.nearest(real)
        is_counted = patch.valid[rows, cols] & (self._place[true] >= 0)
        if patch.classes is None:
            is_counted &= palette.is_scored_colour(real)
        made = palette.nearest(patch.made[:, rows, cols].astype(np.uint8))
        cells = self._place[true[is_counted]] * count + self._place[made[is_counted]]
        return np.bincount(cells, minlength=count * count).reshape(count, count)


def picture_row(row: Floats) -> Floats:
    """Return the row of a picture of its own: its similarity counts once, whatever its size."""
    row = row.copy()
    sums = row[np.newaxis]
    for name, value in (("ssim", _ssim(sums)), ("ms_ssim", _ms_ssim(sums))):
        if np.isfinite(value[0]):
            row[_column(name)], row[_column(f"{name}_pictures")] = value[0], 1
    return row


def figures(sums: Floats, *, scaling: Scaling, palette: Palette | None) -> dict[str, Floats]:
    """Return the figures of rows of sums, (N, width): name to (N,) float64, NaN for none.

    Per class the names are ``accuracy/NAME``, ``iou/NAME`` and ``f1/NAME``. Of rows of pictures
    (`picture_row`) similarity is the mean over pictures, else the mean over windows.
    """
    values = sums[:, _column("values")]
    mse = _ratio(sums[:, _column("squared")], values)
    span = scaling.high - scaling.low
    with np.errstate(divide="ignore"):
        psnr = np.minimum(10 * np.log10(span**2 / mse), MOST_PSNR_DB)
    found = {
        "l1": _ratio(sums[:, _column("absolute")], values),
        "rmse": np.sqrt(mse),
        "psnr_db": psnr,
        "ssim": _mean_of_pictures(sums, "ssim", _ssim(sums)),
        "ms_ssim": _mean_of_pictures(sums, "ms_ssim", _ms_ssim(sums)),
    }
    pixels = sums[:, _column("pixels")]
    for near in NEAR:
        found[f"within_{near}"] = _ratio(sums[:, _column(f"within_{near}")], pixels)
    return found if palette is None else found | _class_figures(sums, palette)


def classified(sums: Floats) -> int:
    """Return on how many pixels of rows of sums, (N, width), `figures` counts accuracy."""
    return int(sums[:, len(COLUMNS) :].sum())


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return figures with those of classes under ``classes``: name, then figure."""
    whole: dict[str, Any] = {name: value for name, value in flat.items() if "/" not in name}
    classes: dict[str, dict[str, Any]] = {}
    for name, value in flat.items():
        figure, slash, entry = name.partition("/")
        if slash:
            classes.setdefault(entry, {})[figure] = value
    return whole | ({"classes": classes} if classes else {})


def plain(value: float) -> float | None:
    """Return a figure as it is told: rounded to 4 places, None where there is none."""
    return round(float(value), 4) if np.isfinite(value) else None


def _class_figures(sums: Floats, palette: Palette) -> dict[str, Floats]:
    names = [entry.name for entry in palette.classes if entry.is_scored]
    confusion = sums[:, len(COLUMNS) :].reshape(-1, len(names), len(names))
    hits = np.diagonal(confusion, axis1=1, axis2=2)
    true, made = confusion.sum(axis=2), confusion.sum(axis=1)
    by_class = {
        "accuracy": _ratio(hits, true),
        "iou": _ratio(hits, true + made - hits),
        "f1": _ratio(2 * hits, true + made),
    }
    found = {"accuracy": _ratio(hits.sum(axis=1), true.sum(axis=1))}
    for figure in ("iou", "f1"):
        known = np.isfinite(by_class[figure])
        total = np.where(known, by_class[figure], 0).sum(axis=1)
        found[f"mean_{figure}"] = _ratio(total, known.sum(axis=1))
    for i, name in enumerate(names):
        found |= {f"{figure}/{name}": values[:, i] for figure, values in by_class.items()}
    return found


def _inside(
    patch: Patch, *, scale: int, corner: tuple[int, int], margin: int
) -> tuple[slice, slice]:
    """Return a scale's pixels of the part, but for ``margin`` of them at edges of the whole.

    A part's last pixels, fewer than one of the scale, are left out, as in the whole.
    """
    spans = []
    for (first, last), (before, after), origin in zip(
        (patch.rows, patch.cols), patch.around, corner, strict=True
    ):
        low = (first >> scale) + max(0, margin - (before >> scale))
        high = (last >> scale) - max(0, margin - (after >> scale))
        spans.append(slice(low - origin, max(low, high) - origin))
    return spans[0], spans[1]


def _ssim(sums: Floats) -> Floats:
    return _ratio(sums[:, _column("whole")], sums[:, _column("whole_windows")])


def _ms_ssim(sums: Floats) -> Floats:
    means = [
        _ratio(sums[:, _column(f"similar_{i}")], sums[:, _column(f"windows_{i}")])
        for i in range(SCALES)
    ]
    return combined(means)


def _mean_of_pictures(sums: Floats, name: str, pooled: Floats) -> Floats:
    pictures = sums[:, _column(f"{name}_pictures")]
    return np.where(pictures > 0, _ratio(sums[:, _column(name)], pictures), pooled)


def _ratio(part: Floats, whole: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole > 0, part / whole, np.nan)


def _column(name: str) -> int:
    return COLUMNS.index(name)
