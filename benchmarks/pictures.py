"""Draw what was measured on a CPU: time by stage, and achieved rates beside the limits.

    python benchmarks/pictures.py [RESULTS_FOLDER [PICTURES_FOLDER]]

``performance_stages.png`` comes from ``translate_cpu.json``, ``performance_roofline.png`` from
``engines.json``.
"""

import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from record import RESULTS, recorded

PICTURES = Path(__file__).parents[1] / "docs/pictures"
INK, PALE, LINE = "#26323d", "#7b8794", "#dfe4e8"
STAGES = {
    "generator": "#33658a",
    "read and cut": "#86bbd8",
    "blend": "#f6ae2d",
    "write": "#f26419",
    "everything else": "#b9c2ca",
}
"""Stage to its colour, in the order of drawing."""
NAMES = {
    "plain": "plain script",
    "monai": "MONAI sliding windows",
    "dask": "Dask map_overlap",
    "torch": "geop2p, torch (reference)",
    "packed": "geop2p, packed",
    "int8": "geop2p, int8",
}
MODELS = {
    "unet_256": "unet_256, ngf 64: the paper's generator",
    "streets": "streets: the bundled generator",
}
BAR = 0.62
COLUMNS = (1.12, 1.30, 1.45)
"""Right edges of the columns beside a panel, in widths of the panel."""
Figures = dict[str, Any]


def main(results: Path, target: Path) -> None:
    """Draw the pictures whose figures there are."""
    mpl.rcParams.update(
        {
            "font.family": "DejaVu Sans",
            "font.size": 10,
            "text.color": INK,
            "axes.labelcolor": PALE,
            "xtick.color": PALE,
            "ytick.color": INK,
            "axes.edgecolor": LINE,
        }
    )
    target.mkdir(parents=True, exist_ok=True)
    for name, source, draw in (
        ("performance_stages", "translate_cpu", draw_stages),
        ("performance_roofline", "engines", draw_rates),
    ):
        content = recorded(source, folder=results)
        if content is None:
            print(f"{name}: {source}.json is not there")
            continue
        figure = draw(content["figures"])
        where = f"{content['machine']}, {content['date']}, commit {content['commit']}"
        figure.text(0.012, 0.012, where, fontsize=7.5, color=PALE)
        path = target / f"{name}.png"
        figure.savefig(path, dpi=160)
        plt.close(figure)
        print(path)


def draw_stages(figures: Figures) -> Figure:
    """Draw the wall time of each variant by stage, a panel a model."""
    models = [model for model in MODELS if model in figures["models"]]
    found = [figures["models"][model]["variants"] for model in models]
    figure, panels = _panels([len(variants) for variants in found])
    for panel, model, variants in zip(panels, models, found, strict=True):
        _dress(panel, MODELS[model], [NAMES[name] for name in variants])
        longest = max(variant["seconds"] for variant in variants.values())
        for row, (name, variant) in enumerate(variants.items()):
            _draw_stacked(panel, row, _segments(variant))
            is_ours = name not in ("plain", "monai", "dask")
            _columns(panel, row, _stage_columns(variant), is_strong=is_ours)
        _columns(panel, -1, ("seconds", "x plain", "peak MiB"), is_strong=False)
        panel.set_xlim(0, longest * 1.02)
        panel.set_xlabel("seconds, start-up left out", fontsize=8.5, loc="left")
    size = figures["size"]
    _title(
        figure,
        "A whole translation, by stage",
        f"{size} x {size} pixels of real imagery, overlap {figures['overlap']}, the same weights; "
        "the quickest round of each",
    )
    handles = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in STAGES.values()]
    _legend(figure, handles, list(STAGES))
    return figure


def draw_rates(figures: Figures) -> Figure:
    """Draw the rate of each engine beside those of large matrix products, a panel a model."""
    models = [model for model in MODELS if model in figures["models"]]
    found = [figures["models"][model] for model in models]
    figure, panels = _panels([len(measured["engines"]) for measured in found])
    for panel, model, measured in zip(panels, models, found, strict=True):
        engines = measured["engines"]
        _dress(panel, MODELS[model], [NAMES[name].removeprefix("geop2p, ") for name in engines])
        for row, (name, engine) in enumerate(engines.items()):
            rate = engine["gflop_s"]
            peak = _peak_of(name, measured["peaks_gflop_s"])
            panel.barh(row, rate, BAR, color=_rate_colour(name))
            words = (f"{rate:.0f}", f"{rate / peak:.0%}", f"{engine['ms_a_tile']:.1f}")
            _columns(panel, row, words)
        _columns(panel, -1, ("GFLOP/s", "of limit", "ms a tile"), is_strong=False)
        _draw_limits(panel, measured["peaks_gflop_s"])
        rates = [engine["gflop_s"] for engine in engines.values()]
        panel.set_xlim(0, 1.03 * max(*measured["peaks_gflop_s"].values(), *rates))
        panel.set_xlabel("GFLOP/s of the convolutions", fontsize=8.5, loc="left")
    _title(
        figure,
        "The generator alone, beside what the processor can do",
        f"{figures['threads']} threads, groups of 4 tiles; lines: products of large matrices, "
        "measured in the same rounds; of limit: of the line of the same colour",
    )
    handles = [plt.Rectangle((0, 0), 1, 1, color=_rate_colour(name)) for name in ("torch", "int8")]
    _legend(figure, handles, ["float32", "8-bit integers"])
    return figure


