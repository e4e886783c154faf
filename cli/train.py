"""``geop2p train``: a generator from pairs."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from geop2p.allocator import keep_freed_memory
from geop2p.cli.options import device_option, in_order
from geop2p.cli.output import Output, output_options
from geop2p.redaction import escaped

if TYPE_CHECKING:
    from geop2p.pipelines.train import TrainReport

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)

RUN_OPTIONS = (
    click.option("--pairs", type=FOLDER, help="Folder of the pairs. Default: the resumed run's."),
    click.option(
        "--out", type=FOLDER, help="Folder of the run: checkpoints, log, pictures, model."
    ),
    click.option("--resume", type=FOLDER, help="Go on with this run from its last checkpoint."),
    click.option(
        "--direction",
        type=click.Choice(["scene-to-map", "map-to-scene"]),
        default="scene-to-map",
        show_default=True,
        help="What is generated from what.",
    ),
    device_option,
    click.option(
        "--workers",
        type=click.IntRange(0),
        help="Threads that load pairs ahead. Default: 0 on a CPU, 4 for a GPU.",
    ),
    click.option(
        "--compile/--no-compile",
        "compile_networks",
        default=False,
        show_default=True,
        help="Let torch compile both networks first: minutes that long runs on a GPU gain back.",
    ),
    click.option(
        "--save-every",
        type=click.IntRange(1),
        default=10,
        show_default=True,
        help="Epochs between checkpoints, each with a grid of pictures.",
    ),
    click.option(
        "--save-minutes",
        type=click.FloatRange(0),
        default=10.0,
        show_default=True,
        help="Minutes between checkpoints within epochs; 0: none.",
    ),
    click.option(
        "--max-minutes",
        type=click.FloatRange(0),
        default=0.0,
        show_default=True,
        help="Minutes after which to stop and finish the model as it is; 0: never.",
    ),
)

RECIPE_OPTIONS = (
    click.option(
        "--epochs",
        type=click.IntRange(0),
        default=100,
        show_default=True,
        help="Epochs at the full rate.",
    ),
    click.option(
        "--epochs-decay",
        type=click.IntRange(0),
        default=100,
        show_default=True,
        help="Epochs after these, in which the rate falls to zero.",
    ),
    click.option(
        "--batch-size",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Pairs in a step.",
    ),
    click.option(
        "--lr",
        type=click.FloatRange(0, min_open=True),
        default=2e-4,
        show_default=True,
        help="Adam's rate.",
    ),
    click.option(
        "--lambda-l1",
        type=click.FloatRange(0),
        default=100.0,
        show_default=True,
        help="Weight of L1 beside the adversarial loss.",
    ),
    click.option(
        "--gan-mode",
        type=click.Choice(["vanilla", "lsgan"]),
        default="vanilla",
        show_default=True,
        help="Adversarial loss: cross-entropy, or least squares.",
    ),
    click.option(
        "--augment",
        type=click.Choice(["none", "paper", "dihedral"]),
        default="paper",
        show_default=True,
        help="Centre; random place, mirrored or not; also turned by quarters.",
    ),
    click.option(
        "--load-size",
        type=click.IntRange(0),
        default=286,
        show_default=True,
        help="Side in pixels that pairs are resized to; 0: their own.",
    ),
    click.option(
        "--crop-size",
        type=click.IntRange(1),
        default=256,
        show_default=True,
        help="Side in pixels of the view taken from that: the model's tile.",
    ),
    click.option(
        "--freeze-norm-epochs",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help="Last epochs, trained with the norm statistics that translation uses.",
    ),
    click.option(
        "--seed",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help="Of weights, order, views and dropout.",
    ),
    click.option(
        "--amp/--no-amp",
        default=False,
        show_default=True,
        help="Train in bfloat16 where that is precise enough: quicker on a GPU.",
    ),
)

NETWORK_OPTIONS = (
    click.option(
        "--arch",
        type=click.Choice(["unet_256", "unet_128", "resnet_9blocks", "resnet_6blocks"]),
        default="unet_256",
        show_default=True,
        help="Generator.",
    ),
    click.option(
        "--ngf",
        type=click.IntRange(1),
        default=64,
        show_default=True,
        help="Channels of the generator's first layer.",
    ),
    click.option(
        "--max-channels",
        type=click.IntRange(1),
        help="No layer of the generator has more channels. Default: the paper's 8 x ngf.",
    ),
    click.option(
        "--norm",
        type=click.Choice(["batch", "instance"]),
        default="batch",
        show_default=True,
        help="Norm layers of both networks.",
    ),
    click.option(
        "--discriminator",
        type=click.Choice(["patchgan", "pixel"]),
        default="patchgan",
        show_default=True,
        help="Judge of overlapping patches, or of single pixels.",
    ),
    click.option(
        "--ndf",
        type=click.IntRange(1),
        default=64,
        show_default=True,
        help="Channels of the discriminator's first layer.",
    ),
    click.option(
        "--n-layers",
        type=click.IntRange(1),
        default=3,
        show_default=True,
        help="Strided layers of the patchgan; 3 see 70x70 pixels.",
    ),
)

CARD_OPTIONS = (
    click.option(
        "--card",
        type=FILE,
        help="JSON file with description, data, licence, limits, gsd_m, palette ... for the card.",
    ),
    click.option("--name", help="Name of the model. Default: the name of the run's folder."),
    click.option(
        "--palette",
        metavar="FILE|NAME",
        help="Classes of the map's colours: a JSON file or a shipped name (streets, roads).",
    ),
    click.option(
        "--gsd",
        "gsd_m",
        type=click.FloatRange(0, min_open=True),
        help="Ground sample distance of the pairs in metres.",
    ),
)


@click.command(
    epilog="Example: geop2p train --pairs pairs/ --out runs/streets --epochs 20 --epochs-decay 20"
)
@in_order(*RUN_OPTIONS, *NETWORK_OPTIONS, *RECIPE_OPTIONS, *CARD_OPTIONS)
@output_options
@click.pass_context
def train(ctx: click.Context, /, output: Output, **options: Any) -> None:  # noqa: ANN401
    """Train a generator from pairs of scene and map.

    The defaults are the recipe of the pix2pix paper. A run that was stopped goes on with --resume
    RUN, where --epochs and --epochs-decay may also be raised.
    """
    keep_freed_memory()
    from geop2p.pipelines.train import train as train_generator

    given = {name: value for name, value in options.items() if _is_given(ctx, name)}
    pairs, out = given.pop("pairs", None), given.pop("out", None)
    with output.progress() as on_progress:
        report = train_generator(pairs, out, on_progress=on_progress, **given)
    output.result(report.to_dict(), text=_text(report))


def _is_given(ctx: click.Context, name: str) -> bool:
    """Return whether the user gave the option: a resumed run keeps what was not given."""
    return ctx.get_parameter_source(name) is not ParameterSource.DEFAULT


def _text(report: "TrainReport") -> str:
    stopped = "" if report.is_complete else " (stopped by --max-minutes; --resume goes on)"
    lines = [
        f"{escaped(str(report.model_path))}: {report.epochs} epochs, {report.steps} steps{stopped}",
        f"time: {report.seconds / 60:.1f} minutes",
        f"pairs: {report.train_pairs} train, {report.val_pairs} validate",
    ]
    for scores in report.scores.values():
        lines += [_score_line(mode, scores[mode]) for mode in scores if mode != "pairs"]
    return "\n".join([*lines, *report.notes])


def _score_line(mode: str, scores: Mapping[str, Any]) -> str:
    line = (
        f"{mode}: L1 {scores['l1']:.2f}, PSNR {scores['psnr_db']:.2f} dB, SSIM {scores['ssim']:.3f}"
    )
    return f"{line}, accuracy {scores['accuracy']:.3f}" if "accuracy" in scores else line
