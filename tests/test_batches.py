import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pair_files import draw_pair, write_pairs
from torch.nn import functional as F

from geop2p.augmentation import AUGMENTATIONS, View, draw_view, take_view
from geop2p.batches import (
    PairStore,
    ViewRule,
    count_steps,
    epoch_batches,
    epoch_order,
    resized,
    take_pair,
)
from geop2p.pairs import find_pairs


@pytest.fixture
def pairs(tmp_path):
    return find_pairs(write_pairs(tmp_path, train=7)).train


def batches_of(store, *, workers=0, first_step=0, epoch=3):
    rule = ViewRule(augment="dihedral", size=16, seed=5)
    found = epoch_batches(
        store, rule=rule, epoch=epoch, batch_size=2, first_step=first_step, workers=workers
    )
    return [torch.cat(batch) for batch in found]


@given(st.sampled_from(sorted(AUGMENTATIONS)), st.integers(0, 9), st.integers(0, 99))
def test_a_view_depends_on_its_key_alone_and_fits(kind, spare, index):
    first, again = (draw_view(kind, (1, 2, index), spare=(spare, 0)) for _ in range(2))
    assert first == again
    assert 0 <= first.row <= spare
    assert first.col == 0


@pytest.mark.parametrize(("kind", "expected"), [("none", 1), ("paper", 2), ("dihedral", 8)])
def test_augmentations_show_each_of_their_orientations(kind, expected):
    picture = np.arange(16).reshape(1, 4, 4)
    views = [draw_view(kind, (0, 0, index), spare=(0, 0)) for index in range(200)]
    assert len({take_view(picture, view, size=4).tobytes() for view in views}) == expected


def test_scene_and_map_are_seen_alike(pairs):
    rule = ViewRule(augment="dihedral", size=16, seed=0)
    store = PairStore(pairs, load_size=0)
    for scene, drawn in epoch_batches(store, rule=rule, epoch=0, batch_size=3):
        np.testing.assert_array_equal(np.where(scene > 127, 230, 40), drawn)


@pytest.mark.parametrize("epoch", [0, 1])
def test_every_pair_comes_once_an_epoch(epoch):
    assert sorted(epoch_order(50, seed=7, epoch=epoch)) == list(range(50))


def test_epochs_have_orders_of_their_own():
    assert not np.array_equal(epoch_order(50, seed=7, epoch=0), epoch_order(50, seed=7, epoch=1))


def test_loader_threads_change_nothing(pairs):
    alone = batches_of(PairStore(pairs, load_size=20))
    ahead = batches_of(PairStore(pairs, load_size=20), workers=3)
    assert len(alone) == len(ahead) == count_steps(7, batch_size=2) == 4
    assert all(map(torch.equal, alone, ahead))


def test_an_epoch_can_be_entered_at_any_step(pairs):
    store = PairStore(pairs, load_size=20)
    assert all(map(torch.equal, batches_of(store)[2:], batches_of(store, first_step=2)))


def test_a_small_cache_changes_nothing(pairs):
    large = batches_of(PairStore(pairs, load_size=20))
    store = PairStore(pairs, load_size=20, cache_bytes=3000)
    assert all(map(torch.equal, large, batches_of(store)))
    assert all(map(torch.equal, large, batches_of(store)))


def test_decoded_pairs_are_kept(pairs):
    store = PairStore(pairs, load_size=20)
    assert store[0][0] is store[0][0]
    assert PairStore(pairs, load_size=20, cache_bytes=0)[0][0] is not store[0][0]


def test_reversed_pairs_change_places(pairs):
    scene, drawn = PairStore(pairs, load_size=0, is_reversed=True)[0]
    np.testing.assert_array_equal(drawn, draw_pair(0)[0].transpose(2, 0, 1))
    np.testing.assert_array_equal(scene, draw_pair(0)[1].transpose(2, 0, 1))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_resizing_keeps_type_and_constants(dtype):
    picture = np.full((2, 30, 40), 99, dtype)
    smaller = resized(picture, 20)
    assert (smaller.shape, smaller.dtype) == ((2, 20, 20), dtype)
    np.testing.assert_allclose(smaller, 99, rtol=1e-6)


