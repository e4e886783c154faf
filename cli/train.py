"""``geop2p train``: a generator from pairs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from geop2p.allocator import keep_freed_memory
from geop2p.cli.output import Output, counted, output_options
from geop2p.cli.train_options import (
    card_options,
    network_options,
    recipe_options,
    run_options,
)
from geop2p.redaction import escaped

if TYPE_CHECKING:
    from geop2p.pipelines.train import TrainReport


@click.command(
    epilog="Example: geop2p train --pairs pairs/ --out runs/streets --epochs 20 --epochs-decay 20"
)
@run_options
@network_options
@recipe_options
@card_options
@output_options
@click.pass_context
def train(ctx: click.Context, /, output: Output, **options: Any) -> None:  # noqa: ANN401
    """Train a generator from pairs of scene and map.

    The defaults are the recipe of the pix2pix paper; --recipe names another one, whose values
    options that are given go before. A run that was stopped goes on with --resume RUN, where
    --epochs and --epochs-decay may also be raised.
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
    stopped = "" if report.is_complete else " (stopped early; --resume goes on)"
    done = f"{counted(report.epochs, 'epoch')}, {counted(report.steps, 'step')}"
    lines = [
        f"{escaped(str(report.model_path))}: {done}{stopped}",
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
