"""The options of ``geop2p translate``, in the groups in which its help shows them."""

import click

from geop2p.cli.options import (
    BandList,
    NodataValue,
    device_option,
    in_order,
    key_values,
    overwrite_option,
)

# geop2p.blend.BLEND_NAMES, the keys of geop2p.raster.mapformat.FORMATS, other choices and numbers
# of the library; a test compares them, so that --help need not import it
BLENDS = ("linear", "cosine", "cut", "exact")
FORMATS = ("COG", "GTiff", "PNG", "JPEG")
MAX_PIXELS = 2**35
READ_ERRORS = ("fail", "nodata")


def _batch_size(param: click.Parameter, value: str) -> int | None:
    if value == "auto":
        return None
    if not value.isdigit() or int(value) < 1:
        raise click.BadParameter(f"{value!r} (expected auto or a number from 1)", param=param)
    return int(value)


map_options = in_order(
    click.option(
        "-o",
        "--out",
        type=click.Path(),
        help="The map of one scene: .tif (Cloud-Optimised GeoTIFF), .png or .jpg.",
    ),
    click.option(
        "--out-dir",
        type=click.Path(),
        metavar="DIR",
        help="Instead of --out: a folder for the maps of any number of scenes, which get the "
        "scenes' names.",
    ),
    click.option(
        "--scenes-from",
        type=click.File("rb"),
        metavar="FILE|-",
        help="With --out-dir: a list of more scenes, one a line, in UTF-8; - is standard input.",
    ),
    overwrite_option,
    click.option(
        "--skip-existing",
        is_flag=True,
        help="End with status 99 when the map of the same scene, model and options is there. "
        "With --out-dir this is the default, unless --overwrite is given. A PNG or JPEG does not "
        "say what it was made of and is not skipped: an error, or with --overwrite made anew.",
    ),
    click.option(
        "-f",
        "--format",
        "map_format",
        type=click.Choice(FORMATS),
        help="GDAL driver of the map. Default: by the suffix of --out, COG for .tif.",
    ),
    click.option(
        "--co",
        "creation_options",
        multiple=True,
        callback=key_values,
        metavar="KEY=VALUE",
        help="GDAL creation option, e.g. COMPRESS=ZSTD; may be repeated.",
    ),
    click.option(
        "--dst-nodata",
        type=float,
        help="Nodata value of the map. Default: none, a mask band instead.",
    ),
    click.option(
        "--out-gsd",
        type=click.Choice(("scene", "model")),
        default="scene",
        show_default=True,
        help="With --gsd model: the map on the scene's own grid, or at the model's ground sample "
        "distance.",
    ),
    click.option(
        "--preview",
        type=click.Path(),
        metavar="FILE.png",
        help="Also draw the map beside its scene. With --out-dir this, --classes, --vectors and "
        "--confidence name folders.",
    ),
    click.option(
        "--palette",
        metavar="card|NAME|FILE.json",
        help="Snap the map to the nearest colours of a palette: the model card's, streets, roads, "
        "or one in a file. Classes and vectors go by it too. Default: the map stays as it is "
        "drawn, these go by the card's.",
    ),
    click.option(
        "--classes",
        type=click.Path(),
        metavar="FILE.tif",
        help="Also write the index of each pixel's class, with a colour table; 255 is no data.",
    ),
    click.option(
        "--vectors",
        type=click.Path(),
        metavar="FILE.gpkg",
        help="Also write the classes as polygons, in the map's CRS.",
    ),
    click.option(
        "--min-area",
        type=click.FloatRange(min=0),
        metavar="AREA",
        help="Polygons and holes of --vectors that are smaller go to their largest neighbour; "
        "square metres, or square pixels where the scene has no CRS. Default: 16 pixels.",
    ),
    click.option(
        "--simplify",
        type=click.FloatRange(min=0),
        default=1.5,
        show_default=True,
        metavar="PIXELS",
        help="How far outlines of --vectors are simplified; 0 keeps the pixels' edges.",
    ),
)
"""Where the map goes and what kind of file it is."""

