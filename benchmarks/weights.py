"""Models to measure with: the bundled one, and the paper's width with weights drawn at random.

Speed does not depend on what weights are worth. They are drawn by a fixed seed, and the statistics
of batch norm are measured on real tiles, so that the maps vary as a trained generator's do.
"""

from pathlib import Path

import torch
from scenes import SAMPLE, read_picture
from torch import Tensor, nn

from geop2p.card import ModelCard
from geop2p.model import save_model
from geop2p.networks import GeneratorConfig, build_generator, initialise
from geop2p.statistics import reestimate_statistics

BUNDLED = "streets"
CONFIGS = {
    "unet_256": GeneratorConfig(),
    "unet_256_ngf32": GeneratorConfig(ngf=32),
    "streets": GeneratorConfig(ngf=32, max_channels=160),
}
"""Name to architecture; ``streets`` is that of the bundled model."""


def model_file(name: str, folder: Path) -> str:
    """Return a model's name or file: the bundled one, or one made in ``folder``."""
    if name == BUNDLED:
        return name
    path = folder / f"{name}.safetensors"
    if not path.exists():
        config = CONFIGS[name]
        card = ModelCard(name=name, generator=config, description="Random weights.")
        save_model(path, random_network(config), card)
    return str(path)


def random_network(config: GeneratorConfig) -> nn.Module:
    """Return a generator of fixed random weights, in evaluation mode."""
    network = build_generator(config)
    initialise(network, seed=0)
    reestimate_statistics(network, [sample_tiles(16)])
    return network


def sample_tiles(count: int, *, size: int = 256) -> Tensor:
    """Return real tiles, (count, 3, size, size) float32 in [-1, 1]."""
    picture = torch.from_numpy(read_picture(SAMPLE)).float().div(127.5).sub(1)
    per_row = picture.shape[2] // size
    spots = [divmod(number % (per_row * per_row), per_row) for number in range(count)]
    cut = [picture[:, row * size :, col * size :][:, :size, :size] for row, col in spots]
    return torch.stack(cut)


def flop_of(network: nn.Module, *, size: int = 256, bands: int = 3) -> int:
    """Return the floating-point operations that convolutions spend on one tile.

    A convolution multiplies and adds once for each weight and each place that its kernel stands on:
    2 x k x k x C_in x C_out x places, places being the pixels of the output, of a transposed
    convolution those of the input. Norms, activations and the copies of skips are left out: of
    ``unet_256`` they are under 1 %.

    References
    ----------
    Sze, Chen, Yang, Emer: Efficient Processing of Deep Neural Networks, Proceedings of the IEEE
    105(12), 2017, section II (a multiply-accumulate is two operations).
    """
    total = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        placed = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
        total += 2 * layer.weight.numel() * placed.shape[-2] * placed.shape[-1]

    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, kinds)]
    with torch.no_grad():
        network(torch.zeros(1, bands, size, size))
    for hook in hooks:
        hook.remove()
    return total
