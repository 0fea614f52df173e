"""The plan of a job that writes shards: its source's entries in order, cut into one line for each shard.

The line says all that a shard is made of, so a shard whose receipt holds the line's SHA-256 is finished, and stays so
until the source changes there. The memory does not grow with the source.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import count, islice
from typing import Any, BinaryIO

from exemplar.names import attributes_problem, display_name_problem
from exemplar_indexer.images import ImageUnreadableError, fingerprint
from exemplar_indexer.items import Item, Problem, SourceEntry
from exemplar_indexer.outcomes import Note

PLAN = "plan.jsonl"


@dataclass(frozen=True)
class Slice:
    """Where the plan of one shard is: `length` bytes of the plan from `start` on, and their SHA-256."""

    number: int
    start: int
    length: int
    sha256: str
    items: int
    problems: int


@dataclass(frozen=True)
class ShardPlan:
    """What one shard is made of: items in order, and what is wrong with the other entries."""

    items: Sequence[Item]
    problems: Sequence[Note]


def write_plan(entries: Iterable[SourceEntry], shard_size: int, file: BinaryIO) -> Iterator[Slice]:
    """Write a plan, and yield where each shard's part of it is.

    Args:
        entries: The source's; drawn once, never held.
        shard_size: Entries a shard.
        file: Where to.
    """
    start = 0
    planned = _planned(entries)
    for number in count():
        some = list(islice(planned, shard_size))
        if not some:
            return
        items = [each for each in some if isinstance(each, dict)]
        problems = [asdict(_note(each)) for each in some if isinstance(each, Problem)]
        line = json.dumps({"items": items, "problems": problems}).encode() + b"\n"
        file.write(line)
        yield Slice(number, start, len(line), hashlib.sha256(line).hexdigest(), len(items), len(problems))
        start += len(line)


def read_plan(line: bytes) -> ShardPlan:
    """Read one shard's part of a plan."""
    values = json.loads(line)
    items = [Item(**{name: value for name, value in each.items() if name != _FILE}) for each in values["items"]]
    return ShardPlan(items, [Note(**each) for each in values["problems"]])


# A local file is meant as it was when the plan was made; this tells it from a changed one.
_FILE = "file"


def _planned(entries: Iterable[SourceEntry]) -> Iterator[dict[str, Any] | Problem]:
    """Yield what the plan says of each entry; an id given before and a file that is not there are problems."""
    # SQLite keeps a nameless database in a file of its own that grows as it must, and removes it in the end.
    with closing(sqlite3.connect("", isolation_level=None)) as seen:
        seen.execute("CREATE TABLE item (id TEXT PRIMARY KEY, place TEXT) WITHOUT ROWID")
        seen.execute("BEGIN")
        for entry in entries:
            yield _planned_item(entry, seen) if isinstance(entry, Item) else entry


def _planned_item(item: Item, seen: sqlite3.Connection) -> dict[str, Any] | Problem:
    added = seen.execute("INSERT OR IGNORE INTO item VALUES (?, ?)", [item.class_id, item.place])
    if not added.rowcount:
        (place,) = seen.execute("SELECT place FROM item WHERE id = ?", [item.class_id]).fetchone()
        message = f"class id {item.class_id} is given twice, at {place} and at {item.place}; the first counts"
        return item.problem("ID_DUPLICATE", message)
    # The server asks the same when it is sent a class; shards go past it.
    for name, problem in (
        ("display_name", display_name_problem(item.display_name)),
        ("attributes", attributes_problem(item.attributes)),
    ):
        if problem:
            return item.problem("FIELD_INVALID", f"{name}: {problem}")
    try:
        return asdict(item) | {_FILE: fingerprint(item.image)}
    except ImageUnreadableError as error:
        return item.problem("IMAGE_UNREADABLE", str(error))


def _note(problem: Problem) -> Note:
    # A problem may be that a text is none; what cannot be written of it is escaped.
    texts = {name: value.encode("utf-8", "backslashreplace").decode() for name, value in asdict(problem).items()}
    return Note.error(Problem(**texts))
