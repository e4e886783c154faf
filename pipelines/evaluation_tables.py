"""The tables of an evaluation as rows of text: what the command prints, and its page shows."""

from collections.abc import Mapping, Sequence
from typing import Any

from geop2p.inception import LEAST_PICTURES
from geop2p.pipelines.evaluation_items import BASELINE
from geop2p.pipelines.evaluation_report import EvaluateReport

GAP = "statistics_gap"

FIGURES = {
    "l1": ("L1, native values", "{:.3f}"),
    "rmse": ("RMSE, native values", "{:.3f}"),
    "psnr_db": ("PSNR, dB", "{:.2f}"),
    "ssim": ("SSIM", "{:.4f}"),
    "ms_ssim": ("MS-SSIM", "{:.4f}"),
    "within_5": ("pixels within 5 grey levels", "{:.2%}"),
    "within_10": ("pixels within 10 grey levels", "{:.2%}"),
    "accuracy": ("accuracy", "{:.2%}"),
    "mean_iou": ("mean IoU", "{:.2%}"),
    "mean_f1": ("mean F1", "{:.2%}"),
}
"""Name of a figure to what tables call it, and how it is written."""
MODES = {
    "running": "kept statistics",
    "tile": "each tile's own",
    GAP: "kept less each tile's own",
    "training": "each tile's own, dropout",
    BASELINE: "one colour, the mean",
}
"""Row of the table of modes to what it is called, in its order."""
INCEPTION = ["", "FID", "KID", "Inception Score", "pictures"]
"""Heads of the table of Inception's figures."""
SEAMS = {
    "gradient_ratio": ("gradient at tile lines / inside", "{:.3f}"),
    "gradient_ratio_of_truth": ("the same of the truth", "{:.3f}"),
    "gradient_inside": ("gradient inside tiles", "{:.3f}"),
    "gradient_begin": ("gradient where tiles begin", "{:.3f}"),
    "gradient_middle": ("gradient in the middle of overlaps", "{:.3f}"),
    "gradient_end": ("gradient where tiles end", "{:.3f}"),
    "overlap_rms": ("overlapping tiles, RMS difference", "{:.3f}"),
    "shift_pixels": ("shift of the lattice, pixels", "{:.0f}"),
    "shift_rms": ("shifted lattice, RMS difference", "{:.3f}"),
    "shift_mean": ("shifted lattice, mean difference", "{:.3f}"),
    "shift_changed": ("shifted lattice, pixels of another class", "{:.2%}"),
    "statistics_rms": ("other norm statistics, RMS difference", "{:.3f}"),
    "statistics_mean": ("other norm statistics, mean difference", "{:.3f}"),
    "statistics_changed": ("other norm statistics, pixels of another class", "{:.2%}"),
}


def source_lines(report: EvaluateReport, *, digits: int = 64) -> list[str]:
    """Return what was scored, and a line a model: who it is, and how it drew the maps.

    ``digits`` of the files' SHA-256 are told.
    """
    data = report.data
    if report.kind == "scene":
        told = f"{data['scene']}, truth {data['truth']}"
    else:
        size = f", resized to {data['load_size']}" if data["load_size"] else ""
        told = f"{data['pairs']}, split {data['split']}, {data['direction']}{size}"
    told += "".join(f", {name} {data[name]}" for name in ("palette", "style") if data[name])
    lines = [f"{told}; geop2p {report.version}"]
    return lines + [_drawn_by(key, found, digits) for key, found in report.drawn.items()]


def _drawn_by(key: str, found: Mapping[str, Any], digits: int) -> str:
    tiling = ""
    if found["blend"] is not None:
        tiling = f", overlap {found['overlap']}, {found['blend']}{', tta' * found['tta']}"
    return (
        f"{key} {found['path']} (SHA-256 {found['sha256'][:digits]}), {found['engine']} "
        f"{found['precision']} on {found['device']}, tile {found['tile']}{tiling}"
    )


def accuracy_note(report: EvaluateReport) -> str:
    """Return on how many pixels accuracy was counted; empty where on all, or without classes."""
    counted = report.accuracy_pixels
    if counted is None or counted == report.pixels:
        return ""
    return (
        f"accuracy on {counted:,} of {report.pixels:,} pixels (the others are of no scored class)"
    )


def inception_rows(report: EvaluateReport) -> list[list[str]]:
    """Return a row a model: FID, KID, Inception Score, and of how many pictures."""
    return [
        [
            report.model if key == "model" else str(report.against),
            *(written(found[name], "{:.4f}") for name in ("fid", "kid", "inception_score")),
            str(found["pictures"]),
        ]
        for key, found in report.inception.items()
    ]


def inception_note(report: EvaluateReport) -> str:
    """Return why a figure of Inception's is missing, and what to do; empty where none is."""
    if not report.inception:
        return (
            "FID, KID and Inception Score: not measured (give --inception FILE.pt, the TorchScript "
            "network inception-2015-12-05.pt)"
        )
    if any(found["pictures"] < LEAST_PICTURES for found in report.inception.values()):
        kind = "pairs" if report.kind == "pairs" else "whole squares of 256 pixels without a gap"
        return (
            f"FID, KID and Inception Score: too few pictures (give {LEAST_PICTURES} {kind} or more)"
        )
    return ""


def modes_title(report: EvaluateReport) -> str:
    """Return what stands above the table of modes."""
    suffix = "" if report.modes_precision is None else f", all maps in {report.modes_precision}"
    return f"Statistics of the norm layers{suffix}"


def mode_rows(report: EvaluateReport, names: Sequence[str]) -> list[list[str]]:
    """Return a row a mode of the norm layers, their gap, and one colour everywhere."""
    scored: dict[str, Mapping[str, Any]] = dict(report.modes)
    if report.statistics_gap:
        scored[GAP] = report.statistics_gap
    return [
        [title, *(_written(scored[mode][name], name, is_signed=mode == GAP) for name in names)]
        for mode, title in MODES.items()
        if mode in scored
    ]


def _written(value: float | None, name: str, *, is_signed: bool) -> str:
    shape = FIGURES[name][1]
    return written(value, _signed(shape) if is_signed else shape)


def _signed(shape: str) -> str:
    return shape.replace("{:", "{:+")


def written(value: float | None, shape: str) -> str:
    """Return a figure as text; a dash where there is none."""
    return "-" if value is None else shape.format(value)


def score_rows(report: EvaluateReport) -> list[list[str]]:
    """Return the table of scores: figure, model, interval, and with two models the difference."""
    rows = []
    for name, (title, shape) in FIGURES.items():
        if name not in report.scores:
            continue
        low, high = report.intervals[name]
        row = [title, written(report.scores[name], shape)]
        row.append(f"{written(low, shape)} to {written(high, shape)}")
        if report.against is not None:
            row += [
                written(report.against_scores[name], shape),
                *_difference(report.differences[name], shape),
            ]
        rows.append(row)
    return rows


def class_rows(report: EvaluateReport) -> list[list[str]]:
    """Return a row a class: accuracy, IoU and F1, with two models the difference in IoU."""
    rows = []
    for name, found in report.scores.get("classes", {}).items():
        row = [name, *(written(found[figure], "{:.1%}") for figure in ("accuracy", "iou", "f1"))]
        if report.against is not None:
            row += _difference(report.differences["classes"][name]["iou"], "{:.1%}")
        rows.append(row)
    return rows


def _difference(found: Mapping[str, float | None], shape: str) -> list[str]:
    signed = _signed(shape)
    low, high = found["low"], found["high"]
    return [
        written(found["difference"], signed),
        f"{written(low, signed)} to {written(high, signed)}",
    ]
