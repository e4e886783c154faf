"""The raster that says how sure a map is, written from finished strips.

Its bands, float32 in the map's values: ``disagreement``, the standard deviation of the tiles that
hold a pixel, and ``spread``, that of the passes with dropout on; each the root mean square over the
map's bands. 0 is full agreement. NaN, the nodata value, is where the map is masked, and in
``disagreement`` also where a single tile holds the pixel, since there is nothing to compare.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from geop2p.disagreement import is_compared, joined
from geop2p.errors import OutputError
from geop2p.parts import Parts, Shares, StripResult
from geop2p.pipelines.assembly import loaded, regrouped
from geop2p.pipelines.confidence import ConfidenceSpec, band_weights
from geop2p.pipelines.planning import Plan, map_spec
from geop2p.pipelines.tally import Tally
from geop2p.raster.mapfile import write_map
from geop2p.raster.mapformat import BLOCK, PICTURE_DRIVERS, MapFormat, MapSpec, choose_format

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

STEPS = 2048
"""Of half the map's range, to which values are rounded, so that the file is small: a sixteenth of a
grey level of 8 bits."""


def confidence_spec(plan: Plan, *, bands: int) -> MapSpec:
    """Return everything about the raster but its pixels; ``bands`` are the map's.

    Raises
    ------
    ValueError
        When none is asked for.
    """
    spec = _asked(plan)
    tags = {
        **plan.tags,
        "GEOP2P_PRODUCT": "confidence",
        "GEOP2P_CONFIDENCE": ",".join(spec.names),
    }
    if spec.sampling is not None:
        tags["GEOP2P_SAMPLES"] = str(spec.sampling.count)
        tags["GEOP2P_SAMPLE_SEED"] = str(spec.sampling.seed)
    return replace(
        map_spec(plan, bands=bands, is_masked=True),
        count=len(spec.names),
        dtype="float32",
        nodata=float("nan"),
        tags=tags,
        band_names=spec.names,
    )


def confidence_format(plan: Plan) -> MapFormat:
    """Return the driver of the raster: the map's, where that is no picture, and its defaults."""
    driver = plan.request.format
    return choose_format(
        confidence_path(plan),
        driver=None if driver in PICTURE_DRIVERS else driver,
        options={},
    )


def confidence_path(plan: Plan) -> Path:
    """Return where it goes."""
    return Path(plan.request.confidence or "")


def write_confidence(plan: Plan, store: Parts, tally: Tally) -> None:
    """Write the raster, and put the sums of its squares into the tally.

    Raises
    ------
    OutputError
        When it cannot be written, or a part is gone or damaged.
    """

    def rows() -> Iterator[tuple[Floats, Mask]]:
        return regrouped(_finished(plan, store, bands=tally.bands), BLOCK)

    def measured() -> Iterator[tuple[Floats, Mask]]:
        for name in _asked(plan).names:
            tally.sums[f"squares_{name}"] = tally.sums[f"pixels_{name}"] = 0.0
        for pixels, valid in rows():
            for name, band in zip(_asked(plan).names, pixels, strict=True):
                known = band[~np.isnan(band)].astype(np.float64)
                tally.sums[f"squares_{name}"] += float((known**2).sum())
                tally.sums[f"pixels_{name}"] += known.size
            yield pixels, valid

    write_map(
        confidence_path(plan),
        confidence_spec(plan, bands=tally.bands),
        measured,
        map_format=confidence_format(plan),
    )


def root_mean_square(tally: Tally, name: str) -> float | None:
    """Return that of a band over the pixels that have a value; None where none has."""
    pixels = tally.sums[f"pixels_{name}"]
    return float(np.sqrt(tally.sums[f"squares_{name}"] / pixels)) if pixels else None


def _asked(plan: Plan) -> ConfidenceSpec:
    if plan.job.confidence is None:
        raise ValueError("no confidence raster is asked for")
    return plan.job.confidence


def _finished(plan: Plan, store: Parts, *, bands: int) -> Iterator[tuple[Floats, Mask]]:
    """Yield (B, h, W) finished values, and (h, W) where any of them is one, from the first row."""
    spec, grid = _asked(plan), plan.job.grid
    weights, unit = band_weights(plan.job.values, bands)
    row = 0
    for variances, valid in _variances(plan, store, weights):
        steps = np.rint(np.sqrt(variances) * np.float32(STEPS)).astype(np.float64)
        values = (steps * (unit / STEPS)).astype(np.float32)
        values[:, ~valid] = np.nan
        if spec.has_disagreement:
            values[0, ~is_compared(grid, (row, row + len(valid)))] = np.nan
        row += len(valid)
        yield values, np.asarray(~np.isnan(values).all(axis=0))


def _variances(
    plan: Plan, store: Parts, weights: tuple[float, ...]
) -> Iterator[tuple[Floats, Mask]]:
    """Yield variances as they come: a seam, a strip's inner rows, a seam ..."""
    spec = _asked(plan)
    above: Shares | None = None
    for strip in plan.strips:
        part = loaded(store, strip)
        shares = _shares(store, part)
        head, foot = shares.head.shape[1], len(part.valid) - shares.foot.shape[1]
        if above is not None and head:
            yield _seam((above.foot, shares.head), spec, weights), part.valid[:head]
        yield shares.inner, part.valid[head:foot]
        above = shares


def _shares(store: Parts, part: StripResult) -> Shares:
    if part.confidence is None:
        raise OutputError(
            f"{store.folder}: a part without what the confidence raster is made of "
            "(run the same command again with --fresh)"
        )
    return part.confidence


def _seam(both: tuple[Floats, Floats], spec: ConfidenceSpec, weights: tuple[float, ...]) -> Floats:
    """Return the variances of rows that two strips hold, from the shares of both."""
    upper, lower = both
    if len(upper) != len(lower):  # one strip has no tile at all: no pixel is valid here
        return np.zeros((len(spec.names), *upper.shape[1:]), np.float32)
    bands = []
    if spec.has_disagreement:
        means = len(upper) - (spec.sampling is not None)
        bands.append(joined(upper[:means], lower[:means], weights[: means - 1]))
    if spec.sampling is not None:
        bands.append(upper[-1] + lower[-1])
    return np.stack(bands)
