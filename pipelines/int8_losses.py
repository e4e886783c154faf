"""What int8 loses on whole scenes: maps in float32 and in int8, compared with the truth."""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geop2p.card import ModelCard
from geop2p.errors import SceneError
from geop2p.metrics import MOST_PSNR_DB
from geop2p.palette import Palette
from geop2p.pipelines.translate import translate
from geop2p.quantisation import Int8Losses, SourceScene
from geop2p.raster.scene import open_scene
from geop2p.truth import TruthRows, open_truth

Pixels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

ROWS = 512
"""Rows that are compared at a time."""
PRECISIONS = ("fp32", "int8")


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredScene:
    """A scene to measure on, who it is, and its truth, if there is one."""

    scene: str
    identity: SourceScene
    truth: str | os.PathLike[str] | None = None


def check_truths(
    scenes: Sequence[str | os.PathLike[str]],
    truths: Sequence[str | os.PathLike[str]],
    *,
    card: ModelCard,
) -> None:
    """Refuse truths that their scenes cannot be compared with, before any work is done.

    Raises
    ------
    SceneError, OptionError
        What `geop2p.raster.scene.open_scene` and `geop2p.truth.open_truth` raise.
    """
    for scene, truth in zip(scenes, truths, strict=False):  # none where nothing is compared
        with open_scene(scene) as opened:
            spec = opened.spec
        with open_truth(truth, onto=spec, bands=card.generator.out_bands, palette=card.palette):
            pass


def measure_losses(
    scenes: Sequence[MeasuredScene],
    *,
    model: Path,
    card: ModelCard,
    folder: Path,
    options: Mapping[str, Any],
) -> Int8Losses:
    """Translate scenes twice with a model file that can run in int8, and compare.

    Parameters
    ----------
    scenes : sequence of MeasuredScene
        At least one; all with a truth, or none.
    model : Path
        The model file with its ranges.
    card : ModelCard
        Its card.
    folder : Path
        Takes the maps.
    options : mapping
        For `translate`.

    Raises
    ------
    SceneError, OptionError, OutputError
        What `translate` and `geop2p.truth.open_truth` raise; also when nothing can be compared.
    """
    sums = _Sums(card)
    for i, scene in enumerate(scenes):
        maps = [folder / f"{i}-{precision}.tif" for precision in PRECISIONS]
        for map_path, precision in zip(maps, PRECISIONS, strict=True):
            translate(
                scene.scene,
                map_path,
                model=model,
                precision=precision,
                device="cpu",
                **options,
            )
        _compare(sums, maps, truth=scene.truth, card=card)
        for map_path in maps:
            map_path.unlink()
    return sums.losses(tuple(scene.identity for scene in scenes))


class _Sums:
    """Squared differences and right classes, in float32 and in int8."""

    def __init__(self, card: ModelCard) -> None:
        self._span = card.map.high - card.map.low
        self._palette = card.palette
        self._between = _SquareSum()
        self._to_truth = [_SquareSum() for _ in PRECISIONS]
        self._right, self._labelled = [0, 0], 0

    def add(self, maps: Sequence[Pixels], valid: Mask) -> None:
        """Count rows of both maps, (K, h, W) each."""
        one, other = maps
        self._between.add(one, other, valid)

    def add_truth(self, maps: Sequence[Pixels], valid: Mask, truth: TruthRows) -> None:
        """Count rows of both maps against the truth."""
        valid = valid & truth.valid
        for sums, pixels in zip(self._to_truth, maps, strict=True):
            sums.add(pixels, truth.pixels, valid)
        if self._palette is None or len(truth.pixels) != 3:
            return
        true, is_counted = _classes(self._palette, truth)
        is_counted &= valid
        self._labelled += int(is_counted.sum())
        for i, pixels in enumerate(maps):
            made = self._palette.nearest(pixels.astype(np.uint8))
            self._right[i] += int((made == true)[is_counted].sum())

    def losses(self, scenes: tuple[SourceScene, ...]) -> Int8Losses:
        """Return the figures of everything that was counted."""
        if not self._between.count:
            raise SceneError(f"{scenes[0].name}: has no valid pixel to measure int8 on")
        float_db, int8_db = (sums.psnr_db(self._span) for sums in self._to_truth)
        accuracy = None
        if self._labelled:
            accuracy = (
                round(self._right[0] / self._labelled, 6),
                round(self._right[1] / self._labelled, 6),
            )
        return Int8Losses(
            scenes=scenes,
            psnr_db=self._between.psnr_db(self._span),
            truth_psnr_db=(float_db, int8_db) if self._to_truth[0].count else None,
            accuracy=accuracy,
        )


class _SquareSum:
    """A sum of squared differences, and of how many values."""

    def __init__(self) -> None:
        self._total, self.count = 0.0, 0

    def add(self, one: Pixels, other: Pixels, valid: Mask) -> None:
        difference = one[:, valid].astype(np.float64) - other[:, valid]
        self._total += float((difference**2).sum())
        self.count += difference.size

    def psnr_db(self, span: float) -> float:
        """Return the PSNR in dB, rounded to 4 places; `MOST_PSNR_DB` for equal pictures."""
        if not self._total:
            return MOST_PSNR_DB
        ratio = span**2 * self.count / self._total
        return round(min(10 * float(np.log10(ratio)), MOST_PSNR_DB), 4)


def _compare(
    sums: _Sums,
    maps: Sequence[Path],
    *,
    truth: str | os.PathLike[str] | None,
    card: ModelCard,
) -> None:
    """Read both maps of a scene, and its truth, by rows."""
    with ExitStack() as stack:
        made = [stack.enter_context(open_scene(path)) for path in maps]
        spec = made[0].spec
        real = None
        if truth is not None:
            bands = card.generator.out_bands
            real = stack.enter_context(
                open_truth(truth, onto=spec, bands=bands, palette=card.palette)
            )
        for first in range(0, spec.height, ROWS):
            rows = first, min(first + ROWS, spec.height)
            (one, valid), (other, _) = (scene.read(rows=rows) for scene in made)
            sums.add((one, other), valid)
            if real is not None:
                sums.add_truth((one, other), valid, real.read(rows=rows))


def _classes(palette: Palette, truth: TruthRows) -> tuple[npt.NDArray[np.uint8], Mask]:
    """Return the true classes, and where they count."""
    if truth.classes is None:
        picture = truth.pixels.astype(np.uint8)
        return palette.nearest(picture), palette.is_scored_colour(picture)
    scored = [entry.index for entry in palette.classes if entry.is_scored]
    return truth.classes, np.isin(truth.classes, scored)
