import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pair_files import draw_pair, write_pairs

from geop2p.augmentation import AUGMENTATIONS, draw_view, take_view
from geop2p.batches import PairStore, ViewRule, count_steps, epoch_batches, epoch_order, resized
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
