"""Patches as files: pictures for people and trainers, GeoTIFF for everything that is no picture."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from PIL import Image
from rasterio.io import MemoryFile

from geop2p.raster.scene import SceneSpec


def is_picture(dtype: str, bands: int) -> bool:
    """Whether PNG or JPEG can hold such pixels: 8 bits, grey or red, green, blue."""
    return dtype == "uint8" and bands in (1, 3)


def write_picture(path: Path, pixels: npt.NDArray[np.uint8], *, quality: int | None = None) -> None:
    """Write (1, H, W) or (3, H, W) as PNG, or as JPEG of ``quality`` 1 to 100."""
    bands_last = pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1)
    picture = Image.fromarray(np.ascontiguousarray(bands_last))
    content = io.BytesIO()  # Pillow tells a full disk without saying that it is one
    if quality is None:
        picture.save(content, format="PNG", compress_level=4)
    else:
        picture.save(content, format="JPEG", quality=quality, subsampling=0)
    path.write_bytes(content.getvalue())


def write_tiff(
    path: Path, pixels: npt.NDArray[Any], *, scene: SceneSpec, corner: tuple[int, int]
) -> None:
    """Write (C, H, W) as GeoTIFF at ``corner`` (row, col) of the scene's grid."""
    bands, height, width = pixels.shape
    row, col = corner
    georeference: dict[str, Any] = {}
    if scene.crs:
        georeference = {
            "crs": scene.crs,
            "transform": scene.transform @ Affine.translation(col, row),
        }
    profile = {"driver": "GTiff", "dtype": pixels.dtype, "compress": "deflate"}
    with MemoryFile() as memory:  # on a full disk GDAL would lose pixels without a word
        with memory.open(
            count=bands, height=height, width=width, **profile, **georeference
        ) as dataset:
            dataset.write(pixels)
        path.write_bytes(memory.getbuffer())
