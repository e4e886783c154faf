"""A map read back from its closed file and compared with what it should be."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.windows import Window

from geop2p.ahead import ahead
from geop2p.checksum import PixelChecksum
from geop2p.errors import VerificationError
from geop2p.raster.georeference import Georeference
from geop2p.raster.mapformat import LOSSY_TOLERANCE, PICTURE_DRIVERS, MapFormat, MapSpec
from geop2p.raster.overviews import check_overviews, overview_checksums

Pixels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Rows = Callable[[], Iterator[tuple[Pixels, Mask]]]
"""Starts afresh at each call: (K, h, W) pixels and (h, W) valid, from the first row to the last."""


class DamagedMapError(VerificationError):
    """A map whose blocks are not those that were written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What was handed to the encoder, by which its file is judged.

    Parameters
    ----------
    rows : list of (int, str)
        For the rows as they were handed in: the row after the last, and the `PixelChecksum` of all
        rows before it.
    overviews : list of str or None
        Checksum of each overview, the largest first; None where GDAL makes them while it encodes.
    """

    rows: Sequence[tuple[int, str]]
    overviews: Sequence[str] | None = None


def verify_map(path: Path, spec: MapSpec, rows: Rows, *, made: Made, map_format: MapFormat) -> None:
    """Read a map back and compare header, pixels, mask and overviews with what they should be.

    Every block is decoded once. Behind a lossless codec checksums are compared; behind a lossy one
    ``rows`` are made again.

    Raises
    ------
    DamagedMapError
        At the first block that does not decode, or to something else.
    VerificationError
        When the header is not what it should be, or a lossy codec loses too much.
    """
    with rasterio.open(path) as dataset:
        _compare_header(path, dataset, spec, map_format=map_format)
        if map_format.is_lossy:
            stop = _compare_lossy(path, dataset, rows, map_format=map_format)
        else:
            stop = _compare_checksums(path, dataset, made.rows, count=spec.count)
    if stop != spec.height:
        raise VerificationError(f"{path}: {stop} rows were made for a map of {spec.height}")
    if map_format.driver in PICTURE_DRIVERS:
        return
    if made.overviews is None:
        check_overviews(path, resampling=map_format.overview_resampling)
    elif overview_checksums(path) != made.overviews:
        raise DamagedMapError(f"{path}: its overviews do not read back as written")


def _compare_checksums(
    path: Path, dataset: Any, expected: Sequence[tuple[int, str]], *, count: int
) -> int:
    """Compare rows with checksums; return the row after the last."""
    bands = list(range(1, count + 1))
    stops = [stop for stop, _ in expected]
    starts = [0, *stops[:-1]]

    def decoded() -> Iterator[tuple[Pixels, Mask]]:
        for start, stop in zip(starts, stops, strict=True):
            window = Window(0, start, dataset.width, stop - start)
            yield dataset.read(bands, window=window), dataset.dataset_mask(window=window) != 0

    checksum = PixelChecksum()
    for start, (stop, digest), rows in zip(starts, expected, ahead(decoded()), strict=True):
        checksum.add(*rows)
        if checksum.hexdigest() != digest:
            raise DamagedMapError(f"{path}: rows {start} to {stop - 1} do not read back as written")
    return stops[-1]


def _compare_lossy(path: Path, dataset: Any, rows: Rows, *, map_format: MapFormat) -> int:
    start = 0
    for pixels, valid in rows():
        window = Window(0, start, valid.shape[1], valid.shape[0])
        _compare_rows(path, dataset, (pixels, valid), window=window, map_format=map_format)
        start += valid.shape[0]
    return start


def _compare_header(
    path: Path,
    dataset: Any,
    spec: MapSpec,
    *,
    map_format: MapFormat,
) -> None:
    found = {"height": dataset.height, "width": dataset.width, "dtype": dataset.dtypes[0]}
    expected = {"height": spec.height, "width": spec.width, "dtype": spec.dtype}
    if map_format.driver not in PICTURE_DRIVERS:
        found |= {
            "bands": dataset.count,
            "colours": _colours(dataset, spec),
            "nodata": repr(dataset.nodata),
        }
        expected |= {
            "bands": spec.count,
            "colours": dict(spec.colours),
            "nodata": repr(None if spec.nodata is None else float(spec.nodata)),
        }
    for key, value in expected.items():
        if found[key] != value:
            raise VerificationError(
                f"{path}: reads back with {key} {found[key]} instead of {value} "
                "(another --format may keep it)"
            )
    if map_format.driver in PICTURE_DRIVERS:
        return
    change = Georeference.of(spec).difference(Georeference.of(dataset))
    if change is not None:
        raise VerificationError(
            f"{path}: reads back with {change} (a GeoTIFF cannot keep it: warp the scene first)"
        )


def _colours(dataset: Any, spec: MapSpec) -> dict[int, tuple[int, ...]]:
    """Return the entries of the colour table that were meant, without their opacity."""
    if not spec.colours:
        return {}
    table = dataset.colormap(1)
    return {value: table[value][:3] for value in spec.colours}


def _compare_rows(
    path: Path,
    dataset: Any,
    rows: tuple[Pixels, Mask],
    *,
    window: Window,
    map_format: MapFormat,
) -> None:
    pixels, valid = rows
    bands = list(range(1, pixels.shape[0] + 1))
    where = f"{path}: rows {window.row_off} to {window.row_off + window.height - 1}"
    found = dataset.read(bands, window=window)
    found_valid = dataset.dataset_mask(window=window) != 0
    if map_format.driver != "JPEG" and not np.array_equal(found_valid, valid):
        raise DamagedMapError(f"{where} read back with another mask")
    difference = np.where(valid, found.astype(np.float64) - pixels, 0)
    if float(np.sqrt(np.mean(difference**2))) > _lossy_tolerance(pixels.dtype):
        raise VerificationError(
            f"{where} changed more than {LOSSY_TOLERANCE} grey levels (lossy codec)"
        )


def _lossy_tolerance(dtype: np.dtype[Any]) -> float:
    limit = np.iinfo(dtype).max if dtype.kind in "iu" else 255
    return LOSSY_TOLERANCE / 255 * float(limit)
