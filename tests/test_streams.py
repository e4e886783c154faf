"""Streams of random numbers: told apart, and the same as ever."""

import ast
from pathlib import Path

import numpy as np
import torch

from geop2p.augmentation import draw_view
from geop2p.batches import epoch_order
from geop2p.colours import jitter_colours
from geop2p.disguise import draw_disguise
from geop2p.streams import Stream

SOURCES = Path(__file__).parents[1] / "geop2p"
KEY = (3, 1, 2)


def first_words(path):
    """Yield the first word of each seed that a module writes out as a tuple, as its source says."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        is_seeding = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if is_seeding and node.func.attr in {"default_rng", "SeedSequence"}:
            seed = node.args[0]
            if isinstance(seed, ast.Tuple):
                yield ast.unparse(seed.elts[0])


def test_no_two_streams_are_equal_and_none_has_changed():
    names = list(Stream.__members__)  # a second name of a number would be listed, too
    assert [Stream[name].value for name in names] == [1, 2, 3, 4, 5]
    assert names == ["ORDER", "VIEW", "DROPOUT", "DISGUISE", "COLOURS"]


def test_every_module_that_seeds_by_a_stream_has_one_of_its_own():
    found = [word for path in sorted(SOURCES.rglob("*.py")) for word in first_words(path)]
    # balance.py goes on with the key of the order, which it is given
    assert sorted(found) == sorted([*(f"Stream.{name}" for name in Stream.__members__), "*key"])


def test_colours_and_disguise_draw_different_numbers_for_one_key():
    grey = torch.zeros((1, 1, 1, 1))  # only brightness changes it, the third number drawn
    third = jitter_colours(grey, 0.5, key=KEY).item()
    drawn = draw_disguise("colour", KEY, shape=(1, 8, 8)).scene_colours
    brightness, saturation, contrast = drawn.flatten().tolist()
    for number in (brightness, (saturation - 1) / 2, contrast - 1):  # each within -0.5 to 0.5
        assert abs(number - third) > 1e-3


def test_what_was_drawn_before_is_drawn_still():
    order = np.random.default_rng((1, 3, 1)).permutation(9)
    assert epoch_order(9, seed=3, epoch=1).tolist() == order.tolist()
    row = np.random.default_rng((2, *KEY)).integers(0, 31)
    assert draw_view("paper", KEY, spare=(30, 30)).row == row
    scene = np.random.default_rng((4, *KEY)).uniform(-0.5, 0.5, 8).astype(np.float32)
    disguise = draw_disguise("colour", KEY, shape=(8, 8, 8))
    assert disguise.scene_colours[:, 0].tolist() == scene.tolist()
