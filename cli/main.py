"""``geop2p``: finds the command, runs it, and turns every ending into an exit status."""

import importlib
import io
import os
import signal
import sys
from typing import NoReturn

import click

from geop2p.allocator import share_freed_memory
from geop2p.cli.signals import Interruption, ending, run_begins, tell, watched
from geop2p.errors import Geop2pError, NothingToDoError
from geop2p.redaction import escaped, escaped_lines, redacted
from geop2p.version import __version__

COMMANDS = {
    "translate": "Turn a scene into a map.",
    "train": "Train a generator from pairs of scene and map.",
    "prepare": "Cut training pairs from scenes and the maps, labels or vectors of the same ground.",
    "evaluate": "Score a model's maps against the truth.",
    "quantize": "Prepare a model for 8-bit integers.",
    "check": "Verify that a map is whole and lies on its scene.",
    "clean": "List and remove what interrupted runs left.",
    "info": "Explain a raster or a model.",
    "models": "List the bundled models.",
}
"""Every command has a file of its name here, which is read only when the command is used."""


class LazyGroup(click.Group):
    """A group that imports the file of a command only when that command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return the command, imported, or None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        run_begins(cmd_name)
        command: click.Command = getattr(
            importlib.import_module(f"geop2p.cli.{cmd_name}"), cmd_name
        )
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: geop2p translate scene.tif --out map.tif",
)
@click.version_option(__version__, prog_name="geop2p")
def geop2p() -> None:
    """Turn large satellite and aerial scenes into maps with pix2pix generators.

    Exit status: 0 done, 1 other error, 2 usage, 3 input, 4 model or checkpoint, 5 output exists,
    locked or not writable, 6 disk full, 7 out of memory, 8 cluster, 9 verification, 99 nothing to
    do, 129 hung up, 130 interrupted, 143 terminated.
    """


def main() -> None:
    """Run the command line; always ends in `sys.exit`."""
    # threads that wait without spinning leave cores to those that work; read when torch is loaded
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    share_freed_memory()
    try:
        with watched():
            status = geop2p.main(standalone_mode=False)
    except click.ClickException as exc:
        told = io.StringIO()
        exc.show(file=told)
        click.echo(escaped_lines(redacted(told.getvalue().rstrip("\n"))), err=True)
        sys.exit(exc.exit_code)
    except Interruption as exc:
        tell(exc.text)
        sys.exit(128 + exc.number)
    except (click.Abort, KeyboardInterrupt):
        _fail(ending("interrupted"), 128 + signal.SIGINT)
    except BrokenPipeError:  # the reader of our output has gone: nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Geop2pError as exc:
        if "--debug" in sys.argv:
            raise
        prefix = "nothing to do" if isinstance(exc, NothingToDoError) else "error"
        _fail(f"{prefix}: {exc}", exc.exit_status)
    sys.exit(status or 0)


def _fail(text: str, status: int) -> NoReturn:
    line = escaped(redacted(" ".join(text.split())))
    print(f"geop2p: {line}", file=sys.stderr)  # noqa: T201  the one line of a failure
    sys.exit(status)
