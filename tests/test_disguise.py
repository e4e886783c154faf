import pytest
import torch

from geop2p.disguise import POLICIES, coloured, draw_disguise, holed, moved

SHAPE = (3, 32, 32)
EVERYTHING = "+".join(POLICIES)


def pictures(bands=3):
    random = torch.Generator().manual_seed(0)
    return torch.rand(3, bands, 32, 32, generator=random) * 2 - 1


def drawn(policies, key=(0, 0, 0)):
    return draw_disguise(policies, key, shape=SHAPE)(pictures(4), pictures(1))


def test_none_joins_scene_and_map():
    assert torch.equal(drawn("none"), torch.cat([pictures(4), pictures(1)], dim=1))


@pytest.mark.parametrize("policies", [*POLICIES, EVERYTHING])
def test_a_disguise_is_that_of_its_key(policies):
    assert torch.equal(drawn(policies), drawn(policies))
    assert not torch.equal(drawn(policies), drawn("none"))
    assert not torch.equal(drawn(policies), drawn(policies, (0, 0, 1)))
    assert not torch.equal(drawn(policies), drawn(policies, (0, 1, 0)))
    assert not torch.equal(drawn(policies), drawn(policies, (1, 0, 0)))


@pytest.mark.parametrize("policies", [*POLICIES, EVERYTHING])
def test_gradients_pass_through(policies):
    picture = pictures(1).requires_grad_()
    draw_disguise(policies, (0, 0, 0), shape=SHAPE)(pictures(4), picture).sum().backward()
    assert torch.isfinite(picture.grad).all()
    assert picture.grad.abs().sum() > 0


@pytest.mark.parametrize("policies", ["translation", "cutout"])
def test_scene_and_map_change_their_geometry_together(policies):
    picture = pictures(2)
    pair = draw_disguise(policies, (0, 0, 0), shape=SHAPE)(picture, picture)
    assert torch.equal(pair[:, :2], pair[:, 2:])


def test_a_move_leaves_zeros_behind():
    moves = torch.tensor([[0, 0], [2, -3], [-4, 4]]).numpy()
    before, after = pictures(), moved(pictures(), moves)
    assert torch.equal(after[0], before[0])
    assert torch.equal(after[1, :, 2:, :-3], before[1, :, :-2, 3:])
    assert after[1, :, :2].abs().sum() + after[1, :, :, -3:].abs().sum() == 0
    assert torch.equal(after[2, :, :-4, 4:], before[2, :, 4:, :-4])


def test_a_hole_is_half_as_wide_as_the_picture():
    centres = torch.tensor([[16, 16], [0, 31], [31, 5]]).numpy()
    share = (holed(torch.ones(3, 1, 32, 32), centres) == 0).float().mean(dim=(1, 2, 3))
    assert share.tolist() == [1 / 4, 8 * 9 / 1024, 9 * 13 / 1024]


def test_colours_are_changed_by_what_was_drawn():
    same = torch.tensor([[0.0, 1, 1]]).expand(3, 3)
    torch.testing.assert_close(coloured(pictures(), same), pictures())
    brighter = coloured(pictures(), torch.tensor([[0.25, 1, 1]]).expand(3, 3))
    torch.testing.assert_close(brighter, pictures() + 0.25)
    grey = coloured(pictures(), torch.tensor([[0.0, 0, 1]]).expand(3, 3))
    torch.testing.assert_close(grey[:, 0], grey[:, 2])
