"""The rows of classes, each with the one embedding that is searched.

Functions over a connection; transactions are the caller's, and so is the gallery's own row, which changes with every
class.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from exemplar_encoder.arrays import Floats, Ints
from exemplar_server.errors import DataLossError
from exemplar_server.store.records import ClassCopy, ClassRecord, ClassRow, Gallery, NewExemplar, VectorPage
from exemplar_server.store.truth import exemplar_rows
from exemplar_server.store.truth.checksums import checksum, damaged
from exemplar_server.store.truth.database import Connection
from exemplar_server.store.truth.moments import from_micros, to_micros

_NAMES = ("gallery", "id", "display_name", "attributes", "embedding", "created", "updated")
_COLUMNS = ", ".join(_NAMES)
_AT_ONCE = 1000
_ENCODER = json.JSONEncoder(ensure_ascii=False)

# A class as it is written: its row, and the columns above in their order.
Written = tuple[int, list[Any]]


def find(connection: Connection, gallery: str, class_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return the row of each class that there is, damaged or not, and its time of creation as it is written.

    Raises:
        DataLossError: an index that is damaged leads to another's row.
    """
    found: dict[str, tuple[int, int]] = {}
    for start in range(0, len(class_ids), _AT_ONCE):
        part = class_ids[start : start + _AT_ONCE]
        query = f"SELECT id, row, created FROM classes WHERE gallery = ? AND id IN ({_marks(part)})"
        found |= {row[0]: (row[1], row[2]) for row in connection.execute(query, (gallery, *part))}
    ids = {row: class_id for class_id, (row, _) in found.items()}
    for row, stored, *columns in _in_rows(connection, list(ids)):
        if columns[:2] != [gallery, ids[row]] and checksum(row, *columns) == stored:
            raise damaged(gallery, [ids[row]])
    return found


def count(connection: Connection, gallery: str) -> int:
    """Return how many classes there are."""
    return int(connection.execute("SELECT count(*) FROM classes WHERE gallery = ?", (gallery,)).fetchone()[0])


def last(connection: Connection, gallery: str) -> int:
    """Return the greatest row, 0 where there is none."""
    query = "SELECT coalesce(max(row), 0) FROM classes WHERE gallery = ?"
    return int(connection.execute(query, (gallery,)).fetchone()[0])


def read(connection: Connection, gallery: str, row: int) -> ClassRecord:
    """Read a class with its exemplars. Raises `DataLossError`."""
    found = connection.execute(f"SELECT row, checksum, {_COLUMNS} FROM classes WHERE row = ?", (row,)).fetchone()
    return _records(connection, gallery, [found])[0]


def page(connection: Connection, gallery: str, after: str, limit: int) -> list[ClassRecord]:
    """Read classes in order of id, from the first id greater than `after`; damaged ones are marked."""
    query = f"SELECT row, checksum, {_COLUMNS} FROM classes WHERE gallery = ? AND id > ? ORDER BY id LIMIT ?"
    found = connection.execute(query, (gallery, after, limit)).fetchall()
    try:
        return _records(connection, gallery, found)
    except DataLossError:
        return [_record_or_damaged(connection, gallery, row) for row in found]


def copies(connection: Connection, gallery: str, after: str, limit: int) -> list[ClassCopy]:
    """Read classes whole in order of id, from the first id greater than `after`. Raises `DataLossError`."""
    query = f"SELECT row, checksum, {_COLUMNS} FROM classes WHERE gallery = ? AND id > ? ORDER BY id LIMIT ?"
    found = connection.execute(query, (gallery, after, limit)).fetchall()
    _check(gallery, found)
    exemplars = exemplar_rows.whole(connection, gallery, {row[0]: str(row[3]) for row in found})
    return [_copy(row, exemplars[row[0]]) for row in found]


