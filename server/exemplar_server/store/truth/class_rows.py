"""The rows of classes, each with the one embedding that is searched.

Functions over a connection; transactions are the caller's, and so is the gallery's own row, which changes with every
class.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from exemplar_encoder.arrays import Floats
from exemplar_server.errors import class_not_found
from exemplar_server.store import exemplar_rows
from exemplar_server.store.moments import from_micros, to_micros
from exemplar_server.store.records import ClassRecord, Gallery, NewClass
from exemplar_server.store.schema import checksum, damaged

_COLUMNS = "gallery, id, display_name, attributes, embedding, created, updated"


@dataclass(frozen=True, slots=True)
class ClassRow:
    """The part of a class that searching needs; only `row` and `id` mean anything when `intact` is False."""

    row: int
    id: str
    display_name: str
    attributes: dict[str, str]
    embedding: Floats
    intact: bool


def every(connection: sqlite3.Connection, gallery: str) -> Iterator[ClassRow]:
    """Read every class of a gallery, damaged ones marked."""
    query = f"SELECT row, checksum, {_COLUMNS} FROM classes WHERE gallery = ? ORDER BY row"
    for row, stored, *columns in connection.execute(query, (gallery,)):
        intact = checksum(row, *columns) == stored
        yield ClassRow(
            row,
            str(columns[1]),
            columns[2] if intact else "",
            json.loads(columns[3]) if intact else {},
            np.frombuffer(columns[4] if intact else b"", np.float32),
            intact,
        )


def read(connection: sqlite3.Connection, gallery: str, row: int, class_id: str) -> ClassRecord:
    """Read a class with its exemplars."""
    found = connection.execute(f"SELECT checksum, {_COLUMNS} FROM classes WHERE row = ?", (row,)).fetchone()
    if found is None:
        raise class_not_found(gallery, class_id)
    return _record(connection, row, *found)


def page(connection: sqlite3.Connection, gallery: str, after: str, limit: int) -> list[ClassRecord]:
    """Read classes in order of id, from the first id greater than `after`."""
    query = f"SELECT row, checksum, {_COLUMNS} FROM classes WHERE gallery = ? AND id > ? ORDER BY id LIMIT ?"
    return [_record(connection, *row) for row in connection.execute(query, (gallery, after, limit)).fetchall()]


def ids_with_exemplar(connection: sqlite3.Connection, gallery: str, sha256: str) -> list[str]:
    """Read the ids of the classes that have the exemplar of this name, in order."""
    # A cross join is made in the order in which it is written. Left to choose, SQLite looks at every class.
    query = (
        "SELECT classes.id FROM exemplars CROSS JOIN classes ON classes.row = exemplars.class"
        " WHERE sha256 = ? AND gallery = ? ORDER BY classes.id"
    )
    return [row[0] for row in connection.execute(query, (sha256, gallery))]


def put(connection: sqlite3.Connection, gallery: Gallery, row: int | None, new: NewClass) -> tuple[int, ClassRecord]:
    """Store a class with its exemplars, in its present row or a new one.

    Args:
        connection: to write with.
        gallery: the gallery as it will be.
        row: the row that is replaced; None for a new class.
        new: the class.

    Returns:
        The class's row, and the class as it will be read.
    """
    now = to_micros(gallery.update_time)
    created = now
    if row is None:
        query = f"INSERT INTO classes ({_COLUMNS}, checksum) VALUES (?, ?, '', '', x'', 0, 0, x'')"
        row = connection.execute(query, (gallery.id, new.id)).lastrowid
        assert row is not None  # an INSERT that succeeds has one
    else:
        found = connection.execute("SELECT created FROM classes WHERE row = ?", (row,)).fetchone()
        created = found[0] if isinstance(found[0], int) else now  # it may be damaged, and is mended here
        exemplar_rows.remove(connection, row)
    embedding = new.embedding()
    attributes = _to_json(new.attributes)
    _write(connection, row, [gallery.id, new.id, new.display_name, attributes, _to_bytes(embedding), created, now])
    exemplar_rows.append(connection, row, new.exemplars)
    exemplars = tuple(item.exemplar for item in new.exemplars)
    described = new.display_name, dict(new.attributes), exemplars
    return row, ClassRecord(new.id, *described, from_micros(created), from_micros(now), embedding)


def describe(
    connection: sqlite3.Connection,
    gallery: Gallery,
    row: int,
    display_name: str | None,
    attributes: Mapping[str, str] | None,
) -> None:
    """Change what is not None."""
    columns = _intact(connection, gallery, row)
    if display_name is not None:
        columns[2] = display_name
    if attributes is not None:
        columns[3] = _to_json(attributes)
    columns[6] = to_micros(gallery.update_time)
    _write(connection, row, columns)


def move(connection: sqlite3.Connection, gallery: Gallery, row: int, embedding: Floats) -> None:
    """Search a class by another embedding, float32 `[dimension]`."""
    columns = _intact(connection, gallery, row)
    columns[4], columns[6] = _to_bytes(embedding), to_micros(gallery.update_time)
    _write(connection, row, columns)


def delete(connection: sqlite3.Connection, row: int) -> None:
    """Delete a class, and with it the rows of its exemplars."""
    connection.execute("DELETE FROM classes WHERE row = ?", (row,))


def _intact(connection: sqlite3.Connection, gallery: Gallery, row: int) -> list[Any]:
    found = connection.execute(f"SELECT checksum, {_COLUMNS} FROM classes WHERE row = ?", (row,))
    columns: list[Any]
    stored, *columns = found.fetchone()
    if checksum(row, *columns) != stored:
        raise damaged(gallery.id, [columns[1]])
    return columns


def _write(connection: sqlite3.Connection, row: int, columns: Sequence[Any]) -> None:
    assignments = ", ".join(f"{name.strip()} = ?" for name in _COLUMNS.split(","))
    connection.execute(
        f"UPDATE classes SET {assignments}, checksum = ? WHERE row = ?",
        (*columns, checksum(row, *columns), row),
    )


def _record(connection: sqlite3.Connection, row: int, stored: bytes, *columns: Any) -> ClassRecord:
    gallery, class_id, display_name, attributes, embedding, created, updated = columns
    if checksum(row, *columns) != stored:
        raise damaged(gallery, [class_id])
    exemplars = exemplar_rows.descriptions(connection, gallery, class_id, row)
    described = display_name, json.loads(attributes), exemplars
    vector = np.frombuffer(embedding, np.float32)
    return ClassRecord(class_id, *described, from_micros(created), from_micros(updated), vector)


def _to_json(attributes: Mapping[str, str]) -> str:
    return json.dumps(dict(sorted(attributes.items())), ensure_ascii=False)


def _to_bytes(embedding: Floats) -> bytes:
    return np.ascontiguousarray(embedding, np.float32).tobytes()
