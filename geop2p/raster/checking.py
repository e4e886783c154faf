"""A finished map, read whole: for `geop2p check`, long after it was written."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.io import DatasetReader
from rasterio.windows import Window

from geop2p.checksum import PixelChecksum
from geop2p.errors import VerificationError
from geop2p.raster.georeference import Georeference
from geop2p.raster.mapformat import BLOCK, PICTURE_DRIVERS
from geop2p.raster.opening import READ_FAILURES, SceneSource, gdal_settings
from geop2p.raster.overviews import overview_checksums
from geop2p.raster.scene import SceneSpec, open_source
from geop2p.raster.silence import georeference_not_missed

MAP_DRIVERS = ("GTiff", "PNG", "JPEG")


@dataclass(frozen=True, slots=True, kw_only=True)
class MapFacts:
    """What a map turned out to be.

    Parameters
    ----------
    driver : str
        GDAL's name of the format.
    height, width, bands : int
        Size.
    tags : dict
        As text.
    checksum : str
        See `geop2p.checksum`; of what was decoded just now.
    cog_errors : tuple of str
        What is wrong with the layout of a Cloud-Optimised GeoTIFF.
    """

    driver: str
    height: int
    width: int
    bands: int
    tags: Mapping[str, str]
    checksum: str
    cog_errors: tuple[str, ...]


def read_whole(path: Path) -> MapFacts:
    """Decode every block of a map, of its mask and of its overviews.

    Raises
    ------
    VerificationError
        When the file is no raster, or a block does not decode.
    """
    with _told(path), _opened(path) as dataset:
        facts = MapFacts(
            driver=dataset.driver,
            height=dataset.height,
            width=dataset.width,
            bands=dataset.count,
            tags=dict(dataset.tags()),
            checksum=_checksum(dataset),
            cog_errors=_cog_errors(path) if dataset.driver == "GTiff" else (),
        )
        if dataset.driver not in PICTURE_DRIVERS:
            overview_checksums(path)
    return facts


def compare_with_scene(path: Path, source: SceneSource, *, is_whole: bool = True) -> None:
    """Compare size, georeference and mask of a map with those of its scene.

    Where it is not ``is_whole``, it may also be masked where the scene is not.

    Raises
    ------
    VerificationError
        At the first difference.
    SceneError
        When the scene cannot be read.
    """
    with open_source(source) as scene, _told(path), _opened(path) as dataset:
        is_picture = dataset.driver in PICTURE_DRIVERS
        _compare_headers(path, dataset, scene.spec, is_picture=is_picture)
        if dataset.driver == "JPEG":  # it keeps no mask
            return
        for window in _stripes(dataset):
            rows = (window.row_off, window.row_off + window.height)
            _pixels, valid = scene.read(rows=rows)
            found = dataset.dataset_mask(window=window) != 0
            if not np.array_equal(found if is_whole else found | valid, valid):
                raise VerificationError(
                    f"{path}: rows {rows[0]} to {rows[1] - 1} are masked otherwise than in "
                    f"{source.path}"
                )


def _compare_headers(path: Path, dataset: Any, spec: SceneSpec, *, is_picture: bool) -> None:
    found: dict[str, Any] = {"height": dataset.height, "width": dataset.width}
    expected: dict[str, Any] = {"height": spec.height, "width": spec.width}
    for key, value in expected.items():
        if found[key] != value:
            raise VerificationError(
                f"{path}: has {key} {found[key]}, its scene {spec.path} has {value}"
            )
    change = Georeference.of(spec).difference(Georeference.of(dataset))
    if not is_picture and change is not None:
        raise VerificationError(f"{path}: has {change}, which its scene {spec.path} has")


def _checksum(dataset: Any) -> str:
    checksum = PixelChecksum()
    has_alpha = dataset.colorinterp[-1].name == "alpha"
    bands = list(range(1, dataset.count + 1 - has_alpha))
    for window in _stripes(dataset):
        pixels = dataset.read(bands, window=window)
        checksum.add(pixels, dataset.dataset_mask(window=window) != 0)
    return checksum.hexdigest()


def _stripes(dataset: Any) -> Iterator[Window]:
    for row in range(0, dataset.height, BLOCK):
        yield Window(0, row, dataset.width, min(BLOCK, dataset.height - row))


def _cog_errors(path: Path) -> tuple[str, ...]:
    from rio_cogeo import cog_validate  # noqa: PLC0415  half a second to import, for this alone

    is_valid, errors, _warnings = cog_validate(path, quiet=True)
    return () if is_valid else (*errors, "rio-cogeo gives no reason")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with (
        gdal_settings(),
        georeference_not_missed(),
        DatasetReader(str(path), driver=list(MAP_DRIVERS)) as dataset,
    ):
        yield dataset


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except READ_FAILURES as exc:
        cause = exc.__cause__ or exc
        raise VerificationError(f"{path}: does not decode: {cause} (make the map again)") from exc
