"""``geop2p quantize``."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from geop2p.cli.options import BandList, overwrite_option
from geop2p.cli.output import Output, counted, output_options
from geop2p.cli.prepare import PathListCommand
from geop2p.redaction import escaped

if TYPE_CHECKING:
    from geop2p.pipelines.quantize import QuantizeReport


class QuantizeCommand(PathListCommand):
    """Its options for scenes take every path up to the next option."""

    lists = ("--calibrate", "--scene", "--truth")


@click.command(
    cls=QuantizeCommand,
    epilog="Example: geop2p quantize streets --calibrate scene.tif --out streets8.safetensors",
)
@click.argument("model")
@click.option(
    "--calibrate",
    metavar="SCENE...",
    multiple=True,
    required=True,
    help="Scenes that the ranges are taken from; like those that the model trained on.",
)
@click.option("--out", metavar="FILE", required=True, help="The new model, .safetensors.")
@click.option(
    "--scene",
    metavar="SCENE...",
    multiple=True,
    help="Scenes to measure on, whole, in float32 and int8; others than those of --calibrate. "
    "Default: nothing is measured, and --precision auto does not take int8.",
)
@click.option(
    "--truth",
    metavar="RASTER...",
    multiple=True,
    help="Their true maps or class indexes, in their order. Default: maps are compared with each "
    "other alone.",
)
@click.option(
    "--tiles", default=16, show_default=True, help="Tiles of each calibration scene, at most."
)
@click.option(
    "-b", "--bidx", type=BandList(), help="Bands of the scenes, from 1. Default: as translate."
)
@click.option(
    "--stretch",
    multiple=True,
    metavar="STRETCH",
    help="Of the scenes, as for translate. Default: the model's.",
)
@click.option(
    "--threads", type=click.IntRange(1), help="torch's CPU threads for the maps. Default: all."
)
@overwrite_option
@output_options
def quantize(
    model: str,
    output: Output,
    *,
    out: str,
    calibrate: tuple[str, ...],
    stretch: tuple[str, ...],
    **options: Any,  # noqa: ANN401  each is declared above
) -> None:
    """Prepare MODEL, a file or a bundled model's name, for --precision int8.

    The new file has the same weights; its card also has the ranges that 8-bit numbers span, and,
    with --scene and --truth, what int8 loses against float32. At most 0.1 dB of PSNR and 0.3 points
    of accuracy lost, on scenes that it was not calibrated with, and --precision auto takes int8 on
    a CPU.
    """
    from geop2p.pipelines.quantize import quantize as run

    with output.progress() as on_progress:
        report = run(
            model,
            out,
            calibrate=calibrate,
            stretch=stretch or None,
            on_progress=on_progress,
            **options,
        )
    output.result(asdict(report), text=_summary(report))


def _summary(report: "QuantizeReport") -> str:
    lines = [
        f"{escaped(report.path)}: ranges of {counted(report.tiles, 'tile')} by {report.method}"
    ]
    if report.psnr_db is not None:
        lines.append(f"int8 against float32: PSNR {report.psnr_db:.2f} dB")
    if report.psnr_loss_db is not None:
        accuracy = report.accuracy_loss
        classes = "" if accuracy is None else f", {_lost(accuracy, '.3f')} points of accuracy"
        psnr = _lost(report.psnr_loss_db, ".4f")
        lines.append(f"against the truth int8 {psnr} dB of PSNR{classes}")
    if report.accuracy_loss is None:
        lines.append(
            "what int8 loses was not measured: give --scene and --truth, or translate with "
            "--precision int8"
        )
    if report.not_held_back:
        names = ", ".join(map(escaped, report.not_held_back))
        lines.append(
            f"measured on what it was calibrated with ({names}), which does not count: give other "
            "scenes to --scene"
        )
    verdict = "takes" if report.is_within_limits else "does not take"
    lines.append(f"--precision auto {verdict} int8 on a CPU; {report.seconds:.1f} s")
    return "\n".join(lines)


def _lost(loss: float, form: str) -> str:
    return f"{'gains' if loss < 0 else 'loses'} {abs(loss):{form}}"
