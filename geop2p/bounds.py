"""Bounds of a network's configuration, which may come from a file."""

from geop2p.errors import ModelError

MOST_CHANNELS, MOST_BANDS, MOST_LAYERS, MOST_SCALES = 4096, 4096, 16, 4
"""Wide enough for any real network."""


def check_choice(what: str, found: str, choices: tuple[str, ...]) -> None:
    """Refuse a word that is none of ``choices``.

    Raises
    ------
    ModelError
        Naming them.
    """
    if found not in choices:
        raise ModelError(f"unknown {what} {found!r} (choose from {', '.join(choices)})")


def check_count(most: int, /, **counts: int) -> None:
    """Refuse what is no whole number from 1 to ``most``.

    Raises
    ------
    ModelError
        Naming the first of ``counts``.
    """
    for name, count in counts.items():
        if type(count) is not int or not 1 <= count <= most:
            raise ModelError(f"{name} is {count!r} (it must be a whole number from 1 to {most})")
