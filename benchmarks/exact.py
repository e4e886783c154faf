"""Tiles' centres against fading tiles: time, seams, and distance from the whole scene's map.

    python benchmarks/exact.py [--size 1024] [--ngf 16] [--model FILE]

The same residual generator draws the same real scene by ``--blend cosine --overlap 64``, by
``--blend exact``, and, where the model is made here, by ``exact`` from a card that names a tile of
512. Each map is compared with what the generator draws of the whole scene at once, and its seams
are measured by ``geop2p evaluate``. Without a model weights are random, with statistics measured on
real tiles.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from differences import of_maps
from measuring import geop2p_command, measured
from record import record
from scenes import Pixels, make_scene, read_picture
from weights import random_network

from geop2p.card import ModelCard
from geop2p.grid import TileGrid, reflect
from geop2p.model import load_model, save_model
from geop2p.networks import GeneratorConfig
from geop2p.pipelines.lattice import exact_geometry

COSINE = ("--blend", "cosine", "--overlap", "64")
EXACT = ("--blend", "exact")
SEAMS = ("gradient_ratio", "gradient_ratio_of_truth", "overlap_rms", "shift_rms", "shift_mean")
COMMON = ("--precision", "fp32", "--engine", "packed", "--device", "cpu")


def main() -> None:
    """Measure each way, and record it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=1024, help="side of the scene, pixels")
    parser.add_argument("--ngf", type=int, default=16, help="width of the random generator")
    parser.add_argument("--model", type=Path, help="a residual model to measure with")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="geop2p-exact-") as name:
        folder = Path(name)
        scene = folder / "scene.tif"
        figures: dict[str, Any] = {
            "scene": make_scene(scene, height=options.size, width=options.size)
        }
        model = options.model or _made(folder / "made.safetensors", ngf=options.ngf, tile=256)
        ways = {"cosine 64": (COSINE, model), "exact": (EXACT, model)}
        if options.model is None:
            wide = _made(folder / "wide.safetensors", ngf=options.ngf, tile=512)
            ways["exact, tiles of 512"] = (EXACT, wide)
        whole = _whole_map(model, read_picture(scene))
        for way, (words, path) in ways.items():
            figures[way] = _measure(scene, path, words, whole=whole, out=folder / "map.tif")
            print(way, json.dumps(figures[way]))
    record("exact", figures)


def _made(path: Path, *, ngf: int, tile: int) -> Path:
    config = GeneratorConfig(arch="resnet_6blocks", ngf=ngf)
    card = ModelCard(name=path.stem, generator=config, tile=tile, description="Random weights.")
    save_model(path, random_network(config), card)
    return path


def _measure(
    scene: Path, model: Path, words: tuple[str, ...], *, whole: Pixels, out: Path
) -> dict[str, Any]:
    """Return time, work, distance from the whole scene's map, and seams of one way."""
    common = ("--model", model, *words, *COMMON, "--overwrite")
    run = measured(geop2p_command("translate", scene, "--out", out, *common))
    report = run.report
    side = _side(model, words)
    judged = measured(
        geop2p_command(
            *("evaluate", "--scene", scene, "--truth", scene, "--no-modes", "--draws", "1"),
            *common,
        )
    )
    seams = judged.report["seams"]["model"]
    return {
        "tiles": report["tiles"],
        "pixels_drawn_for_one": report["tiles"] * side**2 / (report["height"] * report["width"]),
        "cpu_seconds": run.cpu_seconds,
        "wall_seconds": run.wall_seconds,
        "generate_seconds": report["seconds"]["generate"],
        "peak_mib": run.peak_mib,
        "from_whole": of_maps(read_picture(out), whole),
        "seams": {name: seams[name] for name in SEAMS},
    }


def _side(model: Path, words: tuple[str, ...]) -> int:
    card = load_model(model).card
    if words == COSINE:
        return card.tile
    return exact_geometry(card.field_radius or 0, tile=card.tile)[1]


def _whole_map(path: Path, pixels: Pixels) -> Pixels:
    """Return what the generator draws of the whole scene, continued as the lattice is."""
    model, (height, width) = load_model(path), pixels.shape[1:]
    halo, side = exact_geometry(model.card.field_radius or 0, tile=model.card.tile)
    grid = TileGrid(height=height, width=width, size=side - 2 * halo, overlap=0, halo=halo)
    rows, cols = (
        reflect(np.arange(-halo, count * grid.stride + halo), length)
        for count, length in ((grid.tile_rows, height), (grid.tile_cols, width))
    )
    units = torch.from_numpy(pixels[:, rows][:, :, cols] / np.float32(127.5) - 1)
    with torch.inference_mode():
        picture = model.generator.eval()(units[None])[0]
    centre = picture[:, halo : halo + height, halo : halo + width].numpy()
    return np.rint((centre + 1) * 127.5).clip(0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
