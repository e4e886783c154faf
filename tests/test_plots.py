import json

import numpy as np
import pytest
from PIL import Image

from geop2p import plots
from geop2p.plots import MARGIN, plot_log, save_grid


def test_a_grid_shows_each_picture_where_it_belongs(tmp_path):
    rows = [[np.full((8, 10, 3), 20 * row + col, np.uint8) for col in range(3)] for row in range(2)]
    save_grid(tmp_path / "grid.png", rows)
    grid = np.asarray(Image.open(tmp_path / "grid.png").convert("RGB"))
    assert grid.shape == (2 * (8 + 2 * MARGIN), 3 * (10 + 2 * MARGIN), 3)
    assert grid[MARGIN + 8 + 2 * MARGIN, 2 * (10 + 2 * MARGIN) + MARGIN, 0] == 22
    assert (grid[:MARGIN] == 255).all()


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are written."""
    figures = []
    monkeypatch.setattr(plots, "_write_figure", lambda _path, figure: figures.append(figure))
    return figures


@pytest.mark.parametrize("epochs", [1, 2, 7, 300])
def test_epochs_are_whole_numbers_and_losses_of_other_sizes_have_their_own_panels(
    tmp_path, drawn, epochs
):
    losses = {"generator_l1": 0.2, "generator_gan": 1.0, "generator_ce": 50.0, "generator_fm": 5.0}
    entries = [json.dumps({"epoch": 1 + i, "losses": losses}) for i in range(epochs)]
    (tmp_path / "log.jsonl").write_text("\n".join(entries))
    plot_log(tmp_path / "log.jsonl", tmp_path / "losses.png")
    titles = [panel.get_title() for panel in drawn[0].axes]
    assert [title.split()[0] for title in titles] == [
        "L1",
        "adversarial",
        "feature",
        "cross-entropy",
    ]
    for panel in drawn[0].axes:
        assert len(panel.lines) == 1
        ticks = panel.get_xticks()
        assert len(ticks)
        assert all(tick == int(tick) for tick in ticks)


def test_a_log_is_drawn_with_and_without_validation(tmp_path):
    losses = dict.fromkeys(("generator_l1", "generator_gan", "discriminator_real"), 0.5)
    entries = [{"epoch": 1, "losses": losses}, {"epoch": 2, "losses": losses}]
    entries[1]["validation"] = {"psnr_db": 20.0, "ssim": 0.5}
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    plot_log(tmp_path / "log.jsonl", tmp_path / "losses.png")
    with Image.open(tmp_path / "losses.png") as plot:
        assert plot.size == (1000, 700)
