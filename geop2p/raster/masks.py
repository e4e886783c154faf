"""Where a scene is valid: by its own mask in any form, a nodata value, a rule for several bands."""

from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.enums import ColorInterp, MaskFlags, Resampling

from geop2p.radiometry import value_of_dtype
from geop2p.raster.opening import SceneSource

Pixels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


class SceneMask:
    """Reads where a dataset is valid.

    The file's own mask is what rasterio's ``dataset_mask()`` says: a mask band or file first, then
    alpha, then nodata, where a pixel is valid when any band is. With the rule ``all`` every band
    that is read must be valid besides. A nodata value of the user's takes the place of the file's
    nodata values, never of its alpha or mask. Floats that are not finite are never valid.
    """

    def __init__(self, dataset: Any, source: SceneSource, bands: tuple[int, ...]) -> None:
        self._dataset = dataset
        self._source = source
        self._bands = list(bands)
        flags = dataset.mask_flag_enums
        is_nodata = any(MaskFlags.nodata in band for band in flags)
        self._is_replaced = is_nodata and source.src_nodata is not None
        self._alpha = _alpha_band(dataset)
        self.is_masked = any(MaskFlags.all_valid not in band for band in flags)

    def read(self, pixels: Pixels, **where: Any) -> Mask:
        """Return (h, w) valid of the (C, h, w) that were read; ``where`` is rasterio's window."""
        valid = self._by_file(pixels, **where)
        if isinstance(self._source.src_nodata, float):
            valid &= self._by_value(pixels, self._source.src_nodata)
        if pixels.dtype.kind == "f":
            valid &= np.isfinite(pixels).all(axis=0)
        return valid

    def _by_file(self, pixels: Pixels, **where: Any) -> Mask:
        if not self.is_masked:
            return np.ones(pixels.shape[1:], bool)
        if self._is_replaced:
            if self._alpha is None:
                return np.ones(pixels.shape[1:], bool)
            return np.asarray(self._dataset.read(self._alpha, **where) != 0)
        valid = self._own_mask(**where)
        if self._source.mask_rule == "all":
            valid &= self._dataset.read_masks(self._bands, **where).all(axis=0)
        return valid

    def _own_mask(self, **where: Any) -> Mask:
        """Return the file's own mask; of a smaller one most of what each pixel shows is valid."""
        if "out_shape" not in where:
            return np.asarray(self._dataset.dataset_mask(**where) != 0)
        shrunk = self._dataset.dataset_mask(**where, resampling=Resampling.average)
        return np.asarray(shrunk > 127)

    def _by_value(self, pixels: Pixels, value: float) -> Mask:
        nodata = value_of_dtype(value, pixels.dtype.name)
        if nodata is None:
            return np.ones(pixels.shape[1:], bool)
        is_value = pixels != nodata
        is_all = self._source.mask_rule == "all"
        return np.asarray(is_value.all(axis=0) if is_all else is_value.any(axis=0))


def _alpha_band(dataset: Any) -> int | None:
    colours = list(dataset.colorinterp)
    return colours.index(ColorInterp.alpha) + 1 if ColorInterp.alpha in colours else None
