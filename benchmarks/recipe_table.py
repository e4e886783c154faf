"""The tables of compared recipes, from ``recipes*.json`` in ``results/``."""

import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from markdown_table import table

sys.path.append(str(Path(__file__).parent / "models"))
from variants import VARIANTS, Variant

Figures = dict[str, Any]
CHOOSING_COLUMNS = {
    "PSNR": ("psnr_db", "{:.2f}"),
    "acc.": ("accuracy", "{:.1%}"),
    "IoU": ("mean_iou", "{:.1%}"),
}
HELD_BACK_COLUMNS = {"L1": ("l1", "{:.1f}")} | CHOOSING_COLUMNS
SEAM_COLUMNS = {
    "overlap RMS": ("overlap_rms", "{:.1f}"),
    "shift changes": ("shift_changed", "{:.1%}"),
}


def recipes(content: Figures, *, variants: Sequence[Variant] = VARIANTS) -> str:
    """Return a line a variant, run or not, and how each score of the held-back scene may vary."""
    found = content["figures"]
    heads = [
        "variant",
        "what",
        "batch x steps",
        *(f"5: {name}" for name in CHOOSING_COLUMNS),
        *(f"3: {name}" for name in HELD_BACK_COLUMNS),
        *(f"3: {name}" for name in SEAM_COLUMNS),
        "GFLOP",
        "MB",
        "hours",
    ]
    rows = []
    for variant in variants:
        cells = _cells(list(found.get(variant.name, {}).values()))
        cells += [""] * (len(heads) - 2 - len(cells))
        rows.append([f"`{variant.name}`", variant.what, *cells])
    return "\n".join([table(heads, rows), "", *_intervals(found, variants)])


def roads_recipes(content: Figures, *, variants: Sequence[Variant] = VARIANTS) -> str:
    """Return a line for each variant that was run on pairs of Massachusetts."""
    found = content["figures"]
    heads = ["variant", "batch x steps", *HELD_BACK_COLUMNS, "roads found", "IoU of roads", "hours"]
    runs = {variant.name: list(found.get(variant.name, {}).values()) for variant in variants}
    rows = [[f"`{name}`", *_roads_cells(seeds)] for name, seeds in runs.items() if seeds]
    return table(heads, rows)


def _roads_cells(seeds: list[Figures]) -> list[str]:
    scores = [each["choosing"]["scores"] for each in seeds]
    roads = [each["classes"]["road"] for each in scores]
    return [
        f"{seeds[0]['batch_size']} x {seeds[0]['steps']}",
        *_group(seeds, lambda f: f["choosing"]["scores"], HELD_BACK_COLUMNS),
        _spread([road["accuracy"] for road in roads], "{:.1%}"),
        _spread([road["iou"] for road in roads], "{:.1%}"),
        f"{statistics.mean(each['hours'] for each in seeds):.2f}",
    ]


def _cells(seeds: list[Figures]) -> list[str]:
    """Return the figures of a line: of one seed, or mean and spread of several."""
    if not seeds:
        return ["not run"]
    first = seeds[0]
    return [
        f"{first['batch_size']} x {first['steps']}",
        *_group(seeds, lambda f: f.get("choosing", {}).get("scores"), CHOOSING_COLUMNS),
        *_group(seeds, lambda f: f.get("held_back", {}).get("scores"), HELD_BACK_COLUMNS),
        *_group(seeds, lambda f: f.get("held_back", {}).get("seams"), SEAM_COLUMNS),
        f"{first['gflop_a_tile']:.1f}",
        f"{first['megabytes']:.1f}",
        f"{statistics.mean(each['hours'] for each in seeds):.2f}",
    ]


def _group(
    seeds: list[Figures],
    part: Callable[[Figures], Figures | None],
    columns: dict[str, tuple[str, str]],
) -> list[str]:
    known = [group for group in map(part, seeds) if group]
    return [_spread([group[key] for group in known], shape) for key, shape in columns.values()]


def _spread(values: list[float], shape: str) -> str:
    if not values:
        return ""
    middle = shape.format(statistics.mean(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({shape.format(min(values))} to {shape.format(max(values))})"


def _intervals(found: Figures, variants: Sequence[Variant]) -> list[str]:
    """Return a line a run: the bootstrap intervals of the held-back scene, and where it was run."""
    lines = []
    for variant in variants:
        for seed, figures in found.get(variant.name, {}).items():
            scored = figures.get("held_back")
            if scored:
                between = ", ".join(
                    f"{name} {_between(scored['intervals'][key], shape)}"
                    for name, (key, shape) in HELD_BACK_COLUMNS.items()
                )
                where = f"{figures['trained_on']}, {scored['date']}, commit {scored['commit']}"
                lines.append(f"- `{variant.name}`, seed {seed}: {between} ({where})")
    return lines


def _between(interval: Sequence[float], shape: str) -> str:
    low, high = interval
    return f"{shape.format(low)} to {shape.format(high)}"
