"""An evaluation as one HTML page that needs nothing else: tables, seams, pictures."""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from geop2p.palette import format_colour
from geop2p.pipelines.evaluation_items import Measured
from geop2p.pipelines.evaluation_report import EvaluateReport
from geop2p.pipelines.evaluation_tables import (
    FIGURES,
    INCEPTION,
    SEAMS,
    accuracy_note,
    class_rows,
    inception_note,
    inception_rows,
    mode_rows,
    modes_title,
    score_rows,
    source_lines,
    written,
)
from geop2p.plots import png
from geop2p.redaction import escaped
from geop2p.writing import write_atomically

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222 }
body { margin: 2rem auto; max-width: 76rem; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
table { border-collapse: collapse; margin: .6rem 0 } caption { text-align: left; color: #555 }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #ddd; text-align: right }
td { font-variant-numeric: tabular-nums }
th:first-child, td:first-child { text-align: left }
figure { margin: .8rem 0 } figure div { display: flex; flex-wrap: wrap; gap: .5rem }
figure figure { margin: 0 } img { max-width: 100%; image-rendering: pixelated }
.item img { width: 15rem } figcaption { color: #555; font-size: .85rem }
.chip { display: inline-block; width: .8em; height: .8em; margin-right: .4em }
.chip { border: 1px solid #888 } .note { color: #555 }
"""


def write_page(path: Path, report: EvaluateReport, measured: Measured) -> None:
    """Write the page in one step.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    title = f"{report.model} on {_number(report.items)} {_unit(report)}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        _introduction(report),
        "<h2>Scores</h2>",
        _scores(report),
        _classes(report, measured),
        f"<h2>{escape(modes_title(report))}</h2>",
        _modes(report),
        _inception(report),
        _seams(report, measured),
        "<h2>Best, median and worst</h2>",
        *_items(report, measured),
    ]
    body = "\n".join(part for part in parts if part)
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}'
        f"</title><style>{STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )
    write_atomically(path, page.encode())


def _unit(report: EvaluateReport) -> str:
    return "pairs" if report.kind == "pairs" else "squares of a scene"


def _introduction(report: EvaluateReport) -> str:
    """Return what was scored with what, a paragraph a line."""
    against = f", against {report.against}" if report.against else ""
    told = (
        f"model {report.model}{against}, {report.statistics} statistics, "
        f"{_number(report.pixels)} pixels. Intervals: 95 %, bootstrap over {_unit(report)}."
    )
    return "\n".join(map(_note, filter(None, (told, accuracy_note(report), *source_lines(report)))))


def _note(text: str) -> str:
    return f"<p class=note>{escape(escaped(text))}</p>"


def _number(value: int) -> str:
    return f"{value:,}"


def _table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], *, chips: Sequence[str] = ()
) -> str:
    lines = ["<table><tr>", *(f"<th>{escape(head)}</th>" for head in heads), "</tr>"]
    for i, row in enumerate(rows):
        chip = f'<span class=chip style="background:{chips[i]}"></span>' if chips else ""
        cells = [f"{chip if not j else ''}{escape(cell)}" for j, cell in enumerate(row)]
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return "\n".join([*lines, "</table>"])


def _scores(report: EvaluateReport) -> str:
    heads = ["figure", report.model, "interval"]
    if report.against is not None:
        heads += [report.against, f"{report.model} less {report.against}", "paired interval"]
    return _table(heads, score_rows(report))


def _classes(report: EvaluateReport, measured: Measured) -> str:
    rows = class_rows(report)
    if not rows or measured.palette is None:
        return "<p class=note>No classes: the model's card has no palette.</p>"
    heads = ["class", "accuracy", "IoU", "F1"]
    if report.against is not None:
        heads += [f"IoU less that of {report.against}", "paired interval"]
    chips = [format_colour(entry.colour) for entry in measured.palette.classes if entry.is_scored]
    return f"<h2>Classes</h2>\n{_table(heads, rows, chips=chips)}"


def _modes(report: EvaluateReport) -> str:
    names = [name for name in FIGURES if name in report.scores]
    heads = ["mode", *(FIGURES[name][0] for name in names)]
    return _table(heads, mode_rows(report, names))


def _inception(report: EvaluateReport) -> str:
    note = inception_note(report)
    parts = [
        "<h2>Inception</h2>",
        _table(INCEPTION, inception_rows(report)) if report.inception else "",
        _note(note) if note else "",
    ]
    return "\n".join(part for part in parts if part)


def _named(report: EvaluateReport, key: str) -> str:
    return report.model if key == "model" else str(report.against)


def _seams(report: EvaluateReport, measured: Measured) -> str:
    if not report.seams:
        return ""
    keys = list(report.seams)
    rows = [
        [title, *(written(report.seams[key][name], shape) for key in keys)]
        for name, (title, shape) in SEAMS.items()
    ]
    parts = [
        "<h2>Seams</h2>",
        _table(["measure", *(_named(report, key) for key in keys)], rows),
    ]
    if measured.seam_picture is not None:
        parts.append(f'<figure><img alt="where" src="{_embedded(measured.seam_picture)}"></figure>')
    names = ("gradient_ratio", "overlap_rms", "shift_rms", "statistics_rms")
    rows = [
        [str(i), *(written(row[name], SEAMS[name][1]) for name in names)]
        for i, row in enumerate(report.seams["model"]["tile_rows"])
    ]
    parts.append(_table(["tile row", *(SEAMS[name][0] for name in names)], rows))
    return "\n".join(parts)


def _items(report: EvaluateReport, measured: Measured) -> Iterable[str]:
    for kind, items in report.shown.items():
        for item in items:
            caption = f"{kind}: {item['name']}, L1 {written(item['l1'], '{:.2f}')}"
            pictures = "".join(_picture(*shown) for shown in measured.show(item["item"]))
            yield (
                f"<figure class=item><div>{pictures}</div>"
                f"<figcaption>{escape(caption)}</figcaption></figure>"
            )


def _picture(title: str, picture: Any) -> str:  # noqa: ANN401  an array
    return (
        f'<figure><img alt="{escape(title)}" src="{_embedded(png(picture))}">'
        f"<figcaption>{escape(title)}</figcaption></figure>"
    )


def _embedded(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
