"""Tiles' centres against fading tiles: time, seams, and distance from the whole scene's map.

    python benchmarks/exact.py [--size 1024] [--model NAME|FILE]

A residual generator, the bundled one by default, draws a real scene by ``--blend cosine --overlap
64``, by ``--blend exact``, and by ``exact`` from a card that names a tile of 512. Each map is
compared with what the generator draws of the whole scene at once, and its seams are measured by
``geop2p evaluate``; so are those of ``streets``, which no tiles but fading ones can draw.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from differences import of_maps
from measuring import geop2p_command, measured
from record import record
from scenes import Pixels, make_scene, read_picture

from geop2p.grid import TileGrid, reflect
from geop2p.model import load_model, save_model
from geop2p.pipelines.lattice import exact_geometry

FADING = "streets"
COSINE = ("--blend", "cosine", "--overlap", "64")
EXACT = ("--blend", "exact")
SEAMS = (
    *("gradient_ratio", "gradient_ratio_of_truth", "overlap_rms"),
    *("shift_rms", "shift_mean", "shift_changed"),
)
COMMON = ("--precision", "fp32", "--engine", "packed", "--device", "cpu")
WIDE = 512
"""Pixels: a tile that wastes less on its halo."""
Way = tuple[str, str, tuple[str, ...]]
"""What it is called, the model, and its options."""


def main() -> None:
    """Measure each way, and record it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=1024, help="side of the scene, pixels")
    parser.add_argument("--model", default="streets-exact", help="a residual model")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="geop2p-exact-") as name:
        folder = Path(name)
        scene, out = folder / "scene.tif", folder / "map.tif"
        made = make_scene(scene, height=asked.size, width=asked.size)
        whole = _whole_map(asked.model, read_picture(scene))
        figures: dict[str, Any] = {"scene": made, "model": asked.model}
        for way, model, words in _ways(asked.model, wide=folder / "wide.safetensors"):
            figures[way] = _measure(scene, model, words, out=out)
            if model != FADING:
                figures[way]["from_whole"] = of_maps(read_picture(out), whole)
            print(way, json.dumps(figures[way]))
    record("exact", figures)


def _ways(model: str, *, wide: Path) -> Iterator[Way]:
    yield f"{FADING}, cosine 64", FADING, COSINE
    yield "cosine 64", model, COSINE
    yield "exact", model, EXACT
    loaded = load_model(model)
    save_model(wide, loaded.generator, replace(loaded.card, tile=WIDE))
    yield f"exact, tiles of {WIDE}", str(wide), EXACT


def _measure(scene: Path, model: str, words: tuple[str, ...], *, out: Path) -> dict[str, Any]:
    """Draw the map; return time, work and seams of one way."""
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
        "seams": {name: seams[name] for name in SEAMS},
    }


def _side(model: str, words: tuple[str, ...]) -> int:
    card = load_model(model).card
    if words == COSINE:
        return card.tile
    return exact_geometry(card.field_radius or 0, tile=card.tile)[1]


def _whole_map(name: str, pixels: Pixels) -> Pixels:
    """Return what the generator draws of the whole scene, continued as the lattice is."""
    model, (height, width) = load_model(name), pixels.shape[1:]
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
