"""``geop2p models``."""

import click

from geop2p.cli.output import Output, output_options
from geop2p.redaction import escaped


@click.command(epilog="Example: geop2p models --json")
@output_options
def models(output: Output) -> None:
    """List the bundled models: name, size, what they draw and what they were trained for."""
    from geop2p.model import DEFAULT_MODEL, bundled_models, read_card

    cards = {name: (path, read_card(path)) for name, path in bundled_models().items()}
    facts = {
        name: {
            "path": str(path),
            "mib": round(path.stat().st_size / 2**20, 1),
            "description": card.description,
            "gsd_m": card.gsd_m,
            "licence": card.licence,
            "is_default": name == DEFAULT_MODEL,
        }
        for name, (path, card) in cards.items()
    }
    lines = [
        f"{escaped(name)}{' (default)' if fact['is_default'] else ''}: "
        f"{escaped(str(fact['description']))} "
        f"[{fact['mib']} MiB; about {fact['gsd_m']} m a pixel]"
        for name, fact in facts.items()
    ]
    output.result(facts, text="\n".join(lines) or "no models are bundled")
