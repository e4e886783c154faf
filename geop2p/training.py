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

from geop2p.averaging import AveragedGenerator
from geop2p.card import Scaling
from geop2p.colours import jitter_colours
from geop2p.discriminators import Verdict, build_discriminator
from geop2p.disguise import PLAIN, draw_disguise
from geop2p.engines.choice import has_bf16
from geop2p.networks import build_generator, initialise
from geop2p.objective import Guidance, Objective, loss_parts
from geop2p.recipe import TrainingConfig
from geop2p.streams import Stream

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


Passes = tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Verdict] | None]
"""Forward passes of the generator's body and of the discriminator."""


@dataclass(slots=True, kw_only=True)
class Position:
    """Where a training is: complete epochs, steps done in the present one, steps done in all."""

    epoch: int = 0
    step: int = 0
    total_steps: int = 0


class Trainer:
    """The state that training changes: networks, their optimisers, the average, the loss scale.

    Attributes
    ----------
    generator : torch.nn.Module
        The trained one.
    discriminator : torch.nn.Module or None
        None where the recipe asks for no adversarial loss.
    loss_parts : tuple of str
        Names of the losses that a step returns, see `geop2p.objective.loss_parts`.
    teacher_sha256 : str
        Of the teacher's model file, empty where there is none.

    Raises
    ------
    OptionError
        When the recipe needs a guidance that is not given.
    """

    def __init__(
        self, config: TrainingConfig, *, device: torch.device, guidance: Guidance | None = None
    ) -> None:
        self.config, self.device = config, device
        self.loss_parts = loss_parts(config)
        guidance = guidance or Guidance()
        self.teacher_sha256 = guidance.teacher_sha256
        self._objective = Objective(config, guidance, device=device)
        self._format = training_format(device)
        self._networks = build_networks(config)
        for number, network in enumerate(self._networks.values()):
            initialise(network, seed=config.seed + number)
            place(network, device, memory_format=self._format)
        self.generator = self._networks["generator"]
        self.discriminator = self._networks.get("discriminator")
        self._disguise = PLAIN
        self._average = AveragedGenerator(self.generator, decay=config.ema) if config.ema else None
        self._optimisers = {
            name: _adam(network, config.lr) for name, network in self._networks.items()
        }
        self._eager: Passes = (
            self.generator.body,  # type: ignore[assignment]
            None if self.discriminator is None else self.discriminator.judge,
        )
        self._compiled = self._eager
        self._body, self._judge_pair = self._eager
        self._amp_dtype = _amp_dtype(device)
        needs_scale = config.amp and self._amp_dtype == torch.float16
        self._scaler = torch.amp.GradScaler(device.type, enabled=needs_scale)

    @property
    def result(self) -> nn.Module:
        """The generator that is validated and saved: the average where the recipe asks for it."""
        return self.generator if self._average is None else self._average.generator

    def begin_epoch(self, epoch: int) -> None:
        """Set the rate and the mode of the norm layers for ``epoch``."""
        for optimiser in self._optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = self.config.learning_rate(epoch)
        for network in self._networks.values():
            network.train()
        if self.config.is_frozen(epoch):
            freeze_norm(self.generator)
            if self._average is not None:
                self._average.take_statistics(self.generator)

    def step(self, scene: Tensor, truth: Tensor, *, position: Position) -> Tensor:
        """Train on a batch of native values; return the losses of `loss_parts`, float32."""
        torch.manual_seed(_dropout_seed(self.config.seed, position))
        layout: dict[str, Any] = {"device": self.device, "memory_format": self._format}
        scene = self._jittered(to_unit(scene, self.config.scene, **layout), position)
        truth = to_unit(truth, self.config.map, **layout)
        self._body, self._judge_pair = (
            self._compiled if len(scene) == self.config.batch_size else self._eager
        )
        key = (self.config.seed, position.epoch, position.step)
        shape = (len(scene), *scene.shape[2:])
        self._disguise = draw_disguise(self.config.diffaug, key, shape=shape)
        generated = self._generate(scene)
        losses = self._train_discriminator(scene, truth, generated.detach())
        losses |= self._train_generator(scene, truth, generated)
        self._scaler.update()
        if self._average is not None:
            self._average.update(self.generator)
        return torch.stack([losses[part] for part in self.loss_parts]).detach()

    def _jittered(self, scene: Tensor, position: Position) -> Tensor:
        key = (self.config.seed, position.epoch, position.step)
        return jitter_colours(scene, self.config.jitter_colour, key=key)

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
        body, judge_pair = self._eager
        self._compiled = (
            torch.compile(body, dynamic=False, options=options),
            judge_pair and torch.compile(judge_pair, dynamic=False, options=options),
        )

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

    def take_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Let the generator, and its average, begin with other weights than random ones."""
        self.generator.load_state_dict(weights)
        if self._average is not None:
            self._average.generator.load_state_dict(weights)

    def state(self) -> dict[str, Any]:
        """Return weights, optimisers, average and loss scale: tensors and plain values only."""
        networks = {name: network.state_dict() for name, network in self._networks.items()}
        average = {} if self._average is None else {"average": self._average.state()}
        return {
            **networks,
            **average,
            "optimisers": {name: o.state_dict() for name, o in self._optimisers.items()},
            "scaler": self._scaler.state_dict(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned."""
        for name, network in self._networks.items():
            network.load_state_dict(state[name])
        for name, optimiser in self._optimisers.items():
            groups = optimiser.state_dict()["param_groups"]  # the recipe's, whatever a file says
            moments = state["optimisers"][name]["state"]
            optimiser.load_state_dict({"state": moments, "param_groups": groups})
            _lay_out_moments(optimiser)
        if self._average is not None:
            self._average.load_state(state["average"])
        self._scaler.load_state_dict(state["scaler"])

    def _generate(self, scene: Tensor) -> Tensor:
        with self._autocast():
            features = self._body(scene)
        generated: Tensor = self.generator.head(features.float())  # type: ignore[operator]
        return generated

    def _judge(self, scene: Tensor, picture: Tensor) -> Verdict:
        """Return the discriminator's verdict on a pair, empty where there is no discriminator."""
        if self._judge_pair is None:
            return []
        with self._autocast():
            return self._judge_pair(self._disguise(scene, picture))

    def _train_discriminator(
        self, scene: Tensor, truth: Tensor, generated: Tensor
    ) -> dict[str, Tensor]:
        if self.discriminator is None:
            return {}
        fake, real = self._judge(scene, generated), self._judge(scene, truth)
        losses = self._objective.of_discriminator(fake=fake, real=real)
        real_loss, fake_loss = losses.values()
        self._descend("discriminator", (real_loss + fake_loss) / 2)
        return losses

    def _train_generator(
        self, scene: Tensor, truth: Tensor, generated: Tensor
    ) -> dict[str, Tensor]:
        with _untrained(self.discriminator):
            fake, real = self._judge(scene, generated), Verdict()
            if self._objective.matches_features:
                with torch.no_grad():
                    real = self._judge(scene, truth)
            losses = self._objective.of_generator(generated, truth, fake=fake, real=real)
            losses |= self._objective.of_student(scene, generated)
            self._descend("generator", self._objective.weighted(losses))
        return losses

    def _descend(self, name: str, loss: Tensor) -> None:
        optimiser = self._optimisers[name]
        optimiser.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._scaler.step(optimiser)

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, self._amp_dtype, enabled=self.config.amp)