generator_options = in_order(
    click.option(
        "-m",
        "--model",
        default="streets",
        show_default=True,
        help="A bundled model's name (see geop2p models) or a model file.",
    ),
    click.option(
        "--overlap",
        type=int,
        help="Pixels that neighbouring tiles share, 0 to half a tile. "
        "Default: 64, or half a tile if less; with --blend exact what the generator needs.",
    ),
    click.option(
        "--blend",
        type=click.Choice(BLENDS),
        default="cosine",
        show_default=True,
        help="How tiles fade into each other over the overlap; cut does not fade. exact uses only "
        "tiles' centres, so that no seam can be: for ResNet models with batch norm.",
    ),
    click.option(
        "--tta",
        is_flag=True,
        help="Draw each tile and its three mirror images, and take the mean: four times the work.",
    ),
    device_option,
    click.option(
        "--engine",
        type=click.Choice(("auto", "torch", "packed")),
        default="auto",
        show_default=True,
        help="What runs the generator: torch as it is, or with weights laid out once for the CPU; "
        "auto is packed on a CPU, torch on a GPU.",
    ),
    click.option(
        "--precision",
        type=click.Choice(("auto", "fp32", "bf16", "int8")),
        default="auto",
        show_default=True,
        help="Number format of the generator; auto is int8 on a CPU if the model was quantised and "
        "measured to lose next to nothing, else fp32. bf16 is for GPUs; most CPUs are slow at it.",
    ),
    click.option(
        "--batch-size",
        default="auto",
        show_default=True,
        metavar="auto|N",
        callback=lambda _ctx, param, value: _batch_size(param, value),
        help="Tiles that are translated at a time; auto is 4 on a CPU, 64 on a GPU.",
    ),
    click.option(
        "--threads",
        type=click.IntRange(1),
        help="torch's CPU threads. Default: all cores; 4 a worker with --scheduler.",
    ),
)
"""What draws the map, and how."""

confidence_options = in_order(
    click.option(
        "--confidence",
        type=click.Path(),
        metavar="FILE.tif",
        help="Also write how sure the map is: how far overlapping tiles disagree.",
    ),
    click.option(
        "--samples",
        type=click.IntRange(2),
        metavar="N",
        help="Draw each tile N times more, with dropout on, and add their spread to --confidence: "
        "N + 1 times the work. Default: none.",
    ),
    click.option(
        "--sample-seed",
        type=click.IntRange(0),
        metavar="SEED",
        help="Of what is dropped, tile by tile: a number from 0 on, with --samples. Default: 0.",
    ),
)
"""How sure the map is."""

scene_options = in_order(
    click.option(
        "-b",
        "--bidx",
        type=BandList(),
        help="Bands of the scene in the model's order, e.g. 4,3,2. Default: red, green, blue.",
    ),
    click.option(
        "--stretch",
        multiple=True,
        metavar="card|auto|MIN,MAX|LOW-HIGH%",
        help="Values that become the model's darkest and brightest, for all bands; MIN,MAX may be "
        "repeated, --stretch 0,900 --stretch 0,700 ..., one a band. "
        "Default: the card's, or auto (2-98%) when the scene's type is not the card's.",
    ),
    click.option(
        "--gsd",
        type=click.Choice(("scene", "model")),
        default="scene",
        show_default=True,
        help="Ground sample distance at which the generator sees the scene: its own, or, resampled "
        "while it is read, that of the model's card.",
    ),
    click.option(
        "--scene-gsd",
        type=click.FloatRange(min=0, min_open=True),
        metavar="METRES",
        help="The scene's ground sample distance. Default: what its georeference says.",
    ),
    click.option(
        "--src-nodata",
        type=NodataValue(),
        help="Nodata value in place of the scene's own, or none. Default: the scene's.",
    ),
    click.option(
        "--mask-rule",
        type=click.Choice(("any", "all")),
        default="any",
        show_default=True,
        help="A pixel is valid when any band is, or only when all are.",
    ),
    click.option(
        "--max-pixels",
        type=click.IntRange(1),
        default=MAX_PIXELS,
        show_default=True,
        help="Largest scene, height x width in pixels, that is opened.",
    ),
    click.option(
        "--allow-network",
        is_flag=True,
        help="Let SCENE be a URL (https://, s3://) or a /vsi... name of GDAL's.",
    ),
    click.option(
        "--on-read-error",
        type=click.Choice(READ_ERRORS),
        default="fail",
        show_default=True,
        help="What a block of the scene that cannot be decoded does: end the run, or be masked.",
    ),
)
"""How the scene is read."""

work_options = in_order(
    click.option(
        "--strip-rows",
        type=click.IntRange(1),
        help="Tile rows that are worked on at a time. Default: enough for 64 tiles, or more where "
        "they fill the batches of a GPU better.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help="Worker processes on this machine; 0 works in threads of this process.",
    ),
    click.option(
        "--scheduler", metavar="ADDRESS", help="A running Dask scheduler to work on instead."
    ),
    click.option(
        "--tls-ca",
        type=click.Path(),
        metavar="FILE.pem",
        help="Authority that a tls:// scheduler has.",
    ),
    click.option(
        "--tls-cert",
        type=click.Path(),
        metavar="FILE.pem",
        help="Certificate to show to it.",
    ),
    click.option(
        "--tls-key", type=click.Path(), metavar="FILE.pem", help="Private key of --tls-cert."
    ),
    click.option(
        "--worker-timeout",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="A strip that takes longer is given up on that worker and done elsewhere. "
        "Default: by its number of tiles.",
    ),
    click.option(
        "--fresh", is_flag=True, help="Use nothing of what an interrupted run had finished."
    ),
    click.option(
        "--no-space-check",
        "space_check",
        is_flag=True,
        flag_value=False,
        default=True,
        help="Start even where the disk has less room than the run is estimated to need.",
    ),
)
"""Where and how the work is done."""
