"""``geop2p translate``."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from geop2p.cli.options import BandList, NodataValue, device_option, key_values, overwrite_option
from geop2p.cli.output import Output, output_options

if TYPE_CHECKING:
    from geop2p.pipelines.translate import TranslateReport

# the keys of geop2p.blend.BLENDS and geop2p.raster.mapfile.FORMATS; a test compares them, so that
# --help need not import either
BLENDS = ("linear", "cosine", "cut")
FORMATS = ("COG", "GTiff", "PNG", "JPEG")


@click.command(epilog="Example: geop2p translate scene.tif --out map.tif --overlap 96")
@click.argument("scene", type=click.Path())
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(),
    help="The map: .tif (Cloud-Optimised GeoTIFF), .png or .jpg.",
)
@click.option(
    "-m",
    "--model",
    default="streets",
    show_default=True,
    help="A bundled model's name (see geop2p models) or a model file.",
)
@click.option(
    "--overlap",
    default=64,
    show_default=True,
    help="Pixels that neighbouring tiles share, 0 to half a tile.",
)
@click.option(
    "--blend",
    type=click.Choice(BLENDS),
    default="cosine",
    show_default=True,
    help="How tiles fade into each other over the overlap; cut does not fade.",
)
@click.option(
    "-b",
    "--bidx",
    type=BandList(),
    help="Bands of the scene in the model's order, from 1, e.g. 4,3,2. Default: red, green, blue.",
)
@click.option(
    "--stretch",
    multiple=True,
    metavar="card|auto|MIN,MAX|LOW-HIGH%",
    help="Values that become the model's darkest and brightest, for all bands; MIN,MAX may be "
    "repeated, --stretch 0,900 --stretch 0,700 ..., one a band. "
    "Default: the card's, or auto (2-98%) when the scene's type is not the card's.",
)
@click.option(
    "--src-nodata",
    type=NodataValue(),
    help="Nodata value in place of the scene's own, or none. Default: the scene's.",
)
@click.option(
    "--dst-nodata", type=float, help="Nodata value of the map. Default: none, a mask band instead."
)
@click.option(
    "--mask-rule",
    type=click.Choice(("any", "all")),
    default="any",
    show_default=True,
    help="A pixel is valid when any band is, or only when all are.",
)
@device_option
@click.option(
    "--precision",
    type=click.Choice(("auto", "fp32", "bf16")),
    default="auto",
    show_default=True,
    help="Number format of the generator; auto is fp32.",
)
@click.option(
    "--batch-size",
    default="auto",
    show_default=True,
    metavar="auto|N",
    callback=lambda _ctx, param, value: _batch_size(param, value),
    help="Tiles that are translated at a time; auto is 4 on a CPU, 64 on a GPU.",
)
@click.option("--threads", type=click.IntRange(1), help="torch's CPU threads. Default: all cores.")
@click.option(
    "--strip-rows",
    type=click.IntRange(1),
    help="Tile rows that are worked on at a time. Default: enough for 64 tiles.",
)
@click.option(
    "--workers",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Worker processes on this machine; 0 works in threads of this process.",
)
@click.option("--scheduler", metavar="ADDRESS", help="A running Dask scheduler to work on instead.")
@click.option(
    "-f",
    "--format",
    "map_format",
    type=click.Choice(FORMATS),
    help="GDAL driver of the map. Default: by the suffix of --out, COG for .tif.",
)
@click.option(
    "--co",
    "creation_options",
    multiple=True,
    callback=key_values,
    metavar="KEY=VALUE",
    help="GDAL creation option, e.g. COMPRESS=ZSTD; may be repeated.",
)
@click.option(
    "--preview", type=click.Path(), metavar="FILE.png", help="Also draw the map beside its scene."
)
@overwrite_option
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
    clipped = (
        f"\n{report.values_clipped} values outside the stretch were clipped"
        if report.values_clipped
        else ""
    )
    return (
        f"{report.path}: {report.width} x {report.height}, {report.bands} bands, "
        f"{report.tiles} tiles by {report.model}{stretch}{skipped}{resumed}{clipped}\n"
        f"seconds: {stages} (read to blend overlap); peak memory {report.peak_memory_mib:.0f} MiB"
    )


def _batch_size(param: click.Parameter, value: str) -> int | None:
    if value == "auto":
        return None
    if not value.isdigit() or int(value) < 1:
        raise click.BadParameter(f"{value!r} (expected auto or a number from 1)", param=param)
    return int(value)
