"""``geop2p check``."""

from dataclasses import asdict

import click

from geop2p.cli.output import Output, counted, output_options
from geop2p.redaction import escaped

DECODED = "every pixel decodes; a picture has no tags"
PICTURE = f"{DECODED}, so nothing else was checked"
COMPARED_PICTURE = f"{DECODED} to check"


@click.command(epilog="Example: geop2p check map.tif --scene scene.tif")
@click.argument("map_path", metavar="MAP", type=click.Path(readable=False))
@click.option(
    "--scene",
    type=click.Path(),
    metavar="SCENE",
    help="Compare georeference and mask with this scene, too. Default: the map alone.",
)
@output_options
def check(map_path: str, *, scene: str | None, output: Output) -> None:
    """Verify that MAP is whole and is what its tags say; exit status 9 when it is not.

    Every block of the map, its mask and its overviews is decoded, pixels are compared with their
    checksum, the layout of a Cloud-Optimised GeoTIFF and the tags are checked. A PNG or JPEG has
    neither checksum nor tags: it is decoded, no more.
    """
    from geop2p.pipelines.check import check as run

    report = run(map_path, scene=scene)
    against = ""
    if scene is not None:
        where = "on" if report.model is not None else "of"
        at = ", at the model's ground sample distance" if report.is_at_model_gsd else ""
        against = f", {where} the {report.compared} of {escaped(scene)}{at}"
    size = f"{report.width} x {report.height}, {counted(report.bands, 'band')}"
    picture = PICTURE if scene is None else COMPARED_PICTURE
    verdict = "good" if report.model is not None else picture
    text = f"{escaped(map_path)}: {verdict}: {size}{against}"
    output.result(asdict(report), text=text)
