"""JSON from outside, read with bounds: no depth, size or kind of file makes trouble."""

import json
import re
from pathlib import Path
from typing import Any

from geop2p.signatures import special_kind

MOST_BYTES = 16 * 2**20
MOST_DEPTH = 32

_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


def read_json(path: Path) -> Any:  # noqa: ANN401  whatever the file holds
    """Return what a JSON file holds; raises `OSError`, and what `parse_json` raises."""
    kind = special_kind(path)
    if kind not in (None, "missing"):
        raise ValueError(f"it is {kind}")
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES} bytes")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise ValueError("it is no text in UTF-8, as JSON is") from exc
    return parse_json(text)


def parse_json(text: str) -> Any:  # noqa: ANN401  whatever the text holds
    """Return what a JSON text of bounded depth holds; no name twice, no NaN.

    Raises
    ------
    ValueError
        When it is no such text.
    """
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", _TEXT.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > MOST_DEPTH:
            raise ValueError(f"its JSON is nested more than {MOST_DEPTH} deep")
    return json.loads(text, object_pairs_hook=_distinct, parse_constant=_refused)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a name stands twice in its JSON")
    return content


def _refused(constant: str) -> float:
    raise ValueError(f"its JSON holds {constant}")