def build_networks(config: TrainingConfig) -> dict[str, nn.Module]:
    """Return the networks that a recipe trains, by name, with torch's default weights."""
    networks = {"generator": build_generator(config.generator)}
    if config.is_adversarial:
        networks["discriminator"] = build_discriminator(config.discriminator)
    return networks


def least_bytes(config: TrainingConfig) -> int:
    """Return the bytes that weights, gradients, both moments and the average take at least."""
    with torch.device("meta"):  # shapes without memory
        networks = build_networks(config)
    sizes = {name: sum(p.numel() for p in each.parameters()) for name, each in networks.items()}
    return 16 * sum(sizes.values()) + (4 * sizes["generator"] if config.ema else 0)


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
    if device.type == "cuda" and not has_bf16(str(device)):
        return torch.float16
    return torch.bfloat16


def _dropout_seed(seed: int, position: Position) -> int:
    """Return a seed below 2**63 that (seed, epoch, step) stand for."""
    words = np.random.SeedSequence((Stream.DROPOUT, seed, position.epoch, position.step))
    return int(words.generate_state(1, np.uint64)[0]) >> 1


@contextmanager
def _untrained(network: nn.Module | None) -> Iterator[None]:
    """Compute no gradients of the network's weights: half of its backward pass."""
    if network is None:
        yield
        return
    network.requires_grad_(requires_grad=False)
    try:
        yield
    finally:
        network.requires_grad_(requires_grad=True)
