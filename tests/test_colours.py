import torch

from geop2p.colours import jitter_colours


def pictures(seed=0, *, bands=3):
    random = torch.Generator().manual_seed(seed)
    return torch.rand((2, bands, 8, 8), generator=random) * 1.2 - 0.6


def test_no_strength_changes_nothing():
    scene = pictures()
    assert jitter_colours(scene, 0.0, key=(0, 0, 0)) is scene


def test_colours_depend_on_their_key_alone():
    scene = pictures()
    first, again, other = (jitter_colours(scene, 0.3, key=(0, 1, step)) for step in (4, 4, 5))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_pictures_of_a_batch_get_colours_of_their_own():
    twice = pictures()[:1].repeat(2, 1, 1, 1)
    first, second = jitter_colours(twice, 0.3, key=(0, 0, 0))
    assert not torch.allclose(first, second, atol=1e-3)


def test_values_stay_in_range_and_change_by_no_more_than_the_strength_allows():
    scene = pictures()
    for step in range(50):
        found = jitter_colours(scene, 0.1, key=(0, 0, step))
        assert found.abs().max() <= 1
        assert (found - scene).abs().max() <= 0.1 + 1.1 * 1.2 * 0.1 + 1.2 * 0.1


def test_a_picture_of_one_value_only_gets_brighter_or_darker():
    flat = torch.full((1, 3, 4, 4), 0.25)
    changes = [jitter_colours(flat, 0.2, key=(0, 0, step)) - flat for step in range(20)]
    for change in changes:
        assert torch.allclose(change, change.mean())
    assert min(change.mean() for change in changes) < -0.05
    assert max(change.mean() for change in changes) > 0.05


def test_one_band_has_no_saturation():
    found = jitter_colours(pictures(bands=1), 0.2, key=(0, 0, 0))
    assert found.shape == (2, 1, 8, 8)
    assert torch.isfinite(found).all()
