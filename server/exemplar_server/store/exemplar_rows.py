"""The rows of exemplars: of each what is known, its embedding and its image, in the order in which they were given.

A position is where an exemplar stands among those of its class, and is never written anew: what is removed leaves a
gap, and an exemplar's index is its rank. Functions over a connection; transactions are the caller's.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from exemplar_encoder.arrays import Floats
from exemplar_server.store.gallery_store import Exemplar, NewExemplar
from exemplar_server.store.schema import checksum, damaged

_COLUMNS = "class, position, sha256, width, height, format, size_bytes, embedding"


def append(connection: sqlite3.Connection, row: int, exemplars: Sequence[NewExemplar]) -> None:
    """Write exemplars of the class in `row`, after those that it has."""
    last = connection.execute("SELECT coalesce(max(position), -1) FROM exemplars WHERE class = ?", (row,))
    for position, item in enumerate(exemplars, last.fetchone()[0] + 1):
        of = item.exemplar
        described = (of.sha256, of.width, of.height, of.format, of.size_bytes)
        columns = (row, position, *described, np.ascontiguousarray(item.embedding, np.float32).tobytes())
        connection.execute(
            f"INSERT INTO exemplars ({_COLUMNS}, checksum, image) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*columns, checksum(*columns), item.image),
        )


def remove(connection: sqlite3.Connection, row: int, sha256: str | None = None) -> None:
    """Delete the exemplar with these bytes of the class in `row`; all of them when None."""
    only = "" if sha256 is None else " AND sha256 = ?"
    parameters = (row,) if sha256 is None else (row, sha256)
    connection.execute(f"DELETE FROM exemplars WHERE class = ?{only}", parameters)


def described(connection: sqlite3.Connection, gallery: str, class_id: str, row: int) -> tuple[Exemplar, ...]:
    """What is known of the exemplars of a class, which its gallery and id name in errors."""
    return tuple(Exemplar(*columns[2:7]) for columns in _rows(connection, gallery, class_id, row))


def embeddings(connection: sqlite3.Connection, gallery: str, class_id: str, row: int) -> dict[str, Floats]:
    """The exemplars' embeddings by SHA-256; as `described`."""
    rows = _rows(connection, gallery, class_id, row)
    return {columns[2]: np.frombuffer(columns[7], np.float32) for columns in rows}


def whole(connection: sqlite3.Connection, gallery: str, class_id: str, row: int, index: int) -> NewExemplar | None:
    """An exemplar with its image, by its index; None when there is no such index."""
    if index < 0:  # SQLite would take it for 0
        return None
    query = f"SELECT image, checksum, {_COLUMNS} FROM exemplars WHERE class = ? ORDER BY position LIMIT 1 OFFSET ?"
    found = connection.execute(query, (row, index)).fetchone()
    if found is None:
        return None
    image, *rest = found
    columns = _intact(gallery, class_id, rest)
    if hashlib.sha256(image).hexdigest() != columns[2]:
        raise damaged(gallery, [class_id], "the exemplar's image")
    return NewExemplar(Exemplar(*columns[2:7]), image, np.frombuffer(columns[7], np.float32))


def _rows(connection: sqlite3.Connection, gallery: str, class_id: str, row: int) -> Iterator[Sequence[Any]]:
    query = f"SELECT checksum, {_COLUMNS} FROM exemplars WHERE class = ? ORDER BY position"
    for found in connection.execute(query, (row,)):
        yield _intact(gallery, class_id, found)


def _intact(gallery: str, class_id: str, found: Sequence[Any]) -> Sequence[Any]:
    stored, *columns = found
    if checksum(*columns) != stored:
        raise damaged(gallery, [class_id], "the exemplar")
    return columns
