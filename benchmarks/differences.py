"""How far two pictures of the same ground are apart, in grey levels of 0 to 255."""

import numpy as np
from scenes import Pixels
from torch import Tensor


def of_maps(found: Pixels, expected: Pixels) -> dict[str, float]:
    """Compare two maps, (K, H, W) uint8."""
    apart = np.abs(found.astype(np.int16) - expected)
    return _figures(apart, squares=np.square(apart, dtype=np.float32))


def of_units(found: Tensor, expected: Tensor) -> dict[str, float]:
    """Compare pictures in [-1, 1]; grey levels as maps would have them, PSNR before rounding."""
    one, other = (
        np.rint((picture.float().cpu().numpy() + 1) * 127.5).clip(0, 255)
        for picture in (found, expected)
    )
    exact = (found.float().cpu() - expected.float().cpu()).numpy() * 127.5
    return _figures(np.abs(one - other), squares=np.square(exact))


def _figures(apart: np.ndarray, *, squares: np.ndarray) -> dict[str, float]:
    return {
        "mean_grey_levels": float(apart.mean()),
        "largest_grey_levels": int(apart.max()),
        "share_of_values": float(np.mean(apart > 0)),
        "share_above_one": float(np.mean(apart > 1)),
        "psnr_db": float(10 * np.log10(255**2 / max(float(squares.mean()), 1e-9))),
    }
