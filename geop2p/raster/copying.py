"""A window of a scene as a raster of its own, for work that is thrown away afterwards."""

from pathlib import Path

import rasterio
from affine import Affine
from rasterio.windows import Window

from geop2p.errors import SceneError
from geop2p.raster.opening import READ_FAILURES, gdal_settings
from geop2p.raster.scene import OrderedRows, SceneSource, Span, open_source

ROWS = 256


def copy_window(source: SceneSource, target: Path, *, rows: Span, cols: Span) -> None:
    """Write a window of a scene as a GeoTIFF: its pixels as they are read, and its mask.

    The georeference is left behind. Bands are what ``source`` says, in that order.

    Raises
    ------
    SceneError
        When the scene cannot be read, or the copy not be written.
    """
    with open_source(source) as scene:
        profile = {
            "driver": "GTiff",
            "count": scene.spec.count,
            "dtype": scene.spec.dtype,
            "height": rows[1] - rows[0],
            "width": cols[1] - cols[0],
            "transform": Affine.scale(1.0, -1.0),
            "tiled": True,
            "bigtiff": "if_safer",
            "photometric": "minisblack",  # no band passes for a mask
            "alpha": "no",
        }
        reader = OrderedRows(scene)
        try:
            with (
                gdal_settings(),
                rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
                rasterio.open(target, "w", **profile) as copy,
            ):
                for first in range(rows[0], rows[1], ROWS):
                    span = (first, min(first + ROWS, rows[1]))
                    pixels, valid = reader.read(rows=span)
                    window = Window(0, first - rows[0], cols[1] - cols[0], span[1] - first)
                    copy.write(pixels[:, :, slice(*cols)], window=window)
                    if scene.spec.has_mask:
                        copy.write_mask(valid[:, slice(*cols)], window=window)
        except READ_FAILURES as exc:
            raise SceneError(
                f"{target}: a part of {source.path} cannot be copied: {exc.__cause__ or exc} "
                "(is the disk of temporary files full? leave seams out)"
            ) from exc
