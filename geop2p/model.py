"""The model file: a generator's weights and its card in one ``.safetensors`` file.

The card is JSON in the file's metadata under ``geop2p``. Convolution weights may be stored in half
precision; they are float32 again when the generator is built. Nothing in the file can run code.
"""

import copy
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save
from torch import Tensor, nn

from geop2p.card import CARD_ERRORS, ModelCard, card_from_json_value
from geop2p.documents import parse_json
from geop2p.errors import Geop2pError, ModelError
from geop2p.header import Header, read_header
from geop2p.networks import build_generator
from geop2p.signatures import PICKLES, SAFETENSORS, file_kind, special_kind
from geop2p.writing import write_atomically

DEFAULT_MODEL = "streets"
CARD_KEY = "geop2p"
CHECKSUM = "checksum"
"""Entry of the card in a file: the SHA-256 of the weights and of the rest of the card."""


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
    return _write(Path(path), tensors, card)


def _write(path: Path, tensors: Mapping[str, Tensor], card: ModelCard) -> str:
    text = card.to_json()
    whole = json.loads(text) | {CHECKSUM: _checksum(text, tensors)}
    metadata = {CARD_KEY: json.dumps(whole, sort_keys=True, ensure_ascii=False)}
    content = save(dict(tensors), metadata=metadata)
    write_atomically(path, content)
    return hashlib.sha256(content).hexdigest()


def write_card(path: str | Path, source: Path, card: ModelCard) -> str:
    """Write the weights of a model file, as they are, with another card; return the SHA-256."""
    tensors, _ = _read_tensors(source)
    return _write(Path(path), tensors, card)


def as_stored(generator: nn.Module) -> nn.Module:
    """Return a copy of a generator, on the CPU, with the weights that a file gives back."""
    copied = copy.deepcopy(generator).cpu()
    weights = copied.state_dict()
    copied.load_state_dict(
        {name: _stored(tensor).to(tensor.dtype) for name, tensor in weights.items()}
    )
    return copied.eval()


def load_model(
    name_or_path: str | os.PathLike[str], *, norm_statistics: str | None = None
) -> Model:
    """Read a bundled model by name, or a model file by path.

    The generator is in evaluation mode, in float32, on the CPU; its batch norm follows
    ``norm_statistics``, of the card unless given, and the card that is returned says the same.

    Raises
    ------
    ModelError
        When the file is missing, is no geop2p model, is damaged, or its weights do not fit the
        architecture in its card.
    """
    path = find_model(name_or_path)
    _check_kind(path)
    header = read_header(path)
    card, checksum = _parse_card(path, header.metadata)
    with torch.device("meta"):  # shapes without memory: a card may claim any size
        generator = build_generator(card.generator)
    expected = generator.state_dict()
    _check_shapes(path, header, expected)
    tensors, sha256 = _read_tensors(path)
    if path in bundled_models().values() and sha256 != _shipped_sha256(path.stem):
        raise ModelError(f"{path}: is not the file that was shipped (install geop2p again)")
    _check_values(path, tensors)
    if checksum not in (None, _checksum(card.to_json(), tensors)):
        raise ModelError(f"{path}: the checksum of its weights is wrong (fetch the file again)")
    # one by one, so that weights are never all there in both types
    weights = {name: tensors.pop(name).to(expected[name].dtype) for name in tuple(tensors)}
    generator.load_state_dict(weights, assign=True)
    card = card if norm_statistics is None else replace(card, norm_statistics=norm_statistics)
    if card.norm_statistics == "tile":
        use_tile_statistics(generator)
        card = replace(card, int8=None)  # its ranges are those of the kept statistics
    return Model(card=card, generator=generator.eval(), sha256=sha256)


def read_card(name_or_path: str | os.PathLike[str]) -> ModelCard:
    """Read the card alone; raises what `load_model` raises for an unreadable file."""
    path = find_model(name_or_path)
    _check_kind(path)
    return _parse_card(path, read_header(path).metadata)[0]


