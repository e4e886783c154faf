import pytest
import torch
from torch.nn import functional as F

from geop2p.card import Scaling
from geop2p.classification import CLASS_WEIGHTS, ClassTask, class_loss, class_shares
from geop2p.palette import Palette

PALETTE = Palette.from_list(
    [
        {"index": 0, "name": "unlabelled", "colour": "#FF00FF", "scored": False},
        {"index": 1, "name": "land", "colour": "#FFFFFF"},
        {"index": 2, "name": "water", "colour": "#000000"},
        {"index": 3, "name": "road", "colour": "#FF0000"},
    ]
)
TASK = ClassTask.of_palette(PALETTE, Scaling())
WHITE, BLACK, RED, PURPLE = (1, 1, 1), (-1, -1, -1), (1, -1, -1), (1, -1, 1)


def picture(*colours):
    """Return one row of pixels, (1, 3, 1, n) in [-1, 1]."""
    return torch.tensor(colours, dtype=torch.float32).T[None, :, None].contiguous()


def test_colours_are_those_of_scored_classes():
    assert TASK.colours.tolist() == [[1, 1, 1], [-1, -1, -1], [1, -1, -1]]
    assert TASK.ignored.tolist() == [[1, -1, 1]]


def test_a_pixel_has_the_class_of_the_nearest_colour():
    drawn = picture(WHITE, (-0.9, -0.8, -1), (0.7, -0.6, -0.9))
    assert TASK.classes(drawn).flatten().tolist() == [0, 1, 2]


def test_the_loss_is_the_cross_entropy_of_squared_distances():
    drawn, truth = picture((0.3, 0.1, -0.2), (0.9, -0.4, 0)), picture(WHITE, RED)
    pixels = drawn[0, :, 0].T
    logits = -(pixels[:, None] - TASK.colours).square().sum(dim=2) / 0.5
    expected = F.cross_entropy(logits, torch.tensor([0, 2]))
    found = class_loss(drawn, truth, task=TASK, temperature=0.5)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_descent_pulls_a_colour_to_that_of_its_class():
    drawn = picture((0.0, 0.1, -0.1)).requires_grad_()
    for _ in range(60):
        loss = class_loss(drawn, picture(RED), task=TASK, temperature=0.1)
        (gradient,) = torch.autograd.grad(loss, drawn)
        drawn = (drawn - 0.01 * gradient).detach().requires_grad_()
    assert TASK.classes(drawn.detach()).item() == 2
    assert loss.item() < 0.05


def test_unscored_colours_do_not_count():
    drawn = picture((0.1, 0.2, 0.3), (0.1, 0.2, 0.3))
    both = class_loss(drawn, picture(WHITE, PURPLE), task=TASK, temperature=0.1)
    alone = class_loss(drawn[..., :1], picture(WHITE), task=TASK, temperature=0.1)
    assert both.item() == pytest.approx(alone.item() / 2)


def test_weights_multiply_the_pixels_of_their_class():
    drawn, truth = picture((0.1, 0.2, 0.3)), picture(RED)
    plain = class_loss(drawn, truth, task=TASK, temperature=0.1)
    task = TASK.with_weights(torch.tensor([1.0, 1.0, 3.0]))
    assert class_loss(drawn, truth, task=task, temperature=0.1).item() == pytest.approx(
        3 * plain.item()
    )


def test_shares_are_those_of_counted_pixels():
    maps = [picture(WHITE, WHITE, BLACK, PURPLE), picture(WHITE, RED, PURPLE, PURPLE)]
    assert class_shares(TASK, maps).tolist() == pytest.approx([3 / 5, 1 / 5, 1 / 5])


def test_rare_classes_weigh_by_the_root_and_one_in_the_mean():
    shares = torch.tensor([0.64, 0.32, 0.04], dtype=torch.float64)
    weights = CLASS_WEIGHTS["inverse-sqrt"](shares)
    assert (weights[2] / weights[0]).item() == pytest.approx(4)
    assert (weights * shares).sum().item() == pytest.approx(1)
    assert CLASS_WEIGHTS["none"](shares).tolist() == [1, 1, 1]


def test_a_class_that_never_occurs_has_a_finite_weight():
    weights = CLASS_WEIGHTS["inverse-sqrt"](torch.tensor([1.0, 0.0]))
    assert torch.isfinite(weights).all()
