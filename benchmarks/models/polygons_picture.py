"""A picture of polygons: scene, classes, and their outlines over the scene.

python benchmarks/models/polygons_picture.py [SCENE [OUT.jpg [COL,ROW,SIDE]]]
"""

import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import shapely
from matplotlib.figure import Figure
from PIL import Image

import geop2p

ROOT = Path(__file__).parents[2]
SCENE = ROOT / "sample_tiles/dubai/scene3_part.jpg"
OUT = ROOT / "docs/pictures/data_polygons.jpg"
PART = "430,200,470"
ENVELOPE_BYTES = (0, 32, 48, 48, 64)
"""Of the envelope in a GeoPackage's geometry, by its kind (GeoPackage 1.3, clause 2.1.3)."""


def main(arguments: Sequence[str]) -> None:
    """Draw the picture."""
    scene, out, part = (*map(str, arguments), *map(str, (SCENE, OUT, PART)[len(arguments) :]))
    col, row, side = map(int, part.split(","))
    with tempfile.TemporaryDirectory() as name:
        vectors = Path(name, "classes.gpkg")
        geop2p.translate(scene, Path(name, "map.png"), vectors=vectors)
        found = polygons(vectors)
    figure = Figure(figsize=(10.8, 3.62), dpi=133)
    axes = figure.subplots(1, 3)
    with Image.open(scene) as picture:
        ground = np.asarray(picture.convert("RGB"))
    for place in (axes[0], axes[2]):
        place.imshow(ground, extent=(0, ground.shape[1], -ground.shape[0], 0))  # y is minus the row
    for shape, colour in found:
        for ring in (shape.exterior, *shape.interiors):
            axes[2].plot(*ring.xy, color=colour, linewidth=0.7)
        axes[1].fill(*shape.exterior.xy, facecolor=colour, edgecolor="#555555", linewidth=0.4)
    for place in axes:
        place.set_xlim(col, col + side)
        place.set_ylim(-row - side, -row)
        place.set_aspect("equal")
        place.set_axis_off()
    figure.subplots_adjust(left=0.005, right=0.995, bottom=0.01, top=0.99, wspace=0.02)
    figure.savefig(out, pil_kwargs={"quality": 88})
    print(out)


def polygons(path: Path) -> list[tuple[shapely.Polygon, str]]:
    """Return polygons in the scene's pixels, the largest first, with their colours."""
    with sqlite3.connect(path) as database:
        rows = database.execute("SELECT geom, colour FROM classes").fetchall()
    found = [(shapely.from_wkb(blob[wkb_begin(blob) :]), colour) for blob, colour in rows]
    singles = [(part, c) for shape, c in found for part in shapely.get_parts(shape)]
    return sorted(singles, key=lambda single: -shapely.Polygon(single[0].exterior).area)


def wkb_begin(blob: bytes) -> int:
    """Return where the geometry begins behind the GeoPackage's own header of 8 bytes."""
    return 8 + ENVELOPE_BYTES[blob[3] >> 1 & 7]


if __name__ == "__main__":
    main(sys.argv[1:])
