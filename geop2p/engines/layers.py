"""The layers of a generator in the order in which they run: convolution, norm, activation.

Engines that do not run torch's modules are built from these.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torch import nn

from geop2p.engines.folding import CONVOLUTIONS
from geop2p.networks import ResidualBlock, ResNet, UNet, has_attention

ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.Tanh)
_NORMS = (nn.BatchNorm2d, nn.InstanceNorm2d)
_NOTHING = (nn.Identity, nn.Dropout)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A convolution and what is done to its result.

    Parameters
    ----------
    conv : torch.nn.Conv2d or torch.nn.ConvTranspose2d
        The convolution.
    reflected : int, pixels
        Reflected margin that the picture gets before it, besides the convolution's own of zeros.
    norm : torch.nn.Module or None
        The norm after it, if it was not folded.
    activation : torch.nn.Module or None
        One of `ACTIVATIONS`.
    """

    conv: nn.Conv2d | nn.ConvTranspose2d
    reflected: int = 0
    norm: nn.Module | None = None
    activation: nn.Module | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UNetLayers:
    """A U-Net's layers, with every activation moved to the convolution whose result it takes.

    The result of each layer of ``down`` but the last, which the decoder sees through a ReLU, is
    joined before the result of a layer of ``up``, the innermost with the first: the skips are
    rectified, leaky or not, for the layer below, and again by a plain ReLU for the decoder.
    """

    down: tuple[Layer, ...]
    up: tuple[Layer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNetLayers:
    """A residual generator's layers: what comes before the blocks, the blocks, what comes after."""

    before: tuple[Layer, ...]
    blocks: tuple[tuple[Layer, ...], ...]
    after: tuple[Layer, ...]


def layers_of(network: nn.Module) -> UNetLayers | ResNetLayers:
    """Return the layers of a generator.

    Raises
    ------
    TypeError
        When it is neither a `geop2p.networks.UNet` nor a `geop2p.networks.ResNet`, or has modules
        that those do not have, or attention.
    """
    if has_attention(network):
        raise TypeError("it cannot run the generator's attention (give --engine torch)")
    if isinstance(network, UNet):
        decoder = [*network.decoder, network.head]
        return UNetLayers(
            down=_parsed([*network.encoder, nn.ReLU()]), up=_parsed(list(_flat(decoder))[1:])
        )
    if isinstance(network, ResNet):
        return ResNetLayers(
            before=_parsed([network.stem, network.down]),
            blocks=tuple(_block(block) for block in network.blocks),
            after=_parsed([network.up, network.head]),
        )
    raise TypeError(f"{type(network).__name__} is neither a U-Net nor a ResNet of geop2p's")


def _block(block: nn.Module) -> tuple[Layer, ...]:
    if not isinstance(block, ResidualBlock):
        raise TypeError(f"{type(block).__name__} where a residual block was expected")
    return _parsed([block.layers])


def _flat(modules: Iterable[nn.Module]) -> Iterator[nn.Module]:
    """Yield modules, those inside of a Sequential one by one, without what does nothing."""
    for module in modules:
        if isinstance(module, nn.Sequential):
            yield from _flat(module)
        elif not isinstance(module, _NOTHING):
            yield module


def _parsed(modules: Iterable[nn.Module]) -> tuple[Layer, ...]:
    layers: list[Layer] = []
    waiting = list(_flat(modules))[::-1]
    while waiting:
        pad = _taken(waiting, nn.ReflectionPad2d)
        conv = _taken(waiting, *CONVOLUTIONS)
        if not isinstance(conv, CONVOLUTIONS):
            raise TypeError(f"{type(waiting[-1]).__name__} where a convolution was expected")
        layers.append(
            Layer(
                conv=conv,
                reflected=pad.padding[0] if isinstance(pad, nn.ReflectionPad2d) else 0,
                norm=_taken(waiting, *_NORMS),
                activation=_taken(waiting, *ACTIVATIONS),
            )
        )
    return tuple(layers)


def _taken(waiting: list[nn.Module], *kinds: type[nn.Module]) -> nn.Module | None:
    """Take the next module if it is one of ``kinds``."""
    return waiting.pop() if waiting and isinstance(waiting[-1], kinds) else None
