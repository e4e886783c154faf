"""Which bands of a scene feed the generator, and how their values are scaled on the way."""

import logging

import numpy as np
import numpy.typing as npt

from geop2p.errors import OptionError, SceneError
from geop2p.model import ModelCard
from geop2p.pipelines.request import Request
from geop2p.radiometry import (
    AUTO_PERCENTILES,
    MapValues,
    Percentiles,
    Stretch,
    parse_stretch,
    per_band,
)
from geop2p.raster.scene import Scene, SceneSpec

logger = logging.getLogger(__name__)

SAMPLE_GRID = 8
"""Blocks in each direction that percentiles are taken of."""
SAMPLE_BLOCK = 256


def choose_bands(request: Request, spec: SceneSpec, card: ModelCard | None) -> tuple[int, ...]:
    """Return the bands to read, from 1, in the order of the generator's channels.

    Where none are asked for and there are more than the model takes, those are chosen that the file
    calls as the card does, e.g. red, green and blue.

    Raises
    ------
    OptionError
        When the number of bands that were asked for is not the model's.
    SceneError
        When none were asked for, and the scene's do not fit.
    """
    bands = tuple(request.bidx) if request.bidx else spec.bands
    if card is None or len(bands) == card.generator.in_bands:
        return bands
    wanted = card.generator.in_bands
    if request.bidx is None and set(card.scene_bands) <= set(spec.colours):
        return tuple(spec.bands[spec.colours.index(name)] for name in card.scene_bands)
    found = f"{len(bands)} band{'s' * (len(bands) != 1)}"
    found = found if request.bidx is None else f"--bidx names {found}"
    example = ",".join(str(min(i + 1, len(spec.bands))) for i in range(wanted))
    error = SceneError if request.bidx is None else OptionError
    raise error(
        f"{spec.path}: {found}, the model {card.name} takes {wanted} "
        f"({', '.join(card.scene_bands)}) (choose with --bidx, e.g. --bidx {example})"
    )


def choose_stretch(request: Request, scene: Scene, card: ModelCard | None) -> Stretch:
    """Return the one stretch of the scene; sampled from it where that was asked for.

    Raises
    ------
    OptionError
        When the option is no stretch, or fits no band count.
    """
    texts = [request.stretch] if isinstance(request.stretch, str) else list(request.stretch or ())
    bands = len(scene.spec.bands)
    if texts in ([], ["card"]):
        return _card_stretch(scene, card, is_asked=bool(texts))
    wanted = [parse_stretch(text) for text in texts]
    ranges = [entry for entry in wanted if not isinstance(entry, Percentiles)]
    if len(ranges) == len(wanted):
        return per_band(ranges, bands)
    if len(wanted) > 1:
        raise OptionError("percentiles and auto are for all bands at once (give one --stretch)")
    stretch = _sampled(scene, wanted[0])  # type: ignore[arg-type]  # no range among them
    logger.info("%s: stretch %s (%s)", scene.spec.path, stretch, texts[0])
    return stretch


def _card_stretch(scene: Scene, card: ModelCard | None, *, is_asked: bool) -> Stretch:
    """Return the card's stretch, or what fits when the scene's values are of another type."""
    spec = scene.spec
    bands = len(spec.bands)
    if card is None:
        if np.dtype(spec.dtype).kind in "iu":
            return Stretch.of_dtype(spec.dtype, bands)
        return _sampled(scene, Percentiles(0.0, 100.0))
    if is_asked or spec.dtype == card.scene.dtype:
        return Stretch((card.scene.low,) * bands, (card.scene.high,) * bands)
    stretch = _sampled(scene, Percentiles(*AUTO_PERCENTILES))
    logger.warning(
        "%s: a %s scene for a model trained on %s: stretched %s, its %g-%g%% "
        "(choose with --stretch MIN,MAX)",
        spec.path,
        spec.dtype,
        card.scene.dtype,
        stretch,
        *AUTO_PERCENTILES,
    )
    return stretch


def _sampled(scene: Scene, percentiles: Percentiles) -> Stretch:
    """Return the percentiles of a fixed grid of full-resolution blocks."""
    samples = []
    for rows in _sample_spans(scene.spec.height):
        for cols in _sample_spans(scene.spec.width):
            pixels, valid = scene.read(rows=rows, cols=cols)
            samples.append(pixels[:, valid])
    return percentiles.of(np.concatenate(samples, axis=1))


def _sample_spans(length: int) -> list[tuple[int, int]]:
    """Return up to `SAMPLE_GRID` spans, evenly spread from edge to edge."""
    if length <= SAMPLE_GRID * SAMPLE_BLOCK:
        return [(lo, min(lo + SAMPLE_BLOCK, length)) for lo in range(0, length, SAMPLE_BLOCK)]
    starts: npt.NDArray[np.int64] = np.linspace(0, length - SAMPLE_BLOCK, SAMPLE_GRID).astype(int)
    return [(int(lo), int(lo) + SAMPLE_BLOCK) for lo in starts]


def choose_values(
    request: Request, spec: SceneSpec, *, stretch: Stretch, card: ModelCard | None
) -> MapValues:
    """Return how the map's values come about: the card's way, or the scene's way back."""
    if card is None:
        return MapValues(dtype=spec.dtype, stretch=stretch, nodata=request.dst_nodata)
    bands = card.generator.out_bands
    back = Stretch((card.map.low,) * bands, (card.map.high,) * bands)
    return MapValues(dtype=card.map.dtype, stretch=back, nodata=request.dst_nodata)