def _segments(variant: Figures) -> dict[str, float]:
    """Return the wall time by stage; what ran behind other stages takes none.

    Drawing, blending and cutting follow each other. Of what is left, writing is taken first, for
    most of it comes last and nothing hides it, then reading.
    """
    stages, left = variant["stages"], variant["seconds"]
    segments = dict.fromkeys(STAGES, 0.0)
    for name, seconds in (
        ("generator", stages["generate"] / variant.get("threads", 1)),
        ("blend", stages.get("blend", 0)),
        ("read and cut", stages.get("prepare", 0)),
        ("write", stages.get("write", 0) + stages.get("keep", 0)),
        ("read and cut", stages.get("read", 0)),
    ):
        taken = min(seconds, left)
        segments[name] += taken
        left -= taken
    return segments | {"everything else": left}


def _draw_stacked(panel: Axes, row: int, segments: Figures) -> None:
    start = 0.0
    for stage, colour in STAGES.items():
        width = segments.get(stage, 0)
        panel.barh(row, width, BAR, left=start, color=colour)
        start += width


def _stage_columns(variant: Figures) -> tuple[str, ...]:
    seconds, ratio = variant["seconds"], variant.get("times_plain")
    shown = f"{seconds:.0f}" if seconds >= 20 else f"{seconds:.1f}"
    return (shown, "" if ratio is None else f"{ratio:.2f}", f"{variant['peak_mib']:.0f}")


def _columns(panel: Axes, row: int, words: tuple[str, ...], *, is_strong: bool = True) -> None:
    """Write words right of a panel's bars, in columns."""
    for position, word in zip(COLUMNS, words, strict=True):
        panel.text(
            position,
            row if row >= 0 else -0.66,
            word,
            transform=panel.get_yaxis_transform(),
            ha="right",
            va="center" if row >= 0 else "bottom",
            fontsize=9 if row >= 0 else 8,
            color=INK if is_strong else PALE,
            fontweight="bold" if is_strong else "normal",
        )


def _peak_of(engine: str, peaks: Figures) -> float:
    limit: float = peaks.get("int8_product" if engine == "int8" else "sgemm", peaks["sgemm"])
    return limit


def _rate_colour(engine: str) -> str:
    return STAGES["write"] if engine == "int8" else STAGES["generator"]


def _draw_limits(panel: Axes, peaks: Figures) -> None:
    words = {"sgemm": ("sgemm", "torch"), "int8_product": ("8-bit product", "int8")}
    for name, (text, engine) in words.items():
        if name not in peaks:
            continue
        panel.axvline(peaks[name], color=_rate_colour(engine), linestyle=(0, (4, 2)), linewidth=1.2)
        panel.text(
            peaks[name],
            -0.66,
            f"{text} {peaks[name]:.0f}",
            ha="right",
            va="bottom",
            fontsize=8,
            color=_rate_colour(engine),
        )


def _panels(rows: list[int]) -> tuple[Figure, list[Axes]]:
    """Return a figure with a panel for each number of bars, one below the other."""
    heights = [0.36 * count + 0.25 for count in rows]
    inches = sum(heights) + 0.85 * len(rows) + 1.15
    figure = plt.figure(figsize=(9.6, inches))
    top = 1 - 1.1 / inches
    panels = []
    for height in heights:
        top -= 0.25 / inches
        share = height / inches
        panels.append(figure.add_axes((0.235, top - share, 0.515, share)))
        top -= share + 0.6 / inches
    return figure, panels


def _dress(panel: Axes, title: str, names: list[str]) -> None:
    panel.set_title(title, loc="left", fontsize=10, fontweight="bold", pad=14, color=INK, x=-0.433)
    panel.set_yticks(range(len(names)), names)
    panel.set_ylim(len(names) - 0.5, -0.5)
    panel.tick_params(length=0)
    panel.set_axisbelow(True)
    panel.grid(axis="x", color=LINE, linewidth=0.8)
    for side in ("top", "right", "bottom"):
        panel.spines[side].set_visible(False)


def _title(figure: Figure, title: str, subtitle: str) -> None:
    inches = figure.get_figheight()
    figure.text(0.012, 1 - 0.12 / inches, title, fontsize=14, fontweight="bold", va="top")
    figure.text(0.012, 1 - 0.42 / inches, subtitle, fontsize=9, color=PALE, va="top")


def _legend(figure: Figure, handles: list[Any], names: list[str]) -> None:
    inches = figure.get_figheight()
    figure.legend(
        handles,
        names,
        loc="upper left",
        bbox_to_anchor=(0.004, 1 - 0.6 / inches),
        ncols=len(names),
        frameon=False,
        fontsize=9,
        handlelength=1,
        handleheight=1,
        columnspacing=1.6,
        handletextpad=0.5,
    )


if __name__ == "__main__":
    folders = [Path(word) for word in sys.argv[1:3]]
    main(*(folders + [RESULTS, PICTURES][len(folders) :]))
