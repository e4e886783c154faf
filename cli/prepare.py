"""``geop2p prepare``: cut training pairs from scenes and the maps of the same ground."""

from dataclasses import asdict
from typing import Any, ClassVar

import click

from geop2p.cli.options import BandList
from geop2p.cli.output import Output, output_options
from geop2p.redaction import escaped

LISTS = ("--target", "--val")
"""Options that take every path up to the next option."""


class PathListCommand(click.Command):
    """A command whose `lists` take several paths: ``--target a b`` is ``--target a --target b``."""

    lists: ClassVar[tuple[str, ...]] = LISTS

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat such an option before each of its paths, then parse as usual."""
        spread: list[str] = []
        current = ""
        for arg in args:
            if arg.startswith("-"):
                current = arg if arg in self.lists else ""
            elif current and spread[-1] != current:
                spread.append(current)
            spread.append(arg)
        return super().parse_args(ctx, spread)


@click.command(
    cls=PathListCommand,
    epilog="Example: geop2p prepare scene.tif --target labels.tif --palette streets --out pairs",
)
@click.argument("scenes", metavar="SCENE...", nargs=-1, required=True)
@click.option(
    "--target",
    "targets",
    metavar="RASTER...",
    multiple=True,
    required=True,
    help="Maps, class indexes or vectors (.geojson, .gpkg, .fgb, .shp) of the scenes' ground: one "
    "a scene, in their order; one vector file may serve all.",
)
@click.option("--out", metavar="DIR", required=True, help="Folder for the pairs; must be new.")
@click.option(
    "--palette",
    metavar="FILE|NAME",
    help="Draw targets that hold class indexes: a JSON file or a shipped name (streets, roads). "
    "Default: targets are pictures.",
)
@click.option(
    "--style",
    metavar="FILE|NAME",
    help="Draw targets that hold vectors: a JSON file or a shipped name (buildings).",
)
@click.option("--size", default=286, show_default=True, help="Side of a patch, in pixels.")
@click.option(
    "--stride", type=int, help="From one patch to the next, in pixels. Default: the size."
)
@click.option(
    "--layout",
    type=click.Choice(["side-by-side", "folders"]),
    default="side-by-side",
    show_default=True,
    help="train/ val/ with both halves in one picture, or trainA/ trainB/ valA/ valB/.",
)
@click.option(
    "--quality", type=int, help="Write scenes as JPEG of this quality, 1-100. Default: PNG."
)
@click.option(
    "--max-nodata",
    default=0.0,
    show_default=True,
    help="Largest share of a patch without data, 0 to 1.",
)
@click.option(
    "--min-variety",
    default=0.01,
    show_default=True,
    help="Smallest share of a patch, 0 to 1, that differs from its most common colour, in scene "
    "and map.",
)
@click.option(
    "--val-fraction",
    default=0.1,
    show_default=True,
    help="Share of each area, 0 to 1, that validates: one block of it.",
)
@click.option(
    "--val",
    metavar="SCENE...",
    multiple=True,
    help="Scenes that validate, whole; the others train.",
)
@click.option(
    "-b",
    "--bidx",
    "bands",
    type=BandList(),
    help="Bands of the scenes, from 1, e.g. 4,3,2. Default: red, green, blue, then the others.",
)
@click.option("--overwrite", is_flag=True, help="Replace a folder that an earlier run made.")
@output_options
def prepare(
    scenes: tuple[str, ...],
    output: Output,
    *,
    targets: tuple[str, ...],
    out: str,
    **options: Any,  # noqa: ANN401  each is declared above
) -> None:
    """Cut training pairs from SCENE... and the maps, labels or vectors of the same ground.

    The split into train and val goes by area: no ground is in both. Give the scenes first, then the
    options.
    """
    from geop2p.pipelines.prepare import prepare as run

    with output.progress() as on_progress:
        report = run(scenes, targets, out, on_progress=on_progress, **options)
    left_out = ", ".join(f"{count} {reason}" for reason, count in report.left_out.items())
    output.result(
        asdict(report),
        text=f"{escaped(str(report.out))}: {report.train} pairs train, {report.val} validate "
        f"(left out: {left_out}) in {report.seconds:.1f} s",
    )
