"""A plain pix2pix training loop: the yardstick of `train`. Nothing here is made to be quick."""

import random
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from geop2p.discriminators import build_discriminator
from geop2p.networks import build_generator, initialise
from geop2p.recipe import TrainingConfig
from geop2p.training import Trainer


class PlainPairs(Dataset[tuple[Tensor, Tensor]]):
    """Side-by-side pictures, opened, resized, cropped and mirrored anew each time."""

    def __init__(self, folder: Path, *, load_size: int = 286, crop_size: int = 256) -> None:
        self._paths = sorted(folder.glob("*.jpg"))
        self._load_size, self._crop_size = load_size, crop_size

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return scene and map, (3, 256, 256) float32 in [-1, 1]."""
        both = Image.open(self._paths[index]).convert("RGB")
        half, height = both.width // 2, both.height
        scene = both.crop((0, 0, half, height))
        drawn = both.crop((half, 0, both.width, height))
        row, col = (random.randint(0, self._load_size - self._crop_size) for _ in range(2))
        view = (row, col, random.random() > 0.5)
        return self._seen(scene, view), self._seen(drawn, view)

    def _seen(self, picture: Image.Image, view: tuple[int, int, bool]) -> Tensor:
        row, col, is_mirrored = view
        size = self._crop_size
        large = picture.resize((self._load_size, self._load_size), Image.Resampling.BICUBIC)
        part = large.crop((col, row, col + size, row + size))
        if is_mirrored:
            part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = torch.from_numpy(np.array(part)).permute(2, 0, 1)  # (H, W, 3) -> (3, H, W)
        return pixels.float() / 127.5 - 1


def plain_loader(
    folder: Path, *, batch_size: int, workers: int, is_pinned: bool
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Return the loader of whole batches in random order."""
    return DataLoader(
        PlainPairs(folder),
        batch_size=batch_size,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=is_pinned,
        drop_last=True,
    )


class PlainTrainer:
    """Networks in torch's default layout, two Adams, one batch at a time."""

    def __init__(self, config: TrainingConfig, *, device: torch.device) -> None:
        self.device, self.batch_size, self._lambda = device, config.batch_size, config.lambda_l1
        self.generator = build_generator(config.generator)
        self.discriminator = build_discriminator(config.discriminator)
        for network in (self.generator, self.discriminator):
            initialise(network, seed=0)
            network.to(device).train()
        rates = {"lr": config.lr, "betas": (0.5, 0.999)}
        self._generator_adam = torch.optim.Adam(self.generator.parameters(), **rates)
        self._discriminator_adam = torch.optim.Adam(self.discriminator.parameters(), **rates)

    def take_weights(self, trainer: Trainer) -> None:
        """Start from the weights of another trainer."""
        self.generator.load_state_dict(trainer.generator.state_dict())
        self.discriminator.load_state_dict(trainer.discriminator.state_dict())

    def step(self, scene: Tensor, truth: Tensor) -> list[float]:
        """Train on one batch; return real, fake, adversarial and L1 loss."""
        scene, truth = scene.to(self.device), truth.to(self.device)
        generated = self.generator(scene)

        _require_gradients(self.discriminator, is_on=True)
        self._discriminator_adam.zero_grad()
        fake = _judged(self.discriminator(torch.cat([scene, generated.detach()], 1)), is_real=False)
        real = _judged(self.discriminator(torch.cat([scene, truth], 1)), is_real=True)
        ((fake + real) / 2).backward()
        self._discriminator_adam.step()

        _require_gradients(self.discriminator, is_on=False)
        self._generator_adam.zero_grad()
        gan = _judged(self.discriminator(torch.cat([scene, generated], 1)), is_real=True)
        l1 = F.l1_loss(generated, truth)
        (gan + self._lambda * l1).backward()
        self._generator_adam.step()
        return [real.item(), fake.item(), gan.item(), l1.item()]


def _require_gradients(network: nn.Module, *, is_on: bool) -> None:
    for parameter in network.parameters():
        parameter.requires_grad = is_on


def _judged(logits: Tensor, *, is_real: bool) -> Tensor:
    target = torch.ones_like(logits) if is_real else torch.zeros_like(logits)
    return F.binary_cross_entropy_with_logits(logits, target)
