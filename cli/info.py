"""``geop2p info``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geop2p.cli.output import Output, output_options
from geop2p.redaction import escaped

if TYPE_CHECKING:
    from geop2p.card import ModelCard


@click.command(epilog="Example: geop2p info scene.tif")
@click.argument("file", type=click.Path(readable=False))
@output_options
def info(file: str, output: Output) -> None:
    """Explain FILE: a raster, a model file, or a bundled model by name."""
    from geop2p.model import bundled_models, is_model_file

    if file in bundled_models() or is_model_file(Path(file)):
        facts = _model_facts(file)
    else:
        facts = _raster_facts(file)
    output.result(facts, text=_as_text(facts))


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
