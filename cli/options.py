"""Options and types of values that several commands share."""

from collections.abc import Callable
from typing import Any

import click

Command = Callable[..., None]
Option = Callable[[Command], Command]


class BandList(click.ParamType[tuple[int, ...]]):
    """``4,3,2`` or ``4 3 2``: bands counted from 1, as ``rio --bidx`` takes them."""

    name = "bands"

    def convert(
        self,
        value: Any,  # noqa: ANN401  click hands over whatever it has
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[int, ...]:
        """Return the bands as a tuple."""
        if isinstance(value, tuple):
            return value
        try:
            bands = tuple(int(part) for part in value.replace(",", " ").split())
        except ValueError:
            bands = ()
        if not bands or min(bands) < 1:
            self.fail(f"{value!r} is no list of bands (expected e.g. 4,3,2, from 1)", param, ctx)
        return bands


class NodataValue(click.ParamType[float | str]):
    """A number, or ``none``."""

    name = "value"

    def convert(
        self,
        value: Any,  # noqa: ANN401
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float | str:
        """Return the number, or the word none."""
        try:
            return "none" if value == "none" else float(value)
        except ValueError:
            self.fail(f"{value!r} is no number and not 'none'", param, ctx)


def key_values(
    ctx: click.Context,  # noqa: ARG001  the signature of click's callbacks
    param: click.Parameter,
    values: tuple[str, ...],
) -> dict[str, str]:
    """Turn ``KEY=VALUE`` texts into a dict, keys in capitals."""
    pairs = {}
    for text in values:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{text!r} (expected KEY=VALUE)", param=param)
        pairs[key.upper()] = value
    return pairs


def in_order(*options: Option) -> Option:
    """Return one decorator for several options, which help shows in this order."""

    def add(command: Command) -> Command:
        for option in reversed(options):  # the decorator next to the function comes last in help
            command = option(command)
        return command

    return add


def device_option(command: Command) -> Command:
    """Add ``--device``."""
    return click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="auto|cpu|cuda|cuda:N",
        help="Where the networks run; auto is the GPU where there is one.",
    )(command)


def overwrite_option(command: Command) -> Command:
    """Add ``--overwrite``."""
    return click.option(
        "--overwrite", is_flag=True, help="Replace an existing output. Default: it is an error."
    )(command)
