import numpy as np
import pytest
import torch
from pair_files import write_pairs, write_side_by_side

from geop2p.augmentation import View, take_view
from geop2p.batches import PairStore, ViewRule, epoch_batches
from geop2p.pairs import find_pairs
from geop2p.resident import ResidentPairs, coefficients, cut_view, cut_views

CPU = torch.device("cpu")
PAIR_BYTES = 2 * 3 * 20 * 20
EPOCH = {"rule": ViewRule(augment="dihedral", size=16, seed=5), "batch_size": 2}


@pytest.fixture
def pairs(tmp_path):
    return find_pairs(write_pairs(tmp_path, train=7)).train


def expected_of(store, **changes):
    return [torch.cat(batch) for batch in epoch_batches(store, **EPOCH | changes)]


def found_of(resident, **changes):
    return [torch.cat(batch) for batch in resident.epoch_batches(**EPOCH | changes)]


def same(found, expected):
    return len(found) == len(expected) and all(map(torch.equal, found, expected))


@pytest.mark.parametrize("is_mirrored", [False, True])
@pytest.mark.parametrize("quarter_turns", [0, 1, 2, 3])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_a_gathered_view_is_the_view(dtype, quarter_turns, is_mirrored):
    patches = np.arange(2 * 3 * 9 * 11).reshape(2, 3, 9, 11).astype(dtype)
    view = View(row=1, col=3, quarter_turns=quarter_turns, is_mirrored=is_mirrored)
    found = cut_views(
        torch.from_numpy(patches),
        torch.tensor([1]),
        table=torch.tensor([coefficients(view, size=6)]),
        size=6,
    )
    np.testing.assert_array_equal(found[0].numpy(), take_view(patches[1], view, size=6))


@pytest.mark.parametrize("held", [0, 3, 7, 100])
def test_batches_equal_those_of_the_host_whatever_fits_the_device(pairs, held):
    store = PairStore(pairs, load_size=20)
    resident = ResidentPairs(store, device=CPU, most_bytes=held * PAIR_BYTES)
    for epoch in (0, 1):
        assert same(found_of(resident, epoch=epoch), expected_of(store, epoch=epoch))
    assert len(resident) == min(held, 7)


def test_loader_threads_and_a_late_entry_change_nothing(pairs):
    store = PairStore(pairs, load_size=20)
    resident = ResidentPairs(store, device=CPU, most_bytes=5 * PAIR_BYTES)
    expected = expected_of(store, epoch=3)
    assert same(found_of(resident, epoch=3, workers=3), expected)
    assert same(found_of(resident, epoch=3, first_step=2, workers=2), expected[2:])


def test_pairs_on_the_device_are_not_read_again(pairs):
    resident = ResidentPairs(PairStore(pairs, load_size=20), device=CPU, most_bytes=10**6)
    first = found_of(resident, epoch=0)
    for pair in pairs:
        pair.scene_path.unlink()
    assert same(found_of(resident, epoch=0), first)


def test_pairs_of_another_size_stay_on_the_host(tmp_path, pairs):
    write_side_by_side(tmp_path / "train" / "large", count=3, size=32)
    for path in (tmp_path / "train" / "large").iterdir():
        path.rename(tmp_path / "train" / f"large_{path.name}")
    mixed = PairStore(find_pairs(tmp_path).train, load_size=0)
    resident = ResidentPairs(mixed, device=CPU, most_bytes=10**6)
    assert same(found_of(resident, epoch=0), expected_of(mixed, epoch=0))
    assert 0 < len(resident) < len(mixed)


@pytest.mark.gpu
def test_batches_on_a_gpu_equal_those_of_the_host(pairs):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    store = PairStore(pairs, load_size=20)
    resident = ResidentPairs(store, device=torch.device("cuda"), most_bytes=5 * PAIR_BYTES)
    found = [batch.cpu() for batch in found_of(resident, epoch=0, workers=2)]
    assert same(found, expected_of(store, epoch=0))


@pytest.mark.parametrize("is_nearest", [False, True])
@pytest.mark.parametrize("side", [5, 8, 9])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "float32"])
def test_a_scaled_view_is_the_view(dtype, side, is_nearest):
    random = np.random.default_rng(0)
    patch = (random.uniform(0, 1, (3, 9, 11)) * 40000).astype(dtype)
    view = View(row=0, col=1, quarter_turns=3, is_mirrored=True, side=side)
    found = cut_view(torch.from_numpy(patch), view, size=8, is_nearest=is_nearest)
    expected = take_view(patch, view, size=8, is_nearest=is_nearest)
    np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize("held", [0, 3, 100])
def test_scaled_and_chosen_batches_equal_those_of_the_host(pairs, held):
    store = PairStore(pairs, load_size=20)
    store.chances = np.array([4, 1, 1, 1, 1, 1, 1]) / 10
    rule = ViewRule(augment="dihedral", size=16, seed=5, jitter=0.2, is_nearest=(False, True))
    resident = ResidentPairs(store, device=CPU, most_bytes=held * PAIR_BYTES)
    for epoch in (0, 1):
        facts = {"rule": rule, "epoch": epoch}
        assert same(found_of(resident, **facts), expected_of(store, **facts))
