"""A picture of what changes in a map when its tiles lie elsewhere, model by model.

    python benchmarks/models/moved_picture.py SCENE OUT.jpg TITLE=MODEL [TITLE=MODEL ...]
        [--part COL,ROW,SIDE ...] [--step 96]

The scene is translated, and then again without its first rows and columns, so that every tile lies
that far to the right and below. Beside each map is the same in grey, with those pixels in red that
are of another class the second time, and above it their share, of what is a tile or farther from
the new edges: nearer to them the second scene is continued in another way. Models are named as for
``side_by_side.py``; maps have the colours of their palettes.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from side_by_side import DEFAULT_PART, Picture, translated, write

sys.path.append(str(Path(__file__).parents[1]))
from scenes import read_picture

TILE = 256
RED = np.array([214, 0, 24], np.uint8)


def main(arguments: Sequence[str]) -> None:
    """Draw the maps twice and write the picture."""
    asked = _parsed(arguments)
    write(dict(_panels(asked)), asked.part or [DEFAULT_PART], out=asked.out)


def _panels(asked: argparse.Namespace) -> Iterator[tuple[str, Picture]]:
    """Yield titles and pictures, (H, W, 3), of the part of the scene that both maps show."""
    step = asked.step
    pixels = read_picture(asked.scene)  # as geop2p reads it: other decoders of JPEG differ
    scene = np.moveaxis(pixels, 0, -1)[step:, step:]
    yield "scene", scene
    with tempfile.TemporaryDirectory() as folder:
        rest = Path(folder) / "rest.png"
        Image.fromarray(scene).save(rest)
        for entry in asked.model:
            title, _, model = entry.rpartition("=")
            first = translated(asked.scene, f"{model}:card")[0][step:, step:]
            other = (first != translated(rest, f"{model}:card")[0]).any(axis=-1)
            yield title, first
            share = other[TILE:, TILE:].mean()
            yield f"{title}: {share:.1%} of another class", _marked(first, other)


def _marked(picture: Picture, places: Picture) -> Picture:
    """Return the picture in pale grey, with the places in red."""
    grey = 128 + picture.mean(axis=-1, keepdims=True).astype(np.uint8) // 2
    return np.where(places[..., None], RED, grey)


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What changes when tiles lie elsewhere.")
    parser.add_argument("scene", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("model", nargs="+", metavar="TITLE=MODEL")
    parser.add_argument("--part", action="append", metavar="COL,ROW,SIDE")
    parser.add_argument("--step", type=int, default=96, help="pixels, whole fours")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