def names(connection: Connection, gallery: str, rows: Ints) -> dict[int, ClassRow]:
    """Read those of `rows` int64 `[n]` that are the gallery's, without their exemplars. Raises `DataLossError`."""
    found: dict[int, ClassRow] = {}
    for row, stored, *columns in _some(connection, gallery, rows):
        if checksum(row, *columns) != stored or columns[0] != gallery:
            raise damaged(gallery, [columns[1]])
        found[row] = ClassRow(columns[1], columns[2], json.loads(columns[3]))
    return found


def vectors(connection: Connection, gallery: Gallery, after: int, limit: int) -> VectorPage:
    """Read classes in order of row, from the first row greater than `after`; damaged ones are named."""
    return _vectors(gallery, raw(connection, gallery.id, after, limit))


def vectors_of(connection: Connection, gallery: Gallery, rows: Ints) -> VectorPage:
    """Read those of `rows` int64 `[n]`, ascending, that are the gallery's; damaged ones are named."""
    return _vectors(gallery, list(_some(connection, gallery.id, rows)))


def raw(connection: Connection, gallery: str, after: int, limit: int) -> list[Sequence[Any]]:
    """Read classes as they are written, unchecked: row, checksum and columns, in order of row."""
    query = f"SELECT row, checksum, {_COLUMNS} FROM classes WHERE gallery = ? AND row > ? ORDER BY row LIMIT ?"
    return connection.execute(query, (gallery, after, limit)).fetchall()


def ids_with_exemplar(connection: Connection, gallery: str, sha256: str) -> list[str]:
    """Read the ids of the classes that have the exemplar of this name, in order."""
    # A cross join is made in the order in which it is written. Left to choose, SQLite looks at every class.
    query = (
        "SELECT classes.id FROM exemplars CROSS JOIN classes"
        " WHERE classes.row = exemplars.class AND sha256 = ? AND gallery = ? ORDER BY classes.id"
    )
    return [row[0] for row in connection.execute(query, (sha256, gallery))]


def written(
    row: int,
    gallery: str,
    class_id: str,
    display_name: str,
    attributes: Mapping[str, str],
    embedding: Floats,
    created: int,
    updated: int,
) -> Written:
    """Return a class as it is written; times in microseconds since the epoch."""
    values = np.ascontiguousarray(embedding, np.float32).tobytes()
    return row, [gallery, class_id, display_name, _to_json(attributes), values, created, updated]


def add(connection: Connection, classes: Sequence[Written]) -> None:
    """Write new classes. Raises `RowExists`."""
    connection.executemany(
        f"INSERT INTO classes (row, {_COLUMNS}, checksum) VALUES (?, {_marks(_NAMES)}, ?)",
        [(row, *columns, checksum(row, *columns)) for row, columns in classes],
    )


def replace(connection: Connection, classes: Sequence[Written]) -> None:
    """Write classes over those in their rows, and delete the exemplars of those."""
    exemplar_rows.remove_all(connection, [row for row, _ in classes])
    for item in classes:
        _write(connection, *item)


def describe(
    connection: Connection,
    gallery: Gallery,
    row: int,
    display_name: str | None,
    attributes: Mapping[str, str] | None,
) -> None:
    """Change what is not None."""
    columns = intact(connection, gallery.id, row)
    if display_name is not None:
        columns[2] = display_name
    if attributes is not None:
        columns[3] = _to_json(attributes)
    columns[6] = to_micros(gallery.update_time)
    _write(connection, row, columns)


def move(connection: Connection, gallery: Gallery, row: int, embedding: Floats) -> None:
    """Search a class by another embedding, float32 `[dimension]`."""
    columns = intact(connection, gallery.id, row)
    columns[4], columns[6] = np.ascontiguousarray(embedding, np.float32).tobytes(), to_micros(gallery.update_time)
    _write(connection, row, columns)


def delete(connection: Connection, row: int) -> None:
    """Delete a class, and with it the rows of its exemplars."""
    connection.execute("DELETE FROM classes WHERE row = ?", (row,))


