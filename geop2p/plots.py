"""Pictures of a training: grids of scene, generated and true map, and the curves of the losses."""

import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.ticker import MaxNLocator

from geop2p.writing import write_atomically

Picture = npt.NDArray[np.uint8]
"""(H, W, 3), red, green, blue."""
Heat = npt.NDArray[np.float64]

MARGIN = 4
"""Pixels of white round each picture of a grid."""

PANELS = (
    ("L1 of training (2 is the whole range)", "losses", ("generator_l1", "generator_distill")),
    (
        "adversarial losses",
        "losses",
        ("generator_gan", "discriminator_real", "discriminator_fake"),
    ),
    ("feature matching", "losses", ("generator_fm",)),
    ("cross-entropy of classes", "losses", ("generator_ce",)),
    ("PSNR of validation (dB)", "validation", ("psnr_db",)),
    ("SSIM and accuracy of validation", "validation", ("ssim", "accuracy")),
)
"""Title, group of the log's entries, and curves of each panel of the plot: those of one size."""
COLUMNS, PANEL = 2, (5.0, 3.5)
"""Panels beside each other, and width and height of each in inches."""


def save_grid(path: Path, rows: Sequence[Sequence[Picture]]) -> None:
    """Write a grid of pictures of one size as a PNG, one row of it for each item of ``rows``.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    framed = [np.concatenate([_framed(picture) for picture in row], axis=1) for row in rows]
    content = io.BytesIO()  # Pillow tells a full disk without saying that it is one
    imsave(content, np.concatenate(framed, axis=0), format="png")
    write_atomically(path, content.getvalue())


def save_side_by_side(path: Path, panels: Sequence[tuple[str, Picture]]) -> None:
    """Write titled pictures of one size beside each other as a PNG, pixel for pixel.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    height, width = panels[0][1].shape[:2]
    title, gap, dpi = 40, 16, 100
    size = (len(panels) * (width + gap) + gap, height + title + gap)
    figure = Figure(figsize=(size[0] / dpi, size[1] / dpi), dpi=dpi)
    for i, (name, picture) in enumerate(panels):
        left, bottom = (gap + i * (width + gap)) / size[0], gap / size[1]
        axes = figure.add_axes((left, bottom, width / size[0], height / size[1]))
        axes.imshow(picture, interpolation="none")
        axes.set_title(name, fontsize=11, parse_math=False)
        axes.set_axis_off()
    _write_figure(path, figure)


def png(picture: Picture) -> bytes:
    """Return a picture as a PNG."""
    content = io.BytesIO()
    imsave(content, picture, format="png")
    return content.getvalue()


def draw_panels(panels: Sequence[tuple[str, Picture | Heat]]) -> bytes:
    """Return titled panels beside each other as a PNG: pictures, and maps of heat with a scale.

    Maps of heat are (h, w) float64, NaN where there is nothing; each has its own scale, which ends
    at the 99th percentile.
    """
    height, width = panels[0][1].shape[:2]
    side, colours = 5.0, mpl.colormaps["inferno"].with_extremes(bad="#dddddd")
    size = (side * len(panels), side * min(max(height / width, 0.3), 2.0) + 0.6)
    figure = Figure(figsize=size, dpi=100, layout="constrained")
    for axes, (title, panel) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
    ):
        if panel.ndim == 3:
            axes.imshow(panel)
        else:
            known = panel[np.isfinite(panel)]
            top = float(np.percentile(known, 99)) if known.size else 0.0
            drawn = axes.imshow(panel, cmap=colours, vmin=0, vmax=top or 1.0)
            figure.colorbar(drawn, ax=axes, shrink=0.6)
        axes.set_title(title, fontsize=10, parse_math=False)
        axes.set_axis_off()
    content = io.BytesIO()
    FigureCanvasAgg(figure).print_png(content)  # type: ignore[no-untyped-call]
    return content.getvalue()


def plot_log(log_path: Path, plot_path: Path) -> None:
    """Draw losses and validation scores of a run's log, by epoch, as a PNG of 1000 pixels' width.

    Losses that the run does not have get no panel.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    lines = log_path.read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    shown = [
        (title, group, names)
        for title, group, names in PANELS
        if any(name in entry.get(group, {}) for entry in entries for name in names)
    ]
    rows = max(1, math.ceil(len(shown) / COLUMNS))
    with mpl.rc_context({"font.size": 9, "axes.grid": True, "grid.alpha": 0.3}):
        figure = Figure(figsize=(COLUMNS * PANEL[0], rows * PANEL[1]), layout="constrained")
        for place, (title, group, names) in enumerate(shown, start=1):
            panel = figure.add_subplot(rows, COLUMNS, place)
            panel.set(title=title, xlabel="epoch")
            panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            _draw(panel, [(entry["epoch"], entry.get(group, {})) for entry in entries], names=names)
        _write_figure(plot_path, figure)


def _write_figure(path: Path, figure: Figure) -> None:
    content = io.BytesIO()
    FigureCanvasAgg(figure).print_png(content)  # type: ignore[no-untyped-call]
    write_atomically(path, content.getvalue())


def _framed(picture: Picture) -> Picture:
    margins = ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0))
    return np.pad(picture, margins, constant_values=255)


def _draw(
    panel: Axes, epochs: Sequence[tuple[int, Mapping[str, float]]], *, names: Sequence[str]
) -> None:
    marker = "o" if len(epochs) == 1 else None  # a line of one point is none
    for name in names:
        points = [(epoch, values[name]) for epoch, values in epochs if name in values]
        if points:
            panel.plot(*zip(*points, strict=True), marker=marker, label=name.replace("_", " "))
    if len(names) > 1 and panel.lines:
        panel.legend()
