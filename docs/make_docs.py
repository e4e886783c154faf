"""Write what the documents take from the program itself, so that neither drifts.

    python docs/make_docs.py

``docs/command-line.md`` comes from the commands' own help and reports. Tables of scores, in the
README and in ``docs/models.md``, come from the cards of the bundled models and from what ``geop2p
evaluate`` left in ``benchmarks/results``; they stand between ``<!-- scores:SOURCE -->`` and
``<!-- end -->``.
"""  # noqa: INP001  a script beside the documents, in no package

import json
import re
from importlib import import_module
from inspect import cleandoc
from pathlib import Path
from typing import Any

import click

from geop2p.cli.main import COMMANDS, geop2p
from geop2p.model import bundled_models, read_card
from geop2p.writing import write_atomically

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs/command-line.md"
SCORED_PAGES = (ROOT / "README.md", ROOT / "docs/models.md")
RESULTS = ROOT / "benchmarks/results"

SCORE_ROWS = {
    "running": "evaluation: kept statistics, no dropout",
    "tile": "each tile's own statistics, no dropout",
    "training": "training: each tile's own statistics and dropout",
    "mean_colour": "baseline: one colour, the mean of the true map",
}
"""Mode of the norm layers to what the tables call it."""
SCORE_COLUMNS = {
    "L1 (grey levels)": ("l1", "{:.1f}"),
    "PSNR (dB)": ("psnr_db", "{:.2f}"),
    "SSIM": ("ssim", "{:.3f}"),
    "accuracy": ("accuracy", "{:.1%}"),
    "mean IoU": ("mean_iou", "{:.1%}"),
}

INTRODUCTION = """\
# The command line

This page is written by `make docs` from the commands' own help; a test compares the two.

    geop2p COMMAND [OPTIONS] ...

`python -m geop2p` is the same. `geop2p --help` and `geop2p COMMAND --help` print what stands here.

Results go to stdout, everything else to stderr: a progress bar on a terminal, otherwise a line for
each tenth of the work, nothing with `--quiet`; warnings and errors always. With `--json` the result
is one JSON object on one line. An error is one line, `geop2p: error: FILE: what was found (what to
do)`; with `--debug` it is a traceback, and the exit status is 1 whatever the error. Options that
the command does not know, or whose value is of the wrong kind, are told with the command's usage,
in a few lines.
"""

EXIT_STATUSES = {
    "0": "done",
    "1": "any other error that has a plain explanation; with a traceback: a bug",
    "2": "usage: options that are unknown, contradict each other or do not fit the data",
    "3": "input: a raster, vector, table or folder of pairs that cannot be used",
    "4": "a model or a checkpoint that cannot be used",
    "5": "an output that exists, is locked by another run, or is not writable",
    "6": "disk full, quota, or a device that fails while it is written",
    "7": "out of memory on the device, for a single tile",
    "8": "cluster: workers or a scheduler that are lost, hang or are unfit",
    "9": "verification: a map that is not what it should be",
    "99": "nothing to do: the output is there already, complete",
    "129": "hung up (SIGHUP): the terminal was closed",
    "130": "interrupted (SIGINT, Ctrl-C)",
    "143": "terminated (SIGTERM)",
}

REPORTS = {
    "translate": ("geop2p.pipelines.translation_report", "TranslateReport"),
    "train": ("geop2p.pipelines.train", "TrainReport"),
    "prepare": ("geop2p.pipelines.prepare", "PrepareReport"),
    "evaluate": ("geop2p.pipelines.evaluation_report", "EvaluateReport"),
    "quantize": ("geop2p.pipelines.quantize", "QuantizeReport"),
    "check": ("geop2p.pipelines.check", "CheckReport"),
}
"""Command to the dataclass whose fields are the keys of its JSON object."""

JSON_TYPES = {
    "str": "text",
    "str or None": "text or null",
    "Path": "text",
    "tuple of str": "list of texts",
    "int": "whole number",
    "float": "number",
    "float or None": "number or null",
    "bool": "true or false",
    "dict": "object",
    "dict of str to int": "object",
}
"""A type slot of a report's docstring: what JSON calls it."""

RASTER_KEYS = {
    "file": "as it was given",
    "kind": "`raster`",
    "driver": "GDAL's name of the format",
    "height": "pixels",
    "width": "pixels",
    "bands": "number of bands",
    "dtypes": "the bands' types",
    "colours": "the bands' colour interpretations",
    "crs": "coordinate reference system, or null",
    "bounds": "left, bottom, right, top in its units, or null",
    "pixel_size": "width and height of a pixel in its units, or null",
    "gsd_m": "metres of ground a pixel, measured in the middle, or null where it is not known",
    "gcps": "number of ground control points",
    "has_rpcs": "whether there are rational polynomial coefficients",
    "nodata": "the nodata value as text, or null",
    "mask": "GDAL's mask flags: `all_valid`, `nodata`, `per_dataset`, `alpha`",
    "blocks": "height and width of the blocks",
    "compression": "the codec",
    "overviews": "their factors",
    "is_read_in_order": "whether windows cannot be decoded by themselves, so that rows are read in "
    "order and once",
    "tags": "the file's metadata; a map's provenance is in `GEOP2P_...`",
}
MODEL_KEYS = {
    "file": "as it was given",
    "kind": "`model`",
    "sha256": "of the file",
    "field": "what a pixel of the map depends on: `whole tile`, or a radius in pixels",
    "...": "every entry of the model card, see [model-format.md](model-format.md)",
}
CLEAN_KEYS = {
    "removed": "paths of what was removed, or would be",
    "left": "paths of what a run may be at work on",
    "is_dry_run": "whether nothing was removed",
}
MODELS_KEYS = {
    "path": "the file",
    "mib": "its size in MiB",
    "description": "from the card",
    "gsd_m": "ground sample distance in metres, from the card",
    "licence": "from the card",
    "is_default": "whether `geop2p translate` uses it when no model is named",
}
KEYS = {
    "info": {"a raster": RASTER_KEYS, "a model": MODEL_KEYS},
    "clean": {"the folder": CLEAN_KEYS},
    "models": {"each model, under its name": MODELS_KEYS},
}


