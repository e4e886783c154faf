"""Is a map wrong where it is unsure? Errors by tenths of its pixels, the least sure ones first.

    python benchmarks/confidence.py [MODEL [SAMPLES [PICTURE.jpg]]]

The bundled scene with labels is translated with overlaps of half a tile, so that nearly all pixels
lie in several tiles. A pixel is wrong where the nearest class colour is not the label's. Beside the
bands of the confidence raster stands what the map says by itself: how close the second nearest
colour is. The figure of merit is the chance that a wrong pixel is less sure than a right one. The
picture has scene, map and both bands beside each other, the bands the darker the less sure.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from PIL import Image
from record import geop2p, record

from geop2p.model import find_model, load_model
from geop2p.palette import Palette

FOLDER = Path(__file__).parents[1] / "sample_tiles/dubai"
SCENE, LABELS = FOLDER / "scene3_part.jpg", FOLDER / "scene3_part_labels.png"
OVERLAP = 128
TENTHS = 10
DARKEST = {"disagreement": 24.0, "spread": 8.0}
"""Grey levels that are black in the picture."""

Values = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def main(model: str, samples: int, picture: str | None) -> None:
    """Translate, compare, record."""
    palette = load_model(find_model(model)).card.palette
    if palette is None:
        raise SystemExit(f"{model}: its card has no classes")
    with tempfile.TemporaryDirectory() as name:
        drawn, doubts = _translated(Path(name), model, samples)
    if picture is not None:
        _save_picture(Path(picture), drawn, doubts)
    labels = np.asarray(Image.open(LABELS))
    scored = [entry.index for entry in palette.classes if entry.is_scored]
    is_counted = np.isin(labels, scored) & np.all([np.isfinite(x) for x in doubts.values()], axis=0)
    wrong = (palette.nearest(drawn) != labels)[is_counted]
    doubts["second nearest colour"] = -_margin(drawn, palette)
    figures = {
        name: {
            "chance_wrong_is_less_sure": _chance(doubt[is_counted], wrong),
            "errors_by_tenth": _errors_by_tenth(doubt[is_counted], wrong),
        }
        for name, doubt in doubts.items()
    }
    facts = {"model": model, "samples": samples, "overlap": OVERLAP, "pixels": wrong.size}
    record("confidence", facts | {"errors": float(wrong.mean()), "bands": figures})


def _translated(
    folder: Path, model: str, samples: int
) -> tuple[npt.NDArray[np.uint8], dict[str, Values]]:
    out, beside = folder / "map.tif", folder / "confidence.tif"
    options = ("--overlap", str(OVERLAP), "--confidence", beside, "--samples", str(samples))
    geop2p("translate", SCENE, "--out", out, "--model", model, *options)
    with rasterio.open(out) as drawn, rasterio.open(beside) as doubts:
        bands = doubts.read().astype(np.float64)
        return drawn.read(), dict(zip(doubts.descriptions, bands, strict=True))


def _save_picture(path: Path, drawn: npt.NDArray[np.uint8], doubts: dict[str, Values]) -> None:
    panels = [Image.open(SCENE), Image.fromarray(np.moveaxis(drawn, 0, -1))]
    for name, darkest in DARKEST.items():
        paper = 255 * (1 - np.clip(np.nan_to_num(doubts[name]) / darkest, 0, 1))
        panels.append(Image.fromarray(paper.astype(np.uint8)).convert("RGB"))
    side, gap = 420, 8
    sheet = Image.new("RGB", (len(panels) * (side + gap) - gap, side), "#7b8794")
    for i, panel in enumerate(panels):
        sheet.paste(panel.resize((side, side), Image.Resampling.BOX), (i * (side + gap), 0))
    sheet.save(path, quality=85)


def _margin(drawn: npt.NDArray[np.uint8], palette: Palette) -> Values:
    """Return by how much the nearest class colour is nearer than the second nearest."""
    colours = np.array([entry.colour for entry in palette.classes if entry.is_scored], float)
    steps = drawn[np.newaxis].astype(float) - colours[:, :, np.newaxis, np.newaxis]
    nearest = np.sort(np.linalg.norm(steps, axis=1), axis=0)
    return np.asarray(nearest[1] - nearest[0])


def _chance(doubt: Values, wrong: Mask) -> float:
    """Return the chance that a wrong pixel has the larger doubt; equal ones count half."""
    _, places, counts = np.unique(doubt, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    wrongs, rights = int(wrong.sum()), int((~wrong).sum())
    return float((ranks[wrong].sum() - wrongs * (wrongs + 1) / 2) / (wrongs * rights))


def _errors_by_tenth(doubt: Values, wrong: Mask) -> list[float]:
    """Return the share of wrong pixels in each tenth, the most doubtful first."""
    order = np.argsort(-doubt, kind="stable")
    return [float(part.mean()) for part in np.array_split(wrong[order], TENTHS)]


if __name__ == "__main__":
    given = dict(enumerate(sys.argv))
    main(given.get(1, "streets"), int(given.get(2, 8)), given.get(3))
