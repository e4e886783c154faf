"""A picture of scene, true map, and the maps of several models, beside each other.

    python benchmarks/models/side_by_side.py SCENE LABELS OUT.jpg TITLE=MODEL [TITLE=MODEL ...]
        [--part COL,ROW,SIDE ...] [--palette streets]

Each part is a row. The whole scene is translated, so tiles and seams are those of a map. A model
that is followed by ``:card`` draws in the colours of its palette alone, by ``:exact`` with
``--blend exact``.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image

import geop2p
from geop2p.style import find_palette

Picture = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
DEFAULT_PART = "300,200,448"
TITLE_INCHES = 0.3
WAYS = {"card": {"palette": "card"}, "exact": {"blend": "exact"}}
WHITE = np.uint8(255)


def main(arguments: Sequence[str]) -> None:
    """Draw the maps and write the picture."""
    asked = _parsed(arguments)
    write(dict(_panels(asked)), asked.part or [DEFAULT_PART], out=asked.out)


def write(panels: Mapping[str, Picture], parts: Sequence[str], *, out: Path) -> None:
    """Write a column a panel, titled, and a row a part, ``COL,ROW,SIDE`` in pixels."""
    height = 2.6 * len(parts) + TITLE_INCHES
    figure = Figure(figsize=(2.6 * len(panels), height), dpi=130)
    axes = figure.subplots(len(parts), len(panels), squeeze=False)
    for line, part in zip(axes, parts, strict=True):
        col, row, side = map(int, part.split(","))
        for place, picture in zip(line, panels.values(), strict=True):
            place.imshow(picture[row : row + side, col : col + side])
            place.set_axis_off()
    for place, title in zip(axes[0], panels, strict=True):
        place.set_title(title, fontsize=9)
    top = 1 - TITLE_INCHES / height
    figure.subplots_adjust(left=0.005, right=0.995, bottom=0.01, top=top, wspace=0.02, hspace=0.02)
    figure.savefig(out, pil_kwargs={"quality": 88})
    print(out)


def _panels(asked: argparse.Namespace) -> Iterator[tuple[str, Picture]]:
    """Yield titles and whole pictures, (H, W, 3); what a map masks is white in the truth, too."""
    yield "scene", _read(asked.scene)[0]
    maps = dict(_maps(asked))
    masked = np.logical_or.reduce([mask for _picture, mask in maps.values()])
    truth = find_palette(asked.palette).draw(np.asarray(Image.open(asked.labels), np.uint8))
    yield "truth", np.where(masked[..., None], WHITE, np.moveaxis(truth, 0, -1))
    yield from ((title, picture) for title, (picture, _mask) in maps.items())


def _maps(asked: argparse.Namespace) -> Iterator[tuple[str, tuple[Picture, Mask]]]:
    for entry in asked.model:
        title, _, model = entry.rpartition("=")
        yield title, translated(asked.scene, model)


def translated(scene: str | Path, model: str) -> tuple[Picture, Mask]:
    """Return a model's map of a scene, (H, W, 3), and where it is masked."""
    name, *ways = model.split(":")
    if unknown := set(ways) - set(WAYS):
        sys.exit(f"{model}: no {', '.join(sorted(unknown))} (after a colon: {', '.join(WAYS)})")
    options = {key: value for way in ways for key, value in WAYS[way].items()}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "map.png"
        geop2p.translate(scene, out, model=name, precision="fp32", **options)
        return _read(out)


def _read(path: str | Path) -> tuple[Picture, Mask]:
    """Return red, green, blue, white where the picture is transparent; and where it is."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGBA"))
    masked = pixels[..., 3] == 0
    return np.where(masked[..., None], WHITE, pixels[..., :3]), masked


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Scene, truth and maps side by side.")
    parser.add_argument("scene")
    parser.add_argument("labels")
    parser.add_argument("out", type=Path)
    parser.add_argument("model", nargs="+", metavar="TITLE=MODEL")
    parser.add_argument("--part", action="append", metavar="COL,ROW,SIDE")
    parser.add_argument("--palette", default="streets")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
