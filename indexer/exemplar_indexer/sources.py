"""What a job reads: a stream of items (a class and where its image is), and of problems found on the way.

A source holds no list of its items, so it may be of any length. It opens no image; that is the pipeline's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

MAX_ID_LENGTH = 128


@dataclass(frozen=True)
class Item:
    """A class to be enrolled: its id, a path or URL of its image, and where the source says so."""

    class_id: str
    image: str
    place: str
    display_name: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    """Something in the source that cannot become an item; the job goes on without it."""

    place: str
    reason: str
    message: str
    class_id: str = ""
    image: str = ""


Entry: TypeAlias = Item | Problem


class SourceError(ValueError):
    """A source that cannot be read at all; the message is a sentence."""


def open_source(source: str) -> Iterator[Entry]:
    """Returns the entries of a folder or a manifest.

    Args:
        source: A folder, or a manifest (`.csv`, `.jsonl`) by its path or a URL that fsspec knows.

    Raises:
        SourceError: There is nothing there, or it is neither; at once, or for a damaged manifest on the way.
    """
    from exemplar_indexer.folder import folder_entries
    from exemplar_indexer.manifest import KINDS, manifest_entries

    suffix = Path(source.partition("?")[0]).suffix.lower()
    if "://" not in source:
        path = Path(source)
        if path.is_dir():
            return folder_entries(path)
        if not path.exists():
            raise SourceError(f"there is no folder or manifest at {source}")
    if suffix not in KINDS:
        raise SourceError(
            f"{source} is neither a folder nor a manifest: a manifest's name ends in {' or '.join(KINDS)}"
        )
    return manifest_entries(source, KINDS[suffix])


def checked(item: Item) -> Entry:
    """Returns the item, or what is wrong with its id."""
    class_id = item.class_id
    if not class_id or len(class_id) > MAX_ID_LENGTH:
        fault = f"a class id has 1 to {MAX_ID_LENGTH} characters; this one has {len(class_id)}"
    elif "/" in class_id or not class_id.isprintable():
        fault = f"a class id holds no '/' and no control characters; this one is {class_id!r}"
    else:
        return item
    return Problem(item.place, "ID_INVALID", fault, class_id, item.image)