def command_line() -> str:
    """Return the page about the commands."""
    context = click.Context(geop2p, info_name="geop2p", **geop2p.context_settings)
    parts = [INTRODUCTION, "## Exit statuses\n", _table(("status", "meaning"), EXIT_STATUSES)]
    parts += [_command(name, context) for name in COMMANDS]
    return "\n".join(parts)


def _command(name: str, parent: click.Context) -> str:
    command = geop2p.get_command(parent, name)
    if command is None:
        raise LookupError(f"{name} is listed and not found")
    context = click.Context(command, parent=parent, info_name=name, max_content_width=100)
    usage = command.get_usage(context).removeprefix("Usage: ")
    options = [
        option.get_help_record(context)
        for option in command.get_params(context)
        if isinstance(option, click.Option)
    ]
    rows = {f"`{record[0]}`": record[1] for record in options if record is not None}
    parts = [f"## geop2p {name}\n", f"    {usage}\n", f"{cleandoc(command.help or '')}\n"]
    parts += [_table(("option", "meaning"), rows), f"{_example(command)}\n", *_keys(name)]
    return "\n".join(parts)


def _example(command: click.Command) -> str:
    return "Example:\n\n    " + (command.epilog or "").removeprefix("Example: ")


def _keys(name: str) -> list[str]:
    """Return a table of the keys of the command's JSON object, or several."""
    if name in REPORTS:
        module, report = REPORTS[name]
        documented = fields_of(getattr(import_module(module), report))
        return ["Keys of the JSON object:\n", _table(("key", "meaning"), _as_code(documented))]
    parts = []
    for what, keys in KEYS[name].items():
        parts += [f"Keys of the JSON object for {what}:\n"]
        parts += [_table(("key", "meaning"), _as_code(keys))]
    return parts


def fields_of(report: type) -> dict[str, str]:
    """Return the fields of a dataclass with what its docstring says of each."""
    section = cleandoc(report.__doc__ or "").partition("Parameters\n----------\n")[2]
    documented: dict[str, str] = {}
    for entry in re.split(r"\n(?=\S)", section.strip()):
        head, _, text = entry.partition("\n")
        names, _, kind = head.partition(" : ")
        kind = JSON_TYPES.get(kind, kind)
        meaning = " ".join(text.split())
        for name in names.split(", "):
            documented[name] = f"{kind}. {meaning}" if meaning else kind
    return documented


def _as_code(rows: dict[str, str]) -> dict[str, str]:
    return {f"`{name}`": meaning for name, meaning in rows.items()}


def _table(heads: tuple[str, str], rows: dict[str, str]) -> str:
    lines = [f"| {heads[0]} | {heads[1]} |", "|---|---|"]
    cells = ((left.replace("|", "\\|"), right.replace("|", "\\|")) for left, right in rows.items())
    lines += [f"| {left} | {right.replace('``', '`')} |" for left, right in cells]
    return "\n".join(lines) + "\n"


def with_scores(page: str) -> str:
    """Return a page with its tables of scores made anew."""
    return re.sub(
        r"(<!-- scores:(\S+) -->\n).*?(<!-- end -->)",
        lambda match: f"{match[1]}\n{_score_table(_scores_of(match[2]))}\n{match[3]}",
        page,
        flags=re.DOTALL,
    )


def _scores_of(source: str) -> dict[str, Any]:
    """Return scores by mode: of a bundled model's card, or of a file of results."""
    if source in bundled_models():
        scores: dict[str, Any] = dict(read_card(source).scores["validation"])
        return scores
    content = json.loads((RESULTS / f"{source}.json").read_text(encoding="utf-8"))
    return dict(content["modes"])


def _score_table(scores: dict[str, Any]) -> str:
    """Return a table with a row a mode; beside the scores, the accuracy of each class."""
    classes = list(scores["running"]["classes"])
    heads = ["mode", *SCORE_COLUMNS, *classes]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for mode, name in SCORE_ROWS.items():
        if mode not in scores:  # no scene is drawn with dropout
            continue
        found = scores[mode]
        cells = [shape.format(found[key]) for key, shape in SCORE_COLUMNS.values()]
        cells += [f"{found['classes'][entry]['accuracy']:.1%}" for entry in classes]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    write_atomically(TARGET, command_line().encode())
    for scored_page in SCORED_PAGES:
        text = scored_page.read_text(encoding="utf-8")
        write_atomically(scored_page, with_scores(text).encode())
