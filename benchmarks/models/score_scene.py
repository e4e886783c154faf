"""Score a bundled generator on a whole scene, translated as users do it, in each mode of its norms.

    python benchmarks/models/score_scene.py SCENE LABELS [MODEL]

LABELS holds class indexes of the card's palette. Pixels of classes that are not scored count in L1,
PSNR and SSIM, drawn in their colour, but in no accuracy. Prints a table and records it.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import geop2p
from geop2p.metrics import Scorer, class_scores
from geop2p.model import ModelCard, find_model, read_card, use_tile_statistics
from geop2p.networks import build_generator
from geop2p.raster.scene import open_scene

sys.path.append(str(Path(__file__).parents[1]))
from record import record

Picture = npt.NDArray[np.uint8]
MODES = ("running", "tile", "training")


def main(scene: Path, labels_path: Path, name: str) -> None:
    """Translate in each mode, score, and add the scores of the mean colour."""
    card = read_card(name)
    labels = _read(labels_path)[0]
    truth = card.palette.draw(labels)
    figures: dict[str, Any] = {"scene": scene.name, "model": card.name}
    with tempfile.TemporaryDirectory() as folder:
        for mode in MODES:
            out = Path(folder) / f"{mode}.tif"
            geop2p.translate(scene, out, generator=_function(name, card, mode))
            figures[mode] = _scores(card, _read(out), truth=truth, labels=labels)
    mean = np.rint(truth.reshape(3, -1).mean(axis=1)).astype(np.uint8)
    flat = np.broadcast_to(mean[:, None, None], truth.shape)
    figures["mean_colour"] = _scores(card, flat, truth=truth, labels=labels)
    record(f"scores_{card.name}_{scene.stem}", figures)


def _function(name: str, card: ModelCard, mode: str) -> Callable[[Tensor], Tensor]:
    """Return the generator in a mode: kept statistics, each tile's own, or these and dropout."""
    generator: nn.Module = build_generator(card.generator)
    weights = load_file(find_model(name))
    generator.load_state_dict({key: tensor.float() for key, tensor in weights.items()})
    if mode == "running":
        return generator.eval()
    use_tile_statistics(generator)
    if mode == "tile":
        return generator.eval()
    torch.manual_seed(0)
    generator.train()
    return generator.forward  # a bare function is not put into evaluation mode


def _scores(
    card: ModelCard, drawn: Picture, *, truth: Picture, labels: npt.NDArray[np.uint8]
) -> dict[str, Any]:
    scorer = Scorer(card.map)
    scorer.add(*(torch.from_numpy(np.array(x)).float()[None] for x in (drawn, truth)))
    unscored = [entry.index for entry in card.palette.classes if not entry.is_scored]
    counted = ~np.isin(labels, unscored)
    pairs = labels[counted].astype(np.int64) * 256 + card.palette.nearest(drawn)[counted]
    confusion = np.bincount(pairs, minlength=256 * 256).reshape(256, 256)
    return scorer.scores() | class_scores(confusion, card.palette)


def _read(path: Path) -> npt.NDArray[np.uint8]:
    with open_scene(path) as raster:
        pixels, _ = raster.read(rows=(0, raster.spec.height))
    return pixels


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "streets")
