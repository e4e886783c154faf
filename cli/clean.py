"""``geop2p clean``."""

from pathlib import Path

import click

from geop2p.cli.output import Output, output_options


@click.command(epilog="Example: geop2p clean maps/ --dry-run")
@click.argument("folder", type=click.Path(readable=False))
@click.option("-n", "--dry-run", is_flag=True, help="List what would be removed, remove nothing.")
@click.option("-r", "--recursive", is_flag=True, help="Look into the folders below, too.")
@output_options
def clean(folder: str, *, output: Output, dry_run: bool, recursive: bool) -> None:
    """List and remove what interrupted runs left in FOLDER.

    These are finished strips (with which the same command would go on), half-written files and
    locks. What a run is at work on is left and told.
    """
    from geop2p.errors import OutputError
    from geop2p.leftovers import check_removable, find_leftovers, remove_leftover

    dispose = check_removable if dry_run else remove_leftover
    removed, kept, lines = [], [], []
    for leftover in find_leftovers(Path(folder), is_recursive=recursive):
        try:
            dispose(leftover)
        except OutputError as exc:
            kept.append(str(leftover.path))
            lines.append(f"left: {exc}")
            continue
        removed.append(str(leftover.path))
        verb = "would remove" if dry_run else "removed"
        lines.append(f"{verb} {leftover.path} ({leftover.kind}, {leftover.size} bytes)")
    facts = {"removed": removed, "left": kept, "is_dry_run": dry_run}
    output.result(facts, text="\n".join(lines) or f"{folder}: nothing was left here")
