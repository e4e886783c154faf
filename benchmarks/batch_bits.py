"""How far a tile's picture depends on the size of the batch that it is computed in, on a CPU.

    python benchmarks/batch_bits.py

A narrow, randomly initialised U-Net draws the same 24 tiles in batches of 1 to 8, at 1 and at 2
torch threads. For each batch size, against batches of 4: the share of values whose bits differ,
the share that rounds to another grey level, and the largest difference in grey levels.
"""

import numpy as np
import numpy.typing as npt
import torch
from record import record
from torch import nn

from geop2p.networks import GeneratorConfig, build_generator, initialise
from geop2p.radiometry import Stretch

TILES, NGF, FIXED = 24, 4, 4
BATCHES = (1, 2, 3, 5, 6, 8)
Floats = npt.NDArray[np.float32]


def main() -> None:
    """Measure and record."""
    generator = build_generator(GeneratorConfig(ngf=NGF))
    initialise(generator, seed=0, std=0.2)
    generator.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    tiles = torch.rand(TILES, 3, 256, 256, generator=torch.Generator().manual_seed(0)) * 2 - 1
    figures = {f"threads_{n}": compare(generator, tiles, threads=n) for n in (1, 2)}
    record("batch_bits", figures | {"arch": "unet_256", "ngf": NGF, "torch": torch.__version__})


def compare(
    generator: nn.Module, tiles: torch.Tensor, *, threads: int
) -> dict[str, dict[str, float]]:
    """Return the differences of each batch size from `FIXED`."""
    torch.set_num_threads(threads)
    expected = draw(generator, tiles, batch=FIXED)
    return {
        f"batch_{batch}": differences(draw(generator, tiles, batch=batch), expected)
        for batch in BATCHES
    }


@torch.inference_mode()
def draw(generator: nn.Module, tiles: torch.Tensor, *, batch: int) -> Floats:
    """Return the pictures of all tiles, drawn ``batch`` at a time."""
    parts = tiles.contiguous(memory_format=torch.channels_last).split(batch)
    return np.concatenate([generator(part).contiguous().numpy() for part in parts])


def differences(found: Floats, expected: Floats) -> dict[str, float]:
    """Say how two sets of pictures differ."""
    one, other = (
        Stretch.of_dtype("uint8", 3).from_unit(np.moveaxis(pictures, 1, 0), "uint8").astype(int)
        for pictures in (found, expected)
    )
    return {
        "share_of_bits": float(f"{np.mean(found != expected):.1e}"),
        "share_of_grey_levels": float(f"{np.mean(one != other):.1e}"),
        "largest_grey_levels": int(np.abs(one - other).max()),
    }


if __name__ == "__main__":
    main()
