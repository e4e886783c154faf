"""The model file: a generator's weights and its card in one ``.safetensors`` file.

The card is JSON in the file's metadata under ``geop2p``. Convolution weights may be stored in half
precision; they are float32 again when the generator is built. Nothing in the file can run code.
"""

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from geop2p.errors import ModelError
from geop2p.networks import GeneratorConfig, build_generator
from geop2p.palette import Palette
from geop2p.writing import file_sha256, write_atomically

DEFAULT_MODEL = "streets"
CARD_KEY = "geop2p"
CARD_VERSION = 1
NORM_STATISTICS = ("running", "tile")
MAP_DTYPES = ("uint8", "uint16", "int16", "float32")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """How native values become [-1, 1]: ``low`` goes to -1, ``high`` to 1, per band.

    Parameters
    ----------
    dtype : str
        numpy name of the native type.
    low, high : float
        Native values, ``low < high``, the same for every band.
    """

    dtype: str = "uint8"
    low: float = 0.0
    high: float = 255.0

    def __post_init__(self) -> None:
        """Refuse an empty or endless range.

        Raises
        ------
        ModelError
            When ``low < high`` does not hold or a bound is not finite.
        """
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ModelError(f"the scaling {self.low}..{self.high} is not a range (low < high)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """The facts that travel with a generator's weights.

    Parameters
    ----------
    name : str
        What tags and reports call the model.
    generator : GeneratorConfig
        The architecture that the weights belong to.
    tile : int, pixels
        Side of the tile that the generator was trained for.
    scene_bands, map_bands : tuple of str
        Names of the bands, in the order of the channels.
    scene, map : Scaling
        Native values of scene and map.
    norm_statistics : str
        ``running``: batch norm uses the statistics kept in training. ``tile``: each tile's own.
    gsd_m : float or None, metres
        Ground sample distance of the training scenes.
    palette : Palette or None
        The classes that the map's colours stand for.
    description, data, licence, limits : str
        What it draws, what it was trained on, under which terms, and what it cannot do.
    training : dict
        The recipe: every option of the run, steps, date, machine, training and validation files.
    scores : dict
        Validation scores, by data set and by mode of the norm layers.
    """

    name: str
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    tile: int = 256
    scene_bands: tuple[str, ...] = ("red", "green", "blue")
    map_bands: tuple[str, ...] = ("red", "green", "blue")
    scene: Scaling = field(default_factory=Scaling)
    map: Scaling = field(default_factory=Scaling)
    norm_statistics: str = "running"
    gsd_m: float | None = None
    palette: Palette | None = None
    description: str = ""
    data: str = ""
    licence: str = ""
    limits: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a card that contradicts itself.

        Raises
        ------
        ModelError
            When band names do not match the generator, the tile does not fit its levels, or the
            map's type or the kind of norm statistics is unknown.
        """
        _check_bands("scene", self.scene_bands, self.generator.in_bands)
        _check_bands("map", self.map_bands, self.generator.out_bands)
        multiple = self.generator.size_multiple
        if self.tile < 4 or self.tile % multiple:
            raise ModelError(
                f"tile side {self.tile} does not fit {self.generator.arch} "
                f"(it must be a multiple of {multiple})"
            )
        if self.map.dtype not in MAP_DTYPES:
            raise ModelError(f"map type {self.map.dtype!r} (choose from {', '.join(MAP_DTYPES)})")
        if self.norm_statistics not in NORM_STATISTICS:
            raise ModelError(
                f"norm statistics {self.norm_statistics!r} "
                f"(choose from {', '.join(NORM_STATISTICS)})"
            )

    def to_json(self) -> str:
        """Return the card as JSON, keys sorted, so that equal cards are equal texts."""
        content = asdict(self) | {"version": CARD_VERSION}
        content["palette"] = None if self.palette is None else self.palette.to_list()
        return json.dumps(content, sort_keys=True, ensure_ascii=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A generator ready to be moved to a device, with its card and the file's SHA-256."""

    card: ModelCard
    generator: nn.Module
    sha256: str


def save_model(path: str | Path, generator: nn.Module, card: ModelCard) -> str:
    """Write weights and card to ``path``; return the file's SHA-256.

    Convolution weights are stored in float16, everything else (norm statistics, scales, biases)
    in float32. The file appears complete or not at all.

    Raises
    ------
    ModelError
        When a weight is not finite, also after rounding to float16.
    """
    tensors = {name: _stored(tensor) for name, tensor in generator.state_dict().items()}
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise ModelError(f"{path}: weight {name} is not finite, the model is not written")
    content = save(tensors, metadata={CARD_KEY: card.to_json()})
    write_atomically(Path(path), content)
    return hashlib.sha256(content).hexdigest()


def load_model(name_or_path: str | os.PathLike[str]) -> Model:
    """Read a bundled model by name, or a model file by path.

    The generator is in evaluation mode, in float32, on the CPU; its batch norm follows the card's
    ``norm_statistics``.

    Raises
    ------
    ModelError
        When the file is missing, is no geop2p model, is damaged, or its weights do not fit the
        architecture in its card.
    """
    path = find_model(name_or_path)
    card, tensors = _read(path)
    generator = build_generator(card.generator)
    _check_weights(path, tensors, generator.state_dict())
    generator.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    if card.norm_statistics == "tile":
        use_tile_statistics(generator)
    return Model(card=card, generator=generator.eval(), sha256=file_sha256(path))


def read_card(name_or_path: str | os.PathLike[str]) -> ModelCard:
    """Read the card alone; raises what `load_model` raises for an unreadable file."""
    path = find_model(name_or_path)
    with _opened(path) as file:
        return _parse_card(path, file.metadata())


def bundled_models() -> dict[str, Path]:
    """Return the models that ship with the package: name to file, sorted by name."""
    folder = Path(str(resources.files("geop2p") / "models"))
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def find_model(name_or_path: str | os.PathLike[str]) -> Path:
    """Return the file of a bundled model's name or of a path.

    Raises
    ------
    ModelError
        When there is neither a bundled model of that name nor such a file.
    """
    bundled = bundled_models()
    if str(name_or_path) in bundled:
        return bundled[str(name_or_path)]
    path = Path(name_or_path)
    if not path.is_file():
        names = ", ".join(bundled) or "none"
        raise ModelError(f"{path}: no such model (give a model file, or a bundled one: {names})")
    return path


def use_tile_statistics(network: nn.Module) -> None:
    """Make every batch norm of ``network`` normalise each tile by its own statistics, in place.

    That is instance norm with batch norm's scale and shift: what batch norm computes in training
    mode on a batch of one tile.
    """
    for name, child in network.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(network, name, _tile_norm(child))
        else:
            use_tile_statistics(child)


def _tile_norm(norm: nn.BatchNorm2d) -> nn.InstanceNorm2d:
    tile_norm = nn.InstanceNorm2d(norm.num_features, eps=norm.eps, affine=True)
    tile_norm.weight, tile_norm.bias = norm.weight, norm.bias
    return tile_norm


def _stored(tensor: Tensor) -> Tensor:
    """Return what the file keeps: half precision for convolutions (4-D), else float32."""
    dtype = torch.float16 if tensor.ndim == 4 else torch.float32
    return tensor.detach().cpu().to(dtype).contiguous()


def _read(path: Path) -> tuple[ModelCard, dict[str, Tensor]]:
    with _opened(path) as file:
        card = _parse_card(path, file.metadata())
        return card, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _opened(path: Path) -> Any:  # noqa: ANN401  safetensors has no public type for its handle
    try:
        return safe_open(str(path), framework="pt")
    except (SafetensorError, OSError) as exc:
        raise ModelError(
            f"{path}: not a readable .safetensors file: {exc} "
            "(give a model that geop2p train wrote; is the download complete?)"
        ) from exc


def _parse_card(path: Path, metadata: Mapping[str, str] | None) -> ModelCard:
    text = (metadata or {}).get(CARD_KEY)
    if text is None:
        raise ModelError(f"{path}: a .safetensors file without a geop2p card (not a geop2p model)")
    try:
        return card_from_json(text)
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise ModelError(f"{path}: the model card cannot be read: {exc}") from exc


def card_from_json(text: str) -> ModelCard:
    """Return the card that `ModelCard.to_json` wrote.

    Raises
    ------
    ModelError, ValueError, TypeError, KeyError
        When the text is no card of a version that this geop2p reads.
    """
    content = json.loads(text)
    version = content.pop("version", None)
    if version != CARD_VERSION:
        raise ModelError(f"card version {version!r}, this geop2p reads version {CARD_VERSION}")
    unknown = content.keys() - {entry.name for entry in fields(ModelCard)}
    if unknown:
        raise ModelError(f"unknown entries in the card: {', '.join(sorted(unknown))}")
    content["generator"] = GeneratorConfig(**content["generator"])
    content["scene"], content["map"] = Scaling(**content["scene"]), Scaling(**content["map"])
    for key in ("scene_bands", "map_bands"):
        content[key] = tuple(content[key])
    if content["palette"] is not None:
        content["palette"] = Palette.from_list(content["palette"])
    return ModelCard(**content)


def _check_weights(path: Path, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Compare names, shapes and values; name the first that differ."""
    wrong = [f"{name} is missing" for name in expected.keys() - found.keys()]
    wrong += [f"{name} is not part of it" for name in found.keys() - expected.keys()]
    wrong += [
        f"{name} is {tuple(found[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in found.keys() & expected.keys()
        if found[name].shape != expected[name].shape
    ]
    if wrong:
        shown = "; ".join(sorted(wrong)[:3])
        raise ModelError(f"{path}: the weights do not fit the card's architecture: {shown}")
    for name, tensor in found.items():
        if not torch.isfinite(tensor).all():
            raise ModelError(f"{path}: weight {name} holds NaN or infinity (the model is unusable)")


def _check_bands(what: str, names: tuple[str, ...], count: int) -> None:
    if len(names) != count:
        raise ModelError(f"{len(names)} {what} bands are named, the generator has {count}")
