"""``geop2p evaluate``."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from geop2p.cli.options import in_order, overwrite_option
from geop2p.cli.output import Output, output_options
from geop2p.cli.translate_options import generator_options, scene_options
from geop2p.redaction import escaped

if TYPE_CHECKING:
    from geop2p.pipelines.evaluation_report import EvaluateReport

# the choices and numbers of the library; a test compares them
SPLITS = ("val", "train", "all")
STATISTICS = ("card", "running", "tile", "training")
DRAWS = 1000

MODE_HEADS = {
    "l1": "L1",
    "psnr_db": "PSNR, dB",
    "ssim": "SSIM",
    "accuracy": "accuracy",
    "mean_iou": "mean IoU",
}
"""Figures of the table of modes; the page and --json have all."""

what_options = in_order(
    click.option("--pairs", type=click.Path(), metavar="DIR", help="Score the pairs of a folder."),
    click.option("--scene", type=click.Path(), help="Score the map of a whole scene."),
    click.option(
        "--truth",
        type=click.Path(),
        metavar="FILE",
        help="The scene's true map: a picture, class indexes, or vectors with --style.",
    ),
    click.option(
        "--against", metavar="MODEL", help="Another model, compared pair by pair or place by place."
    ),
    click.option(
        "--palette",
        metavar="FILE|NAME",
        help="Classes, by colour or by index. Default: those of the model's card.",
    ),
    click.option("--style", metavar="FILE|NAME", help="How a truth of vectors is drawn."),
)

pair_options = in_order(
    click.option(
        "--split",
        type=click.Choice(SPLITS),
        default="val",
        show_default=True,
        help="Which of the pairs.",
    ),
    click.option(
        "--direction",
        type=click.Choice(("scene-to-map", "map-to-scene")),
        help="What is generated from what. Default: as the model's card says, else scene-to-map.",
    ),
    click.option(
        "--load-size",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help="Side in pixels that pairs are resized to, bicubic; 0: their own.",
    ),
)

measure_options = in_order(
    click.option(
        "--statistics",
        type=click.Choice(STATISTICS),
        default="card",
        show_default=True,
        help="Of the norm layers: the card's, kept, each tile's own, or, for pairs, also dropout.",
    ),
    click.option(
        "--inception",
        type=click.Path(),
        metavar="FILE.pt",
        help="TorchScript Inception network, for FID, KID and Inception Score. "
        "Default: these are left out.",
    ),
    click.option(
        "--no-seams",
        "seams",
        is_flag=True,
        flag_value=False,
        default=True,
        help="Leave out seams: of a scene they take twice the time of its map.",
    ),
    click.option(
        "--no-modes",
        "modes",
        is_flag=True,
        flag_value=False,
        default=True,
        help="Leave out the other statistics of the norm layers: they take another map.",
    ),
    click.option(
        "--draws",
        type=click.IntRange(1),
        default=DRAWS,
        show_default=True,
        help="Samples of the bootstrap.",
    ),
    click.option(
        "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of these samples."
    ),
    click.option(
        "--map", "map_path", type=click.Path(), metavar="FILE.tif", help="Keep the scene's map."
    ),
    click.option(
        "--page", type=click.Path(), metavar="FILE.html", help="Write a page with pictures."
    ),
    overwrite_option,
)


@click.command(
    epilog="Example: geop2p evaluate --scene scene.tif --truth labels.tif --page scores.html"
)
@what_options
@generator_options
@pair_options
@measure_options
@scene_options
@output_options
@click.pass_context
def evaluate(ctx: click.Context, /, output: Output, **options: Any) -> None:  # noqa: ANN401
    """Score the maps of a model against the truth, on pairs or on a whole scene.

    A scene is translated as `geop2p translate` does it, tile by tile, so seams count. Options that
    say how a map is drawn, or a scene read, are for scenes.
    """
    from geop2p.pipelines.evaluate import evaluate as run

    given = {name: value for name, value in options.items() if _is_given(ctx, name)}
    with output.progress() as on_progress:
        report = run(on_progress=on_progress, **given)
    output.result(asdict(report), text=_text(report))


def _is_given(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is not ParameterSource.DEFAULT


def _text(report: "EvaluateReport") -> str:
    from geop2p.pipelines import evaluation_tables as tables

    heads = ["", report.model, "95% interval"]
    class_heads = ["class", "accuracy", "IoU", "F1"]
    if report.against is not None:
        heads += [report.against, "difference", "95% interval"]
        class_heads += ["IoU difference", "95% interval"]
    unit = "pairs" if report.kind == "pairs" else "squares of 256 pixels"
    name = escaped(report.model)
    lines = [
        f"{name}: {report.items} {unit}, {report.pixels} pixels, {report.statistics} statistics",
        *filter(None, [tables.accuracy_note(report)]),
        *map(escaped, tables.source_lines(report, digits=12)),
        "",
    ]
    lines += _columns([heads, *tables.score_rows(report)])
    if report.scores.get("classes"):
        lines += ["", *_columns([class_heads, *tables.class_rows(report)])]
    lines += ["", *_mode_lines(report)]
    for key, seams in report.seams.items():
        lines += ["", f"seams of {report.model if key == 'model' else report.against}"]
        lines += _columns(
            [
                [title, tables.written(seams[name], shape)]
                for name, (title, shape) in tables.SEAMS.items()
            ]
        )
    if report.inception:
        lines += ["", "Inception", *_columns([tables.INCEPTION, *tables.inception_rows(report)])]
    note = tables.inception_note(report)
    lines += ["", note] if note else []
    kept = [f"kept: {escaped(path)}" for path in (report.map_path, report.page) if path]
    return "\n".join([*lines, *([""] if kept else []), *kept])


def _mode_lines(report: "EvaluateReport") -> list[str]:
    """Return the few figures that modes are looked at by, and what one colour everywhere has."""
    from geop2p.pipelines import evaluation_tables as tables

    heads = {name: head for name, head in MODE_HEADS.items() if name in report.scores}
    return [
        tables.modes_title(report),
        *_columns([["", *heads.values()], *tables.mode_rows(report, [*heads])]),
    ]


def _columns(rows: list[list[str]]) -> list[str]:
    """Return lines with the first column to the left, the others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if i else escaped(cell).ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
