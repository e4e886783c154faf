"""``geop2p info``."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geop2p.cli.output import Output, counted, output_options
from geop2p.redaction import escaped

if TYPE_CHECKING:
    from geop2p.card import ModelCard

FIRST = ("file", "kind", "name", "description", "gsd_m", "limits", "licence", "data")
"""Facts of a model that people read first."""
LAST = ("int8", "version", "sha256")


@click.command(epilog="Example: geop2p info scene.tif")
@click.argument("file", type=click.Path(readable=False))
@output_options
def info(file: str, output: Output) -> None:
    """Explain FILE: a raster, a model file, or a bundled model by name.

    Of a model's int8 entry --json has ranges and checksums in full.
    """
    from geop2p.model import bundled_models, is_model_file

    if file in bundled_models() or is_model_file(Path(file)):
        facts = _model_facts(file)
        text = _as_text(_for_people(facts))
    else:
        _check_name(file, bundled_models())
        facts = _raster_facts(file)
        text = _as_text(facts)
    output.result(facts, text=text)


def _check_name(file: str, bundled: Iterable[str]) -> None:
    """Refuse a bare word that is no file: it was meant to be a model's name."""
    from geop2p.errors import SceneError

    path = Path(file)
    if path.name == file and not path.suffix and not path.exists():
        raise SceneError(
            f"{file}: no such file or bundled model (give a raster, a model file, or a bundled "
            f"one: {', '.join(bundled) or 'none'})"
        )


def _for_people(facts: dict[str, Any]) -> dict[str, Any]:
    """Return a model's facts with what it is for first, and checksums and ranges last and short."""
    names = [*FIRST, *(name for name in facts if name not in FIRST + LAST), *LAST]
    ordered = {name: facts[name] for name in names if name in facts}
    int8 = ordered.get("int8")
    if int8:
        losses = int8.get("losses")
        ordered["int8"] = int8 | {
            "ranges": counted(len(int8["ranges"]), "layer"),
            "scenes": _names(int8),
            "losses": losses and losses | {"scenes": _names(losses)},
        }
    return ordered


def _names(entry: dict[str, Any]) -> list[str]:
    return [scene["name"] for scene in entry["scenes"]]


def _model_facts(file: str) -> dict[str, Any]:
    from geop2p.model import load_model

    model = load_model(file)
    return {"file": file, "kind": "model", "sha256": model.sha256, **card_facts(model.card)}


def card_facts(card: "ModelCard") -> dict[str, Any]:
    """Return the card as plain values, the generator's field in words."""
    import json

    radius = card.field_radius
    field = "whole tile" if radius is None else f"{radius} px round each pixel"
    content: dict[str, Any] = json.loads(card.to_json())
    return content | {"field": field}


def _raster_facts(file: str) -> dict[str, Any]:
    from geop2p.raster.scene import describe

    return {"file": file, "kind": "raster", **describe(file)}


def _as_text(facts: dict[str, Any], *, indent: str = "") -> str:
    """Return one line a fact, nested facts indented under their name."""
    lines = []
    for key, value in facts.items():
        name = escaped(key.replace("_", " ") if key.islower() else key)
        if value in (None, "", [], {}):
            continue
        if isinstance(value, dict):
            lines += [f"{indent}{name}:", _as_text(value, indent=indent + "  ")]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            lines.append(f"{indent}{name}:")
            rows = [escaped(", ".join(f"{k} {v}" for k, v in row.items())) for row in value]
            lines += [f"{indent}  {row}" for row in rows]
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            lines.append(f"{indent}{name}: {escaped(str(shown))}")
    return "\n".join(lines)
