"""The parts of a source: items, each a class and where its image is, and problems found on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from exemplar.names import class_id_problem


@dataclass(frozen=True)
class Item:
    """A class to be enrolled.

    Attributes:
        class_id: Its id.
        image: Path or URL of its image.
        place: Where the source says so, for people.
        display_name: A name for people.
        attributes: Facts about it.
        region: The part of the image that is meant, as `exemplar.Region.parse` reads it; empty for the whole.
    """

    class_id: str
    image: str
    place: str
    display_name: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    region: str = ""

    def problem(self, reason: str, message: str) -> Problem:
        """Return what stands in the item's place when something is wrong with it."""
        return Problem(self.place, reason, message, self.class_id, self.image)


@dataclass(frozen=True)
class Problem:
    """Something in the source that cannot become an item; the job goes on without it."""

    place: str
    reason: str
    message: str
    class_id: str = ""
    image: str = ""


SourceEntry: TypeAlias = Item | Problem


class SourceError(ValueError):
    """A source that cannot be read at all; the message is a sentence."""


def checked(item: Item) -> SourceEntry:
    """Return the item, or what keeps it from being one: its id, or text that no message can carry."""
    if fault := class_id_problem(item.class_id):
        return item.problem("ID_INVALID", fault)
    texts = (item.image, item.region, item.display_name, *item.attributes, *item.attributes.values())
    if odd := next((text for text in texts if not is_text(text)), None):
        return item.problem("TEXT_INVALID", f"{odd!r} is no text: a part of it is not UTF-8")
    return item


def is_text(text: str) -> bool:
    """Return whether a message can carry it: a name that is not UTF-8, or JSON, may hold lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
