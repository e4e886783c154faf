"""What the user sees: results on stdout, progress and warnings on stderr."""

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import click

from geop2p.progress import OnProgress, Progress, ignore_progress
from geop2p.redaction import escaped, escaped_lines, redacted, redacted_facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """How a command speaks.

    Parameters
    ----------
    is_quiet : bool
        No progress; warnings and errors are still told.
    is_json : bool
        The result is one JSON object on stdout instead of text.
    """

    is_quiet: bool = False
    is_json: bool = False

    def result(self, facts: Mapping[str, Any] | Sequence[Any], *, text: str) -> None:
        """Tell the result: ``facts`` as one line of JSON, or ``text`` for people, on stdout.

        Secrets of URLs are told in neither. Names in ``text`` must be `escaped` where a line break
        in one could pass for a line of the result.
        """
        if self.is_json:
            plain = json.loads(json.dumps(facts, default=str))
            click.echo(json.dumps(redacted_facts(plain), sort_keys=True))
        else:
            self.text(text)

    def text(self, text: str) -> None:
        """Tell a part of the result that is there already, on stdout; nothing with JSON."""
        if not self.is_json:
            click.echo(escaped_lines(redacted(text)))

    def failure(self, error: Exception) -> None:
        """Tell in one line on stderr why a part of the work failed."""
        click.echo(f"geop2p: error: {escaped(redacted(' '.join(str(error).split())))}", err=True)

    @contextmanager
    def progress(self) -> Iterator[OnProgress]:
        """Yield what shows progress on stderr: a bar on a terminal, else a line each 10 percent."""
        if self.is_quiet:
            yield ignore_progress
        elif sys.stderr.isatty():
            with _progress_bar() as show:
                yield show
        else:
            yield _percent_lines()


def counted(count: int, what: str) -> str:
    """Return ``1 band``, ``3 bands``."""
    return f"{count} {what}{'s' * (count != 1)}"


def output_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--quiet``, ``--json`` and ``--debug``; the command gets one ``output`` instead."""

    @click.option("-q", "--quiet", is_flag=True, help="Show no progress. Default: shown on stderr.")
    @click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
    @click.option("--debug", is_flag=True, help="Log details and show tracebacks.")
    @wraps(command)
    def wrapped(*args: Any, quiet: bool, as_json: bool, debug: bool, **kwargs: Any) -> None:  # noqa: ANN401
        _start_logging(debug=debug)
        command(*args, output=Output(is_quiet=quiet, is_json=as_json), **kwargs)

    return wrapped


class _StderrHandler(logging.Handler):
    """One line a record, ``geop2p: warning: ...``."""

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname.lower()
        prefix = "" if level == "info" else f"{level}: "
        click.echo(f"geop2p: {prefix}{escaped(redacted(record.getMessage()))}", err=True)


def _start_logging(*, debug: bool) -> None:
    logger = logging.getLogger("geop2p")
    logger.setLevel(logging.DEBUG if debug else logging.WARNING)
    logger.handlers = [_StderrHandler()]
    logger.propagate = False
    if not debug:  # what nobody waits for any more, when a run is interrupted, is nobody's error
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)


@contextmanager
def _progress_bar() -> Iterator[OnProgress]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import (
        Progress as Bar,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}  {task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    # results that are told meanwhile belong on stdout, also where that is no terminal
    is_shared = sys.stdout.isatty()
    console = Console(stderr=True)
    with Bar(*columns, console=console, transient=True, redirect_stdout=is_shared) as bar:
        tasks: dict[str, Any] = {}

        def show(progress: Progress) -> None:
            if progress.stage not in tasks:
                for done in [task.id for task in bar.tasks if task.finished]:
                    bar.update(done, visible=False)
                tasks[progress.stage] = bar.add_task(
                    progress.stage, unit=progress.unit, rate="", note="", total=progress.total
                )
            task = bar.tasks[bar.task_ids.index(tasks[progress.stage])]
            rate = f"{task.speed:.1f}/s" if task.speed else ""
            bar.update(
                task.id,
                completed=progress.done,
                total=progress.total,
                rate=rate,
                note=escaped(redacted(progress.note)),
            )

        yield show


def _percent_lines() -> OnProgress:
    shown: dict[str, int] = {}

    def show(progress: Progress) -> None:
        percent = 100 * progress.done // max(progress.total, 1) // 10 * 10
        if percent <= shown.get(progress.stage, 0):
            return
        shown[progress.stage] = percent
        note = f"  {escaped(redacted(progress.note))}" if progress.note else ""
        click.echo(
            f"{progress.stage} {percent}% ({progress.done}/{progress.total} {progress.unit}){note}",
            err=True,
        )

    return show
