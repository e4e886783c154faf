"""Texts made safe to show: secrets of URLs taken out, invisible characters made visible.

File names, tags and addresses come from outside. `redacted` keeps credentials and signatures out of
logs, tags and reports; `escaped` keeps a terminal from obeying what a name says.
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

HIDDEN = "***"
INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories of controls, formats (bidirectional overrides too), lone surrogates, and
separators of lines and paragraphs."""

_ADDRESS = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*://)(?:[^\s/?#\"<>]*@)?(?P<rest>[^\s?#\"<>]*)"
    r"(?P<tail>[?#][^\s\"<>]*)?",
    re.IGNORECASE,
)
_VIRTUAL = re.compile(r"(?P<path>/vsi[a-z0-9_]+[^\s?\"<>]*)(?P<tail>\?[^\s\"<>]*)", re.IGNORECASE)
_ENCODED = re.compile(r"[a-z][a-z0-9+.-]*%3a%2f%2f[^\s&\"<>]*", re.IGNORECASE)
_SECRET = re.compile(
    r"(?P<name>\b(?:x-(?:amz|goog|ms)-[a-z0-9-]+|(?:aws)?(?:accesskeyid|access_key_id)|signature|sig"
    r"|[a-z_]*(?:token|secret|password|passwd|secret_access_key|api_?key)|authorization)"
    r"\s*[=:]\s*(?:bearer\s+|basic\s+)?)(?!(?:bearer|basic)\s)[^\s&,;\"'<>*]+",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[:,;.)'\]}]*\Z")
"""What follows an address in a sentence and is none of it."""


def redacted(text: str) -> str:
    """Return ``text`` without the secrets of the URLs in it.

    User and password go, and so does every value of a query string, also in GDAL's ``/vsi`` paths
    and in URLs that are percent-encoded values themselves. Text without either is unchanged.
    """
    if not _may_hold_secrets(text):
        return text
    text = _ENCODED.sub(lambda found: quote(redacted(unquote(found[0])), safe=HIDDEN), text)
    text = _VIRTUAL.sub(lambda found: found["path"] + _without_values(found["tail"]), text)
    text = _ADDRESS.sub(_without_secrets, text)
    return _SECRET.sub(lambda found: found["name"] + HIDDEN, text)


def redacted_facts(value: Any) -> Any:  # noqa: ANN401  anything that JSON can hold
    """Return plain values with every text in them redacted; keys too."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return {redacted_facts(key): redacted_facts(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [redacted_facts(entry) for entry in value]
    return value


def escaped(text: str) -> str:
    r"""Return ``text`` on one line, every character in it visible.

    Controls, escape sequences, line breaks, bidirectional overrides and bytes that are no UTF-8 are
    written as ``\x1b``, ``\u202e`` and the like. Escaping twice changes nothing more.
    """
    if text.isprintable():
        return text
    return "".join(_visible(character) for character in text)


def escaped_lines(text: str) -> str:
    """Return ``text`` with its own line breaks kept and everything else as `escaped` writes it."""
    return "\n".join(escaped(line) for line in text.split("\n"))


def _may_hold_secrets(text: str) -> bool:
    return any(mark in text for mark in ("://", "%3", "?", "=", ":"))


def _without_secrets(found: re.Match[str]) -> str:
    tail = found["tail"] or ""
    return found["scheme"] + found["rest"] + (_without_values(tail) if tail else "")


def _without_values(tail: str) -> str:
    """Hide every value of a query string or fragment; names and the sentence round it stay."""
    end = _SENTENCE.search(tail)
    closing = end[0] if end else ""
    body = tail[: len(tail) - len(closing)]
    parts = re.split(r"([?#&])", body)
    return "".join(map(_without_value, parts)) + closing


def _without_value(part: str) -> str:
    if part in {"", "?", "#", "&", HIDDEN}:
        return part
    name, equals, value = part.partition("=")
    if name.lower() == "url":
        return f"{name}{equals}{value}"  # was redacted as a URL of its own
    return f"{name}={HIDDEN}" if equals else HIDDEN


def _visible(character: str) -> str:
    if unicodedata.category(character) not in INVISIBLE:
        return character
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # a byte of a file name that is no UTF-8
        return f"\\x{number - 0xDC00:02x}"
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
