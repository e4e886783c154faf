"""Ground to evaluate on: a small scene, models of it, and what they draw as the truth."""

from types import SimpleNamespace

from scenes import landscape, read_raster, write_scene

import geop2p
from geop2p.card import ModelCard
from geop2p.model import save_model
from geop2p.networks import GeneratorConfig, build_generator, initialise
from geop2p.palette import MapClass, Palette

HEIGHT, WIDTH = 150, 290
PALETTE = Palette(
    (
        MapClass(index=1, name="dark", colour=(0, 0, 0)),
        MapClass(index=2, name="light", colour=(255, 255, 255)),
    )
)
TILING = {"overlap": 16, "device": "cpu", "threads": 1}


def small_model(path, *, seed, std=0.4, **facts):
    """Write a ResNet of random weights for tiles of 64 pixels; return its path."""
    config = GeneratorConfig(arch="resnet_6blocks", ngf=2)
    generator = build_generator(config)
    initialise(generator, seed=seed, std=std)
    save_model(
        path,
        generator,
        ModelCard(name=path.stem, generator=config, tile=64, palette=PALETTE, **facts),
    )
    return path


def make_ground(folder, *, size=(HEIGHT, WIDTH), std=0.4):
    """A scene, two small models, and the map that the first one draws: as truth, and as labels."""
    scene = write_scene(folder / "scene.tif", landscape(3, *size))
    models = [
        small_model(folder / f"{name}.safetensors", seed=i, std=std) for i, name in enumerate("ab")
    ]
    truth = folder / "truth.tif"
    geop2p.translate(scene, truth, model=models[0], format="GTiff", **TILING)
    labels = PALETTE.nearest(read_raster(truth)[0])[None]
    return SimpleNamespace(
        scene=scene,
        model=models[0],
        other=models[1],
        truth=truth,
        labels=write_scene(folder / "labels.tif", labels),
        swapped=write_scene(folder / "swapped.tif", 3 - labels),
    )


def evaluated(ground, *, truth=None, model=None, **options):
    """Evaluate on that ground: scores alone, few samples, unless told otherwise."""
    return geop2p.evaluate(
        model=model or ground.model,
        scene=ground.scene,
        truth=truth or ground.truth,
        **({"seams": False, "modes": False, "draws": 50} | TILING | options),
    )
