"""Which bands of a scene feed the generator, and how their values are scaled on the way."""

import logging
import math

import numpy as np
import numpy.typing as npt

from geop2p.card import ModelCard
from geop2p.errors import OptionError, SceneError
from geop2p.pipelines.request import Request
from geop2p.radiometry import (
    AUTO_PERCENTILES,
    MapValues,
    Percentiles,
    Stretch,
    parse_stretch,
    per_band,
    value_of_dtype,
)
from geop2p.raster.scene import Scene, SceneSource, SceneSpec

logger = logging.getLogger(__name__)

SAMPLE_GRID = 8
"""Blocks in each direction that percentiles are taken of."""
SAMPLE_BLOCK = 256
"""Pixels; side of each of them."""
SAMPLE_BANDS = 8
"""With more bands the blocks are smaller, so that samples stay within 34 million values."""


def choose_source(request: Request, spec: SceneSpec, card: ModelCard | None) -> SceneSource:
    """Return how the scene is read: its bands, from 1, in the order of the generator's channels.

    ``spec`` is the header as the request alone has it read. Where no bands are asked for and there
    are more than the model takes, those are chosen that the file calls as the card does, e.g. red,
    green and blue; a palette feeds a model of one band with its indexes; and one band feeds a model
    of three with three equal channels.

    Raises
    ------
    OptionError
        When the number of bands that were asked for is not the model's.
    SceneError
        When none were asked for, and the scene's do not fit.
    """
    _warn_of_nodata(request, spec)
    _warn_of_geolocation(spec)
    if card is None or spec.count == card.generator.in_bands:
        return request.source(spec.bands, is_expanded=spec.is_expanded)
    wanted = card.generator.in_bands
    if spec.is_expanded and len(spec.bands) == wanted:
        return request.source(spec.bands)
    is_open = request.bidx is None and not spec.is_expanded
    if is_open and set(card.scene_bands) <= set(spec.colours):
        return request.source(
            tuple(spec.bands[spec.colours.index(name)] for name in card.scene_bands)
        )
    if is_open and (spec.count, wanted) == (1, 3):
        logger.info(
            "%s: 1 band for a model of 3: all three channels show it (choose with --bidx)",
            spec.path,
        )
        return request.source(spec.bands * 3)
    raise _misfit(request, spec, card)


def _misfit(request: Request, spec: SceneSpec, card: ModelCard) -> SceneError | OptionError:
    """Return what is said of a number of bands that the model cannot take."""
    wanted = card.generator.in_bands
    found = f"{spec.count} band{'s' * (spec.count != 1)}"
    found = found if request.bidx is None else f"--bidx names {found}"
    example = ",".join(str(min(i + 1, spec.count)) for i in range(wanted))
    error = SceneError if request.bidx is None else OptionError
    return error(
        f"{spec.path}: {found}, the model {card.name} takes {wanted} "
        f"({', '.join(card.scene_bands)}) (choose with --bidx, e.g. --bidx {example})"
    )


def _warn_of_nodata(request: Request, spec: SceneSpec) -> None:
    """Say so when no pixel can have the nodata value that was given."""
    value = request.src_nodata
    if isinstance(value, str) or value is None:
        return
    if value_of_dtype(float(value), spec.file_dtype) is None:
        logger.warning(
            "%s: no pixel of type %s can be %g, so --src-nodata masks nothing",
            spec.path,
            spec.file_dtype,
            value,
        )


def _warn_of_geolocation(spec: SceneSpec) -> None:
    """Say so when the scene is located by arrays of coordinates, which no GeoTIFF keeps."""
    if spec.has_geolocation and not spec.is_georeferenced:
        logger.warning(
            "%s: located only by arrays of coordinates, which the map does not keep "
            "(warp the scene first, e.g. with gdalwarp -geoloc)",
            spec.path,
        )


def choose_stretch(request: Request, scene: Scene, card: ModelCard | None) -> Stretch:
    """Return the one stretch of the scene; sampled from it where that was asked for.

    Raises
    ------
    OptionError
        When the option is no stretch, or fits no band count.
    """
    texts = [request.stretch] if isinstance(request.stretch, str) else list(request.stretch or ())
    bands = scene.spec.count
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
    if card is None:
        return _own_stretch(scene)
    is_whole = _is_whole_range(card)
    if spec.bits is not None and is_whole and not is_asked:
        stretch = Stretch.of_bits(spec.bits, spec.count)
        logger.info("%s: values of %d bits: stretch %s", spec.path, spec.bits, stretch)
        return stretch
    if is_asked or spec.dtype == card.scene.dtype:
        return Stretch((card.scene.low,) * spec.count, (card.scene.high,) * spec.count)
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


def _own_stretch(scene: Scene) -> Stretch:
    """Return the whole range of up to 16 bits; of wider types, the range of what is sampled."""
    spec = scene.spec
    if spec.bits is not None and spec.bits <= 16:
        return Stretch.of_bits(spec.bits, spec.count)
    if np.dtype(spec.dtype).kind in "iu" and np.dtype(spec.dtype).itemsize <= 2:
        return Stretch.of_dtype(spec.dtype, spec.count)
    return _sampled(scene, Percentiles(0.0, 100.0))


def _is_whole_range(card: ModelCard) -> bool:
    """Return whether the model takes every value of its type."""
    if np.dtype(card.scene.dtype).kind != "u":
        return False
    limits = np.iinfo(card.scene.dtype)
    return (card.scene.low, card.scene.high) == (limits.min, limits.max)


def _sampled(scene: Scene, percentiles: Percentiles) -> Stretch:
    """Return the percentiles of a fixed grid of full-resolution blocks.

    Whole rows are read, once and from the top, where the file is decoded by rows anyway.
    """
    spec = scene.spec
    is_by_rows = spec.is_sequential or spec.block[1] >= spec.width
    side = int(SAMPLE_BLOCK * min(1.0, math.sqrt(SAMPLE_BANDS / spec.count)))
    samples = []
    for rows in _sample_spans(spec.height, side):
        line = scene.read(rows=rows) if is_by_rows else None
        for cols in _sample_spans(spec.width, side):
            if line is None:
                pixels, valid = scene.read(rows=rows, cols=cols)
            else:
                pixels, valid = line[0][:, :, slice(*cols)], line[1][:, slice(*cols)]
            samples.append(pixels[:, valid])
    return percentiles.of(np.concatenate(samples, axis=1))


def _sample_spans(length: int, side: int) -> list[tuple[int, int]]:
    """Return up to `SAMPLE_GRID` spans, evenly spread from edge to edge."""
    if length <= SAMPLE_GRID * side:
        return [(lo, min(lo + side, length)) for lo in range(0, length, side)]
    starts: npt.NDArray[np.int64] = np.linspace(0, length - side, SAMPLE_GRID).astype(int)
    return [(int(lo), int(lo) + side) for lo in starts]


def choose_values(
    request: Request, spec: SceneSpec, *, stretch: Stretch, card: ModelCard | None
) -> MapValues:
    """Return how the map's values come about: the card's way, or the scene's way back."""
    if card is None:
        return MapValues(dtype=spec.dtype, stretch=stretch, nodata=request.dst_nodata)
    bands = card.generator.out_bands
    back = Stretch((card.map.low,) * bands, (card.map.high,) * bands)
    return MapValues(dtype=card.map.dtype, stretch=back, nodata=request.dst_nodata)
