"""Small data sets of pairs for the tests of training."""

import numpy as np
from PIL import Image


def draw_pair(seed, *, size=24, bands=3):
    """Return a scene of smooth noise and a map that follows from it, (H, W, bands) uint8 each."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (4, 4, bands), dtype=np.uint8)
    scene = np.kron(coarse, np.ones((size // 4, size // 4, 1), np.uint8))
    return scene, np.where(scene > 127, 230, 40).astype(np.uint8)


def write_side_by_side(folder, *, count, size=24):
    """Write ``count`` side-by-side pictures into ``folder``; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.fromarray(np.concatenate(draw_pair(number, size=size), axis=1)).save(
            folder / f"p{number:03d}.png"
        )
    return folder


def write_pairs(folder, *, train=6, val=2, size=24):
    """Write the layout of the pix2pix ``maps`` data set; return the folder."""
    write_side_by_side(folder / "train", count=train, size=size)
    write_side_by_side(folder / "val", count=val, size=size)
    return folder


TINY = {
    "arch": "resnet_6blocks",
    "ngf": 4,
    "ndf": 4,
    "n_layers": 1,
    "load_size": 20,
    "crop_size": 16,
    "epochs": 1,
    "epochs_decay": 1,
    "device": "cpu",
}
"""Options of a training that takes a second."""