def _some(connection: Connection, gallery: str, rows: Ints) -> list[Sequence[Any]]:
    found: list[Sequence[Any]] = []
    for start in range(0, len(rows), _AT_ONCE):
        part = rows[start : start + _AT_ONCE].tolist()
        query = f"SELECT row, checksum, {_COLUMNS} FROM classes WHERE gallery = ? AND row IN ({_marks(part)})"
        found += connection.execute(query, (gallery, *part)).fetchall()
    return found


def _in_rows(connection: Connection, rows: Sequence[int]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(rows), _AT_ONCE):
        part = rows[start : start + _AT_ONCE]
        query = f"SELECT row, checksum, {_COLUMNS} FROM classes WHERE row IN ({_marks(part)})"
        yield from connection.execute(query, part)


def _vectors(gallery: Gallery, found: Sequence[Sequence[Any]]) -> VectorPage:
    rows: list[int] = []
    values: list[bytes] = []
    damaged_rows: dict[int, str] = {}
    size = 4 * gallery.dimension
    for row, stored, *columns in found:
        if checksum(row, *columns) == stored and columns[0] == gallery.id and len(columns[4]) == size:
            rows.append(row)
            values.append(columns[4])
        else:
            damaged_rows[row] = str(columns[1])
    vectors = np.frombuffer(b"".join(values), np.float32).reshape(-1, gallery.dimension)
    last = int(found[-1][0]) if found else None
    return VectorPage(np.array(rows, np.int64), vectors, damaged_rows, last)


def intact(connection: Connection, gallery: str, row: int) -> list[Any]:
    """Read a class's columns as they are written. Raises `DataLossError`."""
    found = connection.execute(f"SELECT checksum, {_COLUMNS} FROM classes WHERE row = ?", (row,))
    columns: list[Any]
    stored, *columns = found.fetchone()
    if checksum(row, *columns) != stored:
        raise damaged(gallery, [columns[1]])
    return columns


def _write(connection: Connection, row: int, columns: Sequence[Any]) -> None:
    assignments = ", ".join(f"{name} = ?" for name in _NAMES)
    connection.execute(
        f"UPDATE classes SET {assignments}, checksum = ? WHERE row = ?",
        (*columns, checksum(row, *columns), row),
    )


def _check(gallery: str, found: Sequence[Sequence[Any]]) -> None:
    for row, stored, *columns in found:
        if checksum(row, *columns) != stored or columns[0] != gallery:
            raise damaged(gallery, [columns[1]])


def _copy(found: Sequence[Any], exemplars: Sequence[NewExemplar]) -> ClassCopy:
    _, _, _, class_id, display_name, attributes, embedding, created, updated = found
    times = from_micros(created), from_micros(updated)
    vector = np.frombuffer(embedding, np.float32)
    return ClassCopy(class_id, display_name, json.loads(attributes), *times, vector, exemplars)


def _records(connection: Connection, gallery: str, found: Sequence[Sequence[Any]]) -> list[ClassRecord]:
    _check(gallery, found)
    ids = {row[0]: str(row[3]) for row in found}
    exemplars = exemplar_rows.descriptions(connection, gallery, ids)
    records = []
    for row, _, _, class_id, display_name, attributes, embedding, created, updated in found:
        described = display_name, json.loads(attributes), tuple(exemplars[row])
        vector = np.frombuffer(embedding, np.float32)
        records.append(ClassRecord(class_id, *described, from_micros(created), from_micros(updated), vector))
    return records


def _record_or_damaged(connection: Connection, gallery: str, found: Sequence[Any]) -> ClassRecord:
    try:
        return _records(connection, gallery, [found])[0]
    except DataLossError:
        never = from_micros(0)
        return ClassRecord(str(found[3]), "", {}, (), never, never, np.empty(0, np.float32), damaged=True)


def _to_json(attributes: Mapping[str, str]) -> str:
    return _ENCODER.encode(dict(sorted(attributes.items()))) if attributes else "{}"


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))
