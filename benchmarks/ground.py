"""Score maps of a scene whose pixels are not the model's, seen as they are and resampled.

    python benchmarks/ground.py

Takes a part of a scene with its true classes, makes versions of it that are finer (cubic) and
coarser (averages; of classes, the commonest), and scores the map of each against its own truth.
"""

import argparse
import tempfile
import warnings
from pathlib import Path

import rasterio
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning

import geop2p

SAMPLES = Path(__file__).resolve().parents[1] / "sample_tiles" / "dubai"
FACTORS = (3.0, 2.0, 1.0, 1 / 1.5, 1 / 2, 1 / 3)
"""Pixels of a version for one of the scene, in each direction."""


def resized(path: Path, out: Path, *, factor: float, way: Resampling) -> None:
    """Write a raster without a georeference, with more or fewer pixels."""
    with rasterio.open(path) as raster:
        size = [raster.count, *(round(length * factor) for length in raster.shape)]
        pixels = raster.read(out_shape=tuple(size), resampling=way)
    shape = dict(zip(("count", "height", "width"), size, strict=True))
    with rasterio.open(out, "w", driver="GTiff", dtype=pixels.dtype.name, **shape) as raster:
        raster.write(pixels)


def main() -> None:
    """Print a line of a table for each version and way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="streets")
    parser.add_argument("--gsd", type=float, default=0.85, help="metres, of the scene as it is")
    asked = parser.parse_args()
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    print("| scene m | --gsd | PSNR dB | accuracy | mean IoU | IoU of roads | of buildings |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        scene, truth = Path(name, "scene.tif"), Path(name, "truth.tif")
        for factor in FACTORS:
            is_finer = factor > 1
            way = Resampling.cubic if is_finer else Resampling.average
            resized(SAMPLES / "scene3_part.jpg", scene, factor=factor, way=way)
            way = Resampling.nearest if is_finer else Resampling.mode
            resized(SAMPLES / "scene3_part_labels.png", truth, factor=factor, way=way)
            for gsd in ("scene", "model"):
                report = geop2p.evaluate(
                    scene=scene, truth=truth, model=asked.model, gsd=gsd, draws=1,
                    scene_gsd=asked.gsd / factor, seams=False, modes=False,
                )  # fmt: skip
                found = report.scores
                classes = [found["classes"][name]["iou"] for name in ("road", "building")]
                figures = [found["accuracy"], found["mean_iou"], *classes]
                row = [f"{asked.gsd / factor:.3g}", gsd, f"{found['psnr_db']:.2f}"]
                print("|", " | ".join(row + [f"{value:.3f}" for value in figures]), "|", flush=True)


if __name__ == "__main__":
    main()
