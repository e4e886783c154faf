"""How far a tile's picture depends on the size of the batch that it is computed in, on a CPU.

    python benchmarks/batch_bits.py THREADS NGF

A randomly initialised U-Net draws the same 24 tiles in batches of 1 to 8. For each batch size: the
share of values whose bits differ from those of batch 4, the share that rounds to another grey
level, and the largest difference in grey levels.
"""

import sys

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from geop2p.networks import GeneratorConfig, build_generator, initialise
from geop2p.radiometry import Stretch

TILES = 24
BATCHES = (1, 2, 3, 5, 6, 8)
Floats = npt.NDArray[np.float32]


def main(threads: int, ngf: int) -> None:
    """Print one line a batch size."""
    torch.set_num_threads(threads)
    generator = build_generator(GeneratorConfig(ngf=ngf))
    initialise(generator, seed=0, std=0.2)
    generator.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    tiles = torch.rand(TILES, 3, 256, 256, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected = draw(generator, tiles, batch=4)
    print(f"torch {torch.__version__}, {threads} threads, ngf {ngf}, against batches of 4")
    for batch in BATCHES:
        print(f"batch {batch}: {compared(draw(generator, tiles, batch=batch), expected)}")


@torch.inference_mode()
def draw(generator: nn.Module, tiles: torch.Tensor, *, batch: int) -> Floats:
    """Return the pictures of all tiles, drawn ``batch`` at a time."""
    parts = tiles.contiguous(memory_format=torch.channels_last).split(batch)
    return np.concatenate([generator(part).contiguous().numpy() for part in parts])


def compared(found: Floats, expected: Floats) -> str:
    """Say how two sets of pictures differ."""
    grey_levels = Stretch.of_dtype("uint8", 3)
    one, other = (
        grey_levels.from_unit(np.moveaxis(pictures, 1, 0), "uint8").astype(int)
        for pictures in (found, expected)
    )
    bits, levels = np.mean(found != expected), np.mean(one != other)
    return f"bits {bits:.1e}, grey levels {levels:.1e}, largest {np.abs(one - other).max()}"


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
