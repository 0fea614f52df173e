"""A caller: a name, what it may do (scopes), the galleries that are there for it, and how much it may ask for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from exemplar.names import gallery_id_problem

SCOPES = ("read", "write", "admin")
ALL_GALLERIES = ("*",)
LIMITS = ("requests", "images", "bytes", "classes")

_PREFIX = re.compile(r"([a-z0-9][a-z0-9-]{0,62})?\*")


@dataclass(frozen=True)
class Caller:
    """Who makes a call.

    Attributes:
        name: for the log.
        scopes: of `SCOPES`; none includes another.
        galleries: patterns, each a gallery's id or the beginning of ids and `*`.
        limits: by name, of `LIMITS`: requests, images and bytes a second, and classes in all the galleries that are
            there for it; those that are missing are not limited.
    """

    name: str
    scopes: frozenset[str]
    galleries: tuple[str, ...] = ALL_GALLERIES
    limits: Mapping[str, int] = field(default_factory=dict)

    def sees(self, gallery: str) -> bool:
        """Whether the gallery of this id is there for the caller."""
        return any(
            gallery.startswith(pattern[:-1]) if pattern.endswith("*") else gallery == pattern
            for pattern in self.galleries
        )


# Where nothing says who may call, everybody may do everything.
ANYONE = Caller("anyone", frozenset(SCOPES))

# Who has shown nothing, or nothing that holds.
STRANGER = Caller("", frozenset(), ())


def scopes_problem(scopes: Iterable[object]) -> str | None:
    """Return a sentence on why these are no scopes; None when they are."""
    wrong = [scope for scope in scopes if scope not in SCOPES]
    return f"a scope is {', '.join(SCOPES)}; not {wrong[0]!r}" if wrong else None


def patterns_problem(patterns: Iterable[object]) -> str | None:
    """Return a sentence on why these are no patterns of galleries; None when they are."""
    for pattern in patterns:
        if not isinstance(pattern, str) or (gallery_id_problem(pattern) and not _PREFIX.fullmatch(pattern)):
            return f"a pattern is a gallery's id, or the beginning of ids and '*'; not {pattern!r}"
    return None


def limits_problem(limits: Mapping[str, object]) -> str | None:
    """Return a sentence on why these are no limits; None when they are."""
    for name, value in limits.items():
        if name not in LIMITS:
            return f"a limit is on {', '.join(LIMITS)}; not {name!r}"
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            return f"the limit on {name} is a whole number from 1; not {value!r}"
    return None
