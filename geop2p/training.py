"""Training: the two networks, their optimisers, and one step of pix2pix.

Everything random in a step is a pure function of (seed, epoch, step): the order and the views by
`geop2p.batches`, dropout by the seed that `Trainer.step` sets. So what a checkpoint has to hold is
weights, optimisers, the loss scale and the position, and a resumed run equals one never stopped.

References
----------
Isola et al. 2017, section 3.3 and appendix 6.2: Adam with rate 2e-4 and betas 0.5, 0.999, batch 1,
one step of the discriminator, then one of the generator.
"""

import copy
import platform
import subprocess
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from geop2p.card import Scaling
from geop2p.losses import adversarial_loss, l1_loss
from geop2p.networks import build_discriminator, build_generator, initialise
from geop2p.recipe import TrainingConfig

LOSS_PARTS = ("discriminator_real", "discriminator_fake", "generator_gan", "generator_l1")
"""Order of the losses that a step returns, none of them weighted."""

COMPILER_ERRORS = (
    RuntimeError,
    OSError,
    ImportError,
    AttributeError,
    TypeError,
    subprocess.SubprocessError,
)
"""What `torch.compile` raises where a compiler, its headers or a GPU's language are missing."""
BETAS = (0.5, 0.999)
DROPOUT_STREAM = 3
"""Tells the random numbers of dropout from those of the order and of views."""


Passes = tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]
"""Forward passes of the generator's body and of the discriminator."""


@dataclass(slots=True, kw_only=True)
class Position:
    """Where a training is: complete epochs, steps done in the present one, steps done in all."""

    epoch: int = 0
    step: int = 0
    total_steps: int = 0


