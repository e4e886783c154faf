"""Recipe files: every value of a training, by name or path.

A recipe is a JSON object whose entries are fields of `geop2p.pipelines.training_options.Settings`;
what a file does not state is the paper's. ``paper`` and ``best`` ship with the package, and every
run leaves its own as ``recipe.json``.
"""

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, get_args, get_type_hints

from geop2p.documents import read_json
from geop2p.errors import OptionError
from geop2p.pipelines.training_options import Settings
from geop2p.writing import write_atomically

RECIPE = "recipe.json"
LONGEST_TEXT = 4096


def shipped_recipes() -> dict[str, Path]:
    """Return the recipes that ship with the package: name to file, sorted by name."""
    folder = Path(str(resources.files("geop2p") / "recipes"))
    return {path.stem: path for path in sorted(folder.glob("*.json"))}


def recipe_name(name_or_path: str | Path) -> str:
    """Return what a shipped recipe or a recipe file is called; raises what `read_recipe` raises."""
    return str(read_recipe(name_or_path)["recipe"])


def read_recipe(name_or_path: str | Path) -> dict[str, Any]:
    """Return the values of a shipped recipe, or of a file, with its name as ``recipe``.

    A file that states no name is called as it is, without suffix.

    Raises
    ------
    OptionError
        When there is neither, or the file is no recipe: it names the first unfit entry.
    """
    path = _find(name_or_path)
    try:
        content = read_json(path)
        check_types(content)
    except (OSError, ValueError, TypeError) as exc:
        raise OptionError(
            f'{path}: not a recipe: {exc} (expected {{"epochs": 100, "lr": 0.0002, ...}}, '
            "names as in geop2p train --help, with _ in place of -)"
        ) from exc
    return {"recipe": path.stem, **content}


def write_recipe(run_folder: Path, settings: Mapping[str, Any]) -> None:
    """Write the settings of a run as a recipe into its folder.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    known = {name: value for name, value in settings.items() if name in get_type_hints(Settings)}
    content = json.dumps(known, indent=2, sort_keys=True) + "\n"
    write_atomically(run_folder / RECIPE, content.encode())


def check_types(values: Mapping[str, Any]) -> None:
    """Compare values with the types of the fields of `Settings`.

    Raises
    ------
    TypeError
        Naming the first entry that is unknown or of another type.
    """
    if not isinstance(values, Mapping):
        raise TypeError("a JSON object was expected")
    hints = get_type_hints(Settings)
    for name, value in values.items():
        if name not in hints:
            raise TypeError(f"{str(name)[:40]!r} is no setting")
        if not _is_fit(value, kinds=get_args(hints[name]) or (hints[name],)):
            raise TypeError(f"the setting {name} is {str(value)[:40]!r}")


def _is_fit(value: Any, *, kinds: tuple[type, ...]) -> bool:  # noqa: ANN401
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        return False
    return type(value) in kinds or (type(value) is int and float in kinds)


def _find(name_or_path: str | Path) -> Path:
    shipped = shipped_recipes()
    if str(name_or_path) in shipped:
        return shipped[str(name_or_path)]
    path = Path(name_or_path)
    if not path.is_file():
        names = ", ".join(shipped)
        raise OptionError(f"{path}: no such recipe (give a JSON file, or a shipped one: {names})")
    return path
