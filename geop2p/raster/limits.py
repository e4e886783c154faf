"""What the header of a raster may ask for before anything of it is read."""

import math
from typing import Any

from geop2p.errors import SceneError

MAX_PIXELS = 2**35
"""Largest scene, height x width, that is opened unless told otherwise: 34 gigapixels."""
MOST_BANDS = 65_535
"""As many as TIFF can say."""
MOST_BLOCK_BYTES = 256 * 2**20
"""Of one block, decoded, with all bands that are stored in it; GDAL holds it twice."""
SMALL_BYTES = 64 * 2**20
"""Decoded sizes up to this are never doubted."""
MOST_EXPANSION = 2000
"""Decoded bytes for a byte of the file; deflate has 1032 at most, only constants take less."""


def check_header(dataset: Any, *, shown: str, max_pixels: int, size: int | None) -> None:
    """Refuse a raster that is larger than what can be meant, or read in bounded memory.

    Parameters
    ----------
    dataset : rasterio.io.DatasetReader
        Open; nothing of its pixels was read yet.
    shown : str
        What messages call it.
    max_pixels : int, pixels
        Largest height x width. Another value than `MAX_PIXELS` says that the size is meant, however
        small the file is.
    size : int or None, bytes
        Of all files that it is made of; None where nobody knows.

    Raises
    ------
    SceneError
        With the numbers, and the option that lifts the limit.
    """
    pixels = dataset.height * dataset.width
    what = f"{dataset.width} x {dataset.height} pixels"
    if pixels > max_pixels:
        raise SceneError(
            f"{shown}: {what}, {pixels} in all, more than {max_pixels} "
            f"(--max-pixels {pixels} opens it)"
        )
    if not dataset.count:
        raise SceneError(f"{shown}: a raster without bands (give one with values{_parts(dataset)})")
    if dataset.count > MOST_BANDS:
        raise SceneError(f"{shown}: {dataset.count} bands (at most {MOST_BANDS})")
    declared = pixels * sum(map(_item_bytes, dataset.dtypes))
    is_doubted = size is not None and max_pixels == MAX_PIXELS and declared > SMALL_BYTES
    if is_doubted and declared > MOST_EXPANSION * (size or 0):
        raise SceneError(
            f"{shown}: {what} of {dataset.count} bands are {declared} bytes, in a file of {size}: "
            f"damaged, or almost nothing but one value (--max-pixels {pixels} opens it)"
        )
    _check_blocks(dataset, shown=shown)


def _check_blocks(dataset: Any, *, shown: str) -> None:
    height, width = max(dataset.block_shapes, key=math.prod)
    interleaving = getattr(dataset.interleaving, "name", None)
    bands = dataset.count if interleaving == "pixel" else 1
    stored = height * width * bands * max(map(_item_bytes, dataset.dtypes))
    if stored > MOST_BLOCK_BYTES:
        raise SceneError(
            f"{shown}: blocks of {width} x {height} pixels take {stored} bytes each, more than "
            f"{MOST_BLOCK_BYTES} (store it in smaller blocks, e.g. gdal_translate -co TILED=YES)"
        )


def _parts(dataset: Any) -> str:
    names = list(dataset.subdatasets)
    return f"; its parts are {', '.join(names[:3])}" if names else ""


def _item_bytes(dtype: str) -> int:
    sizes = {"int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "complex64": 8, "complex128": 16}
    sizes |= {"complex_int16": 4, "complex_int32": 8, "int64": 8, "uint64": 8, "float64": 8}
    return sizes.get(str(dtype), 4)
