"""Names and counts as sentences have them: the first few of many names, and nouns in the right number."""

from __future__ import annotations

from collections.abc import Sequence

_SHOWN = 5


def abridged(names: Sequence[str]) -> str:
    """Return the first names of a list, and how many more there are."""
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


def plural(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun, such as "1,200 classes"; the plural takes an s unless it is given."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
