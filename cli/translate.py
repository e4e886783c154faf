"""``geop2p translate``."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from geop2p.cli.output import Output, output_options
from geop2p.cli.translate_options import (
    confidence_options,
    generator_options,
    map_options,
    scene_options,
    work_options,
)
from geop2p.redaction import escaped

if TYPE_CHECKING:
    from geop2p.pipelines.translation_report import TranslateReport


@click.command(epilog="Example: geop2p translate scene.tif --out map.tif --overlap 96")
@click.argument("scene", type=click.Path())
@map_options
@generator_options
@confidence_options
@scene_options
@work_options
@output_options
def translate(
    scene: str,
    output: Output,
    *,
    map_format: str | None,
    stretch: tuple[str, ...],
    **options: Any,  # noqa: ANN401  each is declared above
) -> None:
    """Turn SCENE into a map on the same pixel grid.

    SCENE is any raster that GDAL reads from a file: GeoTIFF, COG, VRT, JPEG 2000, PNG, JPEG ...
    The map has the scene's size, georeference and mask. It appears complete, or not at all.
    """
    from geop2p.pipelines.translate import translate as run

    with output.progress() as on_progress:
        report = run(
            scene, format=map_format, stretch=stretch or None, on_progress=on_progress, **options
        )
    output.result(asdict(report), text=_summary(report))


def _summary(report: "TranslateReport") -> str:
    stages = ", ".join(f"{name} {value:.1f}" for name, value in report.seconds.items())
    stretch = f", stretch {report.stretch}"
    skipped = f", {report.tiles_skipped} without data skipped" if report.tiles_skipped else ""
    resumed = f", {report.strips_resumed} strips resumed" if report.strips_resumed else ""
    seen = "" if report.resampled is None else ", seen at {1} x {0}".format(*report.resampled)
    unreadable = (
        f", {report.blocks_unreadable} blocks that cannot be decoded masked"
        if report.blocks_unreadable
        else ""
    )
    clipped = (
        f"\n{report.values_clipped} values outside the stretch were clipped"
        if report.values_clipped
        else ""
    )
    return (
        f"{escaped(report.path)}: {report.width} x {report.height}, {report.bands} bands, "
        f"{report.tiles} tiles by {report.model}{seen}{stretch}{skipped}{resumed}"
        f"{unreadable}{clipped}\n{_sureness(report)}"
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