def bundled_models() -> dict[str, Path]:
    """Return the models that ship with the package: name to file, sorted by name."""
    folder = Path(str(resources.files("geop2p") / "models"))
    return dict(sorted((path.stem, path) for path in folder.glob("*.safetensors")))


def _shipped_sha256(name: str) -> str:
    text = (resources.files("geop2p") / "models" / "checksums.json").read_text(encoding="utf-8")
    return str(json.loads(text).get(name))


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
    kind = special_kind(path)
    if kind is not None:
        found = "no such model" if kind == "missing" else f"is no model but {kind}"
        names = ", ".join(bundled) or "none"
        raise ModelError(f"{path}: {found} (give a model file, or a bundled one: {names})")
    return path


def is_model_file(path: Path) -> bool:
    """Return whether a file looks like a model, or like what is often taken for one.

    Its content decides; of what the content leaves open, the suffix does.
    """
    if special_kind(path) is not None:
        return path.suffix == ".safetensors"
    try:
        kind = file_kind(path)
    except OSError:
        return path.suffix == ".safetensors"
    return kind in (SAFETENSORS, *PICKLES) or path.suffix == ".safetensors"


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


def _check_kind(path: Path) -> None:
    """Refuse a file that is something else, by its first bytes; pickles are never opened."""
    try:
        kind = file_kind(path)
    except OSError as exc:
        raise ModelError(f"{path}: cannot be read: {exc.strerror or exc}") from exc
    if kind in PICKLES:
        raise ModelError(
            f"{path}: is {kind}: weights of another project, or a checkpoint; it could run code "
            "and is not read (give a .safetensors model; train --resume RUN takes checkpoints)"
        )
    if kind != SAFETENSORS:
        raise ModelError(
            f"{path}: is {kind} (expected a .safetensors file that geop2p train wrote; "
            "is the download complete?)"
        )


def _read_tensors(path: Path) -> tuple[dict[str, Tensor], str]:
    """Return the tensors and the SHA-256 of the very bytes that they came from."""
    try:
        content = path.read_bytes()
        return load_tensors(content), hashlib.sha256(content).hexdigest()
    except (SafetensorError, OSError) as exc:
        raise ModelError(f"{path}: not a readable .safetensors file: {exc}") from exc


def _checksum(card: str, tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of a card and of names, types, shapes and bytes of all tensors."""
    digest = hashlib.sha256(card.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _parse_card(path: Path, metadata: Mapping[str, str]) -> tuple[ModelCard, str | None]:
    """Return the card, and the checksum that stands beside it in newer files."""
    text = metadata.get(CARD_KEY)
    if text is None:
        raise ModelError(f"{path}: a .safetensors file without a geop2p card (not a geop2p model)")
    try:
        content = parse_json(text)
        checksum = content.pop(CHECKSUM, None)
        return card_from_json_value(content), checksum
    except (*CARD_ERRORS, Geop2pError) as exc:
        raise ModelError(f"{path}: the model card cannot be read: {exc}") from exc


def _check_shapes(path: Path, header: Header, expected: Mapping[str, Tensor]) -> None:
    """Compare names and shapes with the architecture's; name the first that differ."""
    found = header.tensors
    wrong = [f"{name} is missing" for name in expected.keys() - found.keys()]
    wrong += [f"{name[:80]} is not part of it" for name in found.keys() - expected.keys()]
    wrong += [
        f"{name} is {found[name].shape} instead of {tuple(expected[name].shape)}"
        for name in found.keys() & expected.keys()
        if found[name].shape != tuple(expected[name].shape)
    ]
    if wrong:
        shown = "; ".join(sorted(wrong)[:3])
        more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ModelError(f"{path}: the weights do not fit the card's architecture: {shown}{more}")


def _check_values(path: Path, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise ModelError(f"{path}: weight {name} holds NaN or infinity (the model is unusable)")
