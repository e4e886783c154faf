"""Real rasters and small generators for the tests."""

import warnings
from pathlib import Path

import numpy as np
import rasterio
import torch
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning

import geop2p
from geop2p.card import ModelCard
from geop2p.model import save_model
from geop2p.networks import GeneratorConfig, build_generator, initialise

UTM = CRS.from_epsg(32633)
GRID = Affine(2.0, 0.0, 500_000.0, 0.0, -2.0, 5_000_000.0)


def noise(bands, height, width, *, dtype="uint8", seed=0):
    """(bands, height, width) of every value that the type has, or of a normal float field."""
    random = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return random.normal(50, 20, (bands, height, width)).astype(dtype)
    limits = np.iinfo(dtype)
    return random.integers(limits.min, limits.max, (bands, height, width), dtype, endpoint=True)


def landscape(bands, height, width, *, seed=0):
    """A smooth uint8 picture, more like a scene than noise is."""
    coarse = noise(bands, height // 16 + 2, width // 16 + 2, seed=seed)
    return coarse.repeat(16, axis=1).repeat(16, axis=2)[:, :height, :width]


def write_scene(path, pixels, *, valid=None, **profile):
    """Write a GeoTIFF, with an internal mask when ``valid`` is given; return its path."""
    defaults = {"driver": "GTiff", "crs": UTM, "transform": GRID}
    bands, height, width = pixels.shape
    size = {"count": bands, "height": height, "width": width, "dtype": pixels.dtype.name}
    with (
        warnings.catch_warnings(),
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        _created(path, **{**defaults, **size, **profile}) as dataset,
    ):
        dataset.write(pixels)
        if valid is not None:
            dataset.write_mask(valid)
    return Path(path)


def _created(path, **profile):
    # many of the tests' scenes are meant to have no georeference
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    return rasterio.open(path, "w", **profile)


def read_raster(path):
    """Return pixels and mask of a raster, as rasterio reads them."""
    with open_raster(path) as dataset:
        return dataset.read(), dataset.dataset_mask() != 0


def open_raster(path, mode="r", **options):
    """Open a raster by rasterio alone, with or without a georeference."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path, mode, **options)


def random_model(path, *, seed=0, map_values=None, **config):
    """Write a model file with random weights; a small U-Net unless told otherwise."""
    config = GeneratorConfig(**{"arch": "unet_128", "ngf": 4, **config})
    generator = build_generator(config)
    initialise(generator, seed=seed, std=0.2)
    bands = {
        "scene_bands": tuple(f"band {i + 1}" for i in range(config.in_bands)),
        "map_bands": tuple(f"band {i + 1}" for i in range(config.out_bands)),
    }
    extra = {} if map_values is None else {"map": map_values}
    save_model(path, generator, ModelCard(name=Path(path).stem, generator=config, **bands, **extra))
    return Path(path)


def identity(tiles: torch.Tensor) -> torch.Tensor:
    """The generator that changes nothing."""
    return tiles


def translated(scene, out, model, **options):
    """Translate by a strip for each tile row unless told otherwise; return the report."""
    return geop2p.translate(scene, out, model=model, **{"strip_rows": 1, **options})