def test_resizing_does_not_wrap_at_the_ends_of_the_type():
    edge = np.zeros((1, 40, 40), np.uint8)
    edge[:, :, 20:] = 255
    columns = resized(edge, 26)[0, 0].astype(int)
    assert (np.diff(columns) >= -2).all()


def test_a_failing_pair_ends_the_epoch(pairs):
    pairs[3].scene_path.write_text("broken")
    with pytest.raises(OSError, match="not a readable picture"):
        batches_of(PairStore(pairs, load_size=20), workers=2)


SCALED = ViewRule(augment="dihedral", size=16, seed=5, jitter=0.3, is_nearest=(False, True))


def test_a_pair_is_seen_at_one_scale_from_one_place(pairs):
    store = PairStore(pairs, load_size=0)
    rule = replace(SCALED, is_nearest=(True, True))
    for index, epoch in itertools.product(range(3), range(4)):
        scene, drawn = take_pair(store, index, rule=rule, epoch=epoch)
        np.testing.assert_array_equal(drawn, np.where(scene > 127, 230, 40))


def test_scales_lie_on_both_sides_and_within_the_patch():
    views = [
        draw_view("paper", (0, 0, index), spare=(3, 8), size=20, jitter=0.25)
        for index in range(300)
    ]
    sides = [view.side for view in views]
    assert (min(sides), max(sides)) == (16, 23)
    assert 0.4 < np.mean(np.array(sides) < 20) < 0.6
    assert all(view.row + view.side <= 23 and view.col + view.side <= 28 for view in views)


def test_scales_depend_on_their_key_alone():
    first, again, other = (
        draw_view("none", (1, 2, index), spare=(4, 4), size=8, jitter=0.5) for index in (3, 3, 4)
    )
    assert first == again != other


def test_the_nearest_pixels_bring_no_new_colour_and_others_do(pairs):
    store = PairStore(pairs, load_size=0)
    found = [take_pair(store, 0, rule=SCALED, epoch=epoch) for epoch in range(10)]
    assert set(np.unique([drawn for _scene, drawn in found])) == {40, 230}
    assert len(np.unique([scene for scene, _drawn in found])) > len(np.unique(store[0][0]))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("is_nearest", [False, True])
def test_resampling_keeps_constants_and_the_type(dtype, is_nearest):
    picture = np.full((2, 9, 9), np.iinfo(dtype).max if dtype != "float32" else 0.3, dtype)
    found = take_view(picture, View(row=0, col=0, side=9), size=16, is_nearest=is_nearest)
    np.testing.assert_array_equal(found, np.full((2, 16, 16), picture[0, 0, 0]))
    assert found.dtype == dtype


def test_resampling_is_torchs_bilinear_one():
    picture = np.random.default_rng(0).uniform(0, 1, (3, 12, 12)).astype(np.float32)
    for side, size in ((12, 16), (12, 9)):
        found = take_view(picture, View(row=0, col=0, side=side), size=size)
        expected = F.interpolate(torch.from_numpy(picture)[None], (size, size), mode="bilinear")
        np.testing.assert_allclose(found, expected[0], atol=2e-3)


def test_a_pair_that_comes_again_is_seen_otherwise(pairs):
    store = PairStore(pairs, load_size=0)
    rule = ViewRule(augment="dihedral", size=16, seed=5)
    first, again = (take_pair(store, 0, rule=rule, epoch=0, repeat=n)[0] for n in (0, 1))
    assert not np.array_equal(first, again)


def test_chances_decide_what_an_epoch_is_made_of(pairs):
    store = PairStore(pairs, load_size=20)
    store.chances = np.zeros(len(pairs))
    store.chances[2] = 1
    rule = ViewRule(augment="none", size=16, seed=5)
    whole = list(epoch_batches(store, rule=rule, epoch=0, batch_size=2))
    assert sum(len(scene) for scene, _drawn in whole) == len(pairs)
    expected = take_pair(store, 2, rule=rule, epoch=0)[0]
    assert all(np.array_equal(one, expected) for scene, _drawn in whole for one in scene.numpy())
    entered = list(epoch_batches(store, rule=rule, epoch=0, batch_size=2, first_step=1))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(entered, whole[1:], strict=True))
