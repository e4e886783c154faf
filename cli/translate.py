"""``geop2p translate``."""

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from geop2p.cli.output import Output, counted, output_options
from geop2p.cli.translate_options import (
    confidence_options,
    generator_options,
    map_options,
    scene_options,
    work_options,
)
from geop2p.errors import NothingToDoError, SceneError
from geop2p.redaction import escaped

if TYPE_CHECKING:
    from geop2p.pipelines.translate_many import SceneOutcome
    from geop2p.pipelines.translation_report import TranslateReport


@click.command(epilog="Example: geop2p translate scene.tif --out map.tif --overlap 96")
@click.argument("scenes", metavar="SCENE...", nargs=-1, type=click.Path(readable=False))
@map_options
@generator_options
@confidence_options
@scene_options
@work_options
@output_options
def translate(
    scenes: tuple[str, ...],
    output: Output,
    *,
    out: str | None,
    out_dir: str | None,
    scenes_from: BinaryIO | None,
    map_format: str | None,
    stretch: tuple[str, ...],
    **options: Any,  # noqa: ANN401  each is declared above
) -> None:
    """Turn SCENE into a map on the same pixel grid; with --out-dir, any number of scenes.

    SCENE is any raster that GDAL reads from a file: GeoTIFF, COG, VRT, JPEG 2000, PNG, JPEG ...
    The map has the scene's size, georeference and mask. It appears complete, or not at all.

    Of several scenes, one that fails stops no other: a line on stderr names it, and the exit status
    is that of the first. A map (.tif) that is there already is skipped, so the same command goes on
    where it was interrupted.
    """
    names = [*scenes, *([] if scenes_from is None else _listed(scenes_from))]
    _check_usage(names, out=out, out_dir=out_dir, is_listed=scenes_from is not None)
    options |= {"format": map_format, "stretch": stretch or None}
    if out_dir is not None:
        raise click.exceptions.Exit(_translate_many(names, out_dir, output, options=options))
    from geop2p.pipelines.translate import translate as run

    with output.progress() as on_progress:
        report = run(names[0], str(out), on_progress=on_progress, **options)
    output.result(asdict(report), text=_summary(report))


def _listed(file: BinaryIO) -> list[str]:
    """Return the scenes of a list: its lines without what surrounds them, and no empty ones."""
    content = file.read()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        found = f"line {content[: exc.start].count(bytes([10])) + 1} is no UTF-8 text"
    else:
        if "\0" not in text:
            return [line.strip() for line in text.split("\n") if line.strip()]
        found = "holds bytes that are no text"
    raise SceneError(
        f"{file.name}: {found} (--scenes-from expects a list of scenes in UTF-8, one a line; give "
        "a scene itself without it)"
    )


def _check_usage(
    scenes: list[str], *, out: str | None, out_dir: str | None, is_listed: bool
) -> None:
    if not scenes:
        raise click.UsageError("no scene (give one, or several with --out-dir)")
    if out is None and out_dir is None:
        raise click.UsageError("no output (give --out FILE, or --out-dir DIR for several scenes)")
    if out is not None and out_dir is not None:
        raise click.UsageError("--out and --out-dir (give one of them)")
    if out is not None and (len(scenes) > 1 or is_listed):
        raise click.UsageError(
            f"--out {out} and {len(scenes)} scenes (give --out-dir DIR in place of --out)"
        )


def _translate_many(
    scenes: list[str], out_dir: str, output: Output, *, options: dict[str, Any]
) -> int:
    """Translate scenes into a folder, tell of each; return the exit status."""
    from geop2p.pipelines.translate_many import translate_many

    outcomes, statuses = [], []
    with output.progress() as on_progress:
        for outcome in translate_many(scenes, out_dir, on_progress=on_progress, **options):
            outcomes.append(outcome)
            if outcome.report is not None:
                output.text(_summary(outcome.report))
            elif outcome.state == "skipped":
                output.text(f"{escaped(outcome.path)}: is there already")
            elif outcome.error is not None:
                output.failure(outcome.error)
                statuses.append(outcome.error.exit_status)
    count = Counter(outcome.state for outcome in outcomes)
    output.result(
        [_facts(outcome) for outcome in outcomes],
        text=f"{count['translated']} translated, {count['skipped']} skipped, "
        f"{count['failed']} failed",
    )
    is_nothing_new = count["skipped"] == len(outcomes)
    return statuses[0] if statuses else NothingToDoError.exit_status * is_nothing_new


def _facts(outcome: "SceneOutcome") -> dict[str, Any]:
    facts = {"scene": outcome.scene, "state": outcome.state, "path": outcome.path}
    if outcome.report is not None:
        return facts | asdict(outcome.report)
    if outcome.error is None:
        return facts
    return facts | {"error": str(outcome.error), "exit_status": outcome.error.exit_status}


def _summary(report: "TranslateReport") -> str:
    stages = ", ".join(f"{name} {value:.1f}" for name, value in report.seconds.items())
    stretch = f", stretch {report.stretch}"
    skipped = f", {report.tiles_skipped} without data skipped" if report.tiles_skipped else ""
    resumed = (
        f", {counted(report.strips_resumed, 'strip')} resumed" if report.strips_resumed else ""
    )
    seen = "" if report.resampled is None else ", seen at {1} x {0}".format(*report.resampled)
    unreadable = (
        f", {counted(report.blocks_unreadable, 'block')} that cannot be decoded masked"
        if report.blocks_unreadable
        else ""
    )
    clipped = (
        f"\n{report.values_clipped} values outside the stretch were clipped"
        if report.values_clipped
        else ""
    )
    beside = [name for name in (report.classes, report.vectors) if name is not None]
    data = f"\nclasses: {', '.join(map(escaped, beside))}" if beside else ""
    outlines = "" if report.vectors is None else f", {counted(report.polygons, 'polygon')}"
    bands, tiles = counted(report.bands, "band"), counted(report.tiles, "tile")
    return (
        f"{escaped(report.path)}: {report.width} x {report.height}, {bands}, {tiles} "
        f"by {report.model}{seen}{stretch}{skipped}{resumed}"
        f"{unreadable}{clipped}{data}{outlines}\n{_sureness(report)}"
        f"seconds: {stages} (read and keep overlap with the rest); "
        f"peak memory {report.peak_memory_mib:.0f} MiB"
    )


def _sureness(report: "TranslateReport") -> str:
    """Return the line of the confidence raster, where there is one."""
    if report.confidence is None:
        return ""
    figures = [
        f"{name} {value:.3g}"
        for name, value in (
            ("overlapping tiles disagree by", report.disagreement),
            ("samples spread by", report.spread),
        )
        if value is not None
    ]
    said = f": {', '.join(figures)} (root mean square)" if figures else ""
    return f"{escaped(report.confidence)}{said}\n"