class Trainer:
    """The state that training changes: two networks, two optimisers, the loss scale."""

    def __init__(self, config: TrainingConfig, *, device: torch.device) -> None:
        self.config, self.device = config, device
        self._format = training_format(device)
        self.generator = build_generator(config.generator)
        self.discriminator = build_discriminator(config.discriminator)
        for network, seed in ((self.generator, config.seed), (self.discriminator, config.seed + 1)):
            initialise(network, seed=seed)
            place(network, device, memory_format=self._format)
        self._optimisers = {
            "generator": _adam(self.generator, config.lr),
            "discriminator": _adam(self.discriminator, config.lr),
        }
        self._eager: Passes = (self.generator.body, self.discriminator)  # type: ignore[assignment]
        self._compiled = self._eager
        self._body, self._judge_pair = self._eager
        self._amp_dtype = _amp_dtype(device)
        needs_scale = config.amp and self._amp_dtype == torch.float16
        self._scaler = torch.amp.GradScaler(device.type, enabled=needs_scale)

    def begin_epoch(self, epoch: int) -> None:
        """Set the rate and the mode of the norm layers for ``epoch``."""
        for optimiser in self._optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = self.config.learning_rate(epoch)
        self.generator.train()
        self.discriminator.train()
        if self.config.is_frozen(epoch):
            freeze_norm(self.generator)

    def step(self, scene: Tensor, truth: Tensor, *, position: Position) -> Tensor:
        """Train both networks on a batch of native values; return `LOSS_PARTS`, (4,) float32."""
        torch.manual_seed(_dropout_seed(self.config.seed, position))
        layout: dict[str, Any] = {"device": self.device, "memory_format": self._format}
        scene = to_unit(scene, self.config.scene, **layout)
        truth = to_unit(truth, self.config.map, **layout)
        self._body, self._judge_pair = (
            self._compiled if len(scene) == self.config.batch_size else self._eager
        )
        generated = self._generate(scene)
        real, fake = self._train_discriminator(scene, truth, generated.detach())
        gan, l1 = self._train_generator(scene, truth, generated)
        self._scaler.update()
        return torch.stack([real, fake, gan, l1]).detach()

    def compile_networks(self) -> str:
        """Let torch compile both networks for whole batches; return why it could not, or nothing.

        A step is done on trial; weights, optimisers and statistics are as they were after it.
        """
        before = copy.deepcopy(self.state())
        problem = ""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a compiler says of its own parts
            try:
                self._compile()
                self._try_step()
            except COMPILER_ERRORS as exc:
                self._compiled = self._eager
                problem = (str(exc).splitlines() or [""])[0] or type(exc).__name__
        self.load_state(before)
        return problem

    def _compile(self) -> None:
        options: dict[str, Any] = {"fallback_random": True}  # dropout draws what it draws eagerly
        body, judge_pair = (
            torch.compile(part, dynamic=False, options=options) for part in self._eager
        )
        self._compiled = (body, judge_pair)

    def _try_step(self) -> None:
        size, batch_size = self.config.crop_size, self.config.batch_size
        scene, truth = (
            torch.full((batch_size, bands, size, size), scaling.low)
            for bands, scaling in (
                (self.config.generator.in_bands, self.config.scene),
                (self.config.generator.out_bands, self.config.map),
            )
        )
        self.begin_epoch(0)
        self.step(scene, truth, position=Position())

    def state(self) -> dict[str, Any]:
        """Return weights, optimisers and loss scale: tensors and plain values only."""
        return {
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "optimisers": {name: o.state_dict() for name, o in self._optimisers.items()},
            "scaler": self._scaler.state_dict(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned."""
        self.generator.load_state_dict(state["generator"])
        self.discriminator.load_state_dict(state["discriminator"])
        for name, optimiser in self._optimisers.items():
            groups = optimiser.state_dict()["param_groups"]  # the recipe's, whatever a file says
            moments = state["optimisers"][name]["state"]
            optimiser.load_state_dict({"state": moments, "param_groups": groups})
            _lay_out_moments(optimiser)
        self._scaler.load_state_dict(state["scaler"])

    def _generate(self, scene: Tensor) -> Tensor:
        with self._autocast():
            features = self._body(scene)
        generated: Tensor = self.generator.head(features.float())  # type: ignore[operator]
        return generated

    def _judge(self, scene: Tensor, picture: Tensor) -> Tensor:
        with self._autocast():
            logits: Tensor = self._judge_pair(torch.cat([scene, picture], dim=1))
        return logits

    def _train_discriminator(
        self, scene: Tensor, truth: Tensor, generated: Tensor
    ) -> tuple[Tensor, Tensor]:
        mode = self.config.gan_mode
        fake = adversarial_loss(self._judge(scene, generated), is_real=False, mode=mode)
        real = adversarial_loss(self._judge(scene, truth), is_real=True, mode=mode)
        self._descend("discriminator", (real + fake) / 2)
        return real, fake

    def _train_generator(
        self, scene: Tensor, truth: Tensor, generated: Tensor
    ) -> tuple[Tensor, Tensor]:
        with _untrained(self.discriminator):
            logits = self._judge(scene, generated)
            gan = adversarial_loss(logits, is_real=True, mode=self.config.gan_mode)
            l1 = l1_loss(generated, truth)
            self._descend("generator", gan + self.config.lambda_l1 * l1)
        return gan, l1

    def _descend(self, name: str, loss: Tensor) -> None:
        optimiser = self._optimisers[name]
        optimiser.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._scaler.step(optimiser)

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, self._amp_dtype, enabled=self.config.amp)


def least_bytes(config: TrainingConfig) -> int:
    """Return the bytes that weights, gradients and both moments of both networks take at least."""
    with torch.device("meta"):  # shapes without memory
        networks = (build_generator(config.generator), build_discriminator(config.discriminator))
    return 16 * sum(parameter.numel() for network in networks for parameter in network.parameters())


def to_unit(
    pixels: Tensor,
    scaling: Scaling,
    *,
    device: torch.device,
    memory_format: torch.memory_format = torch.channels_last,
) -> Tensor:
    """Return native values as float32 in [-1, 1] on ``device``; excess is cut."""
    values = pixels.to(device, non_blocking=True).float()
    values = (values - scaling.low) * (2 / (scaling.high - scaling.low)) - 1
    return values.clamp_(-1, 1).contiguous(memory_format=memory_format)


def from_unit(values: Tensor, scaling: Scaling) -> Tensor:
    """Return [-1, 1] as native values in float32, rounded where the native type is an integer."""
    native = (values.float() + 1) * ((scaling.high - scaling.low) / 2) + scaling.low
    return native if scaling.dtype.startswith("float") else native.round()


def place(
    network: nn.Module,
    device: torch.device,
    *,
    memory_format: torch.memory_format = torch.channels_last,
) -> None:
    """Move a network to ``device``; channels last draws maps quicker on CPU and GPU."""
    network.to(device=device, memory_format=memory_format)  # type: ignore[call-overload]


def training_format(device: torch.device) -> torch.memory_format:
    """Return the order of channels that networks train quickest in.

    On a CPU it is not the one that they draw quickest in: the gradients of weights cost less
    channels first, and Adam copies whatever is not contiguous (docs/performance.md).
    """
    return torch.contiguous_format if device.type == "cpu" else torch.channels_last


def is_amp_slow(device: torch.device) -> bool:
    """Return whether ``device`` emulates bfloat16, which makes it slower than float32."""
    has_bf16 = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    if device.type != "cpu" or has_bf16 is None or platform.machine() not in {"x86_64", "AMD64"}:
        return False
    return not has_bf16()


def freeze_norm(network: nn.Module) -> None:
    """Let every batch norm of ``network`` use and keep the statistics that it has."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def _adam(network: nn.Module, rate: float) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), lr=rate, betas=BETAS, fused=True)


def _lay_out_moments(optimiser: torch.optim.Adam) -> None:
    """Give every moment the strides of its weights: a file may be of another device or version."""
    for parameter, moments in optimiser.state.items():
        for name, moment in moments.items():
            if moment.shape == parameter.shape and moment.stride() != parameter.stride():
                moments[name] = torch.empty_like(parameter).copy_(moment)


def _amp_dtype(device: torch.device) -> torch.dtype:
    if device.type == "cuda" and not torch.cuda.is_bf16_supported():
        return torch.float16
    return torch.bfloat16


def _dropout_seed(seed: int, position: Position) -> int:
    """Return a seed below 2**63 that (seed, epoch, step) stand for."""
    words = np.random.SeedSequence((DROPOUT_STREAM, seed, position.epoch, position.step))
    return int(words.generate_state(1, np.uint64)[0]) >> 1


@contextmanager
def _untrained(network: nn.Module) -> Iterator[None]:
    """Compute no gradients of the network's weights: half of its backward pass."""
    network.requires_grad_(requires_grad=False)
    try:
        yield
    finally:
        network.requires_grad_(requires_grad=True)
