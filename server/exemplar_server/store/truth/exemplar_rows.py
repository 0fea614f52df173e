"""The rows of exemplars: each with its description, embedding and image, in the order in which they were given.

A position is where an exemplar stands among those of its class, and is never written anew: one that is removed leaves
a gap. Functions over a connection; transactions are the caller's.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from exemplar_encoder import EncodedImage, Region
from exemplar_encoder.arrays import Floats
from exemplar_server.store.records import Exemplar, NewExemplar
from exemplar_server.store.schema import checksum, damaged

_COLUMNS = "class, position, sha256, width, height, format, size_bytes, region, embedding"


def append(connection: sqlite3.Connection, row: int, exemplars: Sequence[NewExemplar]) -> None:
    """Write exemplars of the class in `row`, after those that it has."""
    last = connection.execute("SELECT coalesce(max(position), -1) FROM exemplars WHERE class = ?", (row,))
    for position, item in enumerate(exemplars, last.fetchone()[0] + 1):
        of = item.exemplar
        region = None if of.region is None else str(of.region)
        description = (of.sha256, of.width, of.height, of.format, of.size_bytes, region)
        columns = (row, position, *description, np.ascontiguousarray(item.embedding, np.float32).tobytes())
        connection.execute(
            f"INSERT INTO exemplars ({_COLUMNS}, checksum, image) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*columns, checksum(*columns), item.image),
        )


def remove(connection: sqlite3.Connection, row: int, sha256: str | None = None) -> None:
    """Delete the exemplar of this name of the class in `row`; all of its exemplars when None."""
    only = "" if sha256 is None else " AND sha256 = ?"
    parameters = (row,) if sha256 is None else (row, sha256)
    connection.execute(f"DELETE FROM exemplars WHERE class = ?{only}", parameters)


def descriptions(connection: sqlite3.Connection, gallery: str, class_id: str, row: int) -> tuple[Exemplar, ...]:
    """Describe the exemplars of the class in `row`, which its gallery and id name in errors."""
    return tuple(_description(columns) for columns in _rows(connection, gallery, class_id, row))


def embeddings(connection: sqlite3.Connection, gallery: str, class_id: str, row: int) -> dict[str, Floats]:
    """Return the exemplars' embeddings by SHA-256; as `descriptions`."""
    rows = _rows(connection, gallery, class_id, row)
    return {columns[2]: np.frombuffer(columns[8], np.float32) for columns in rows}


def with_image(
    connection: sqlite3.Connection, gallery: str, class_id: str, row: int, sha256: str
) -> tuple[bytes, Exemplar] | None:
    """Return an exemplar's image and description; None where the class has no such exemplar."""
    query = f"SELECT image, checksum, {_COLUMNS} FROM exemplars WHERE class = ? AND sha256 = ?"
    found = connection.execute(query, (row, sha256)).fetchone()
    if found is None:
        descriptions(connection, gallery, class_id, row)  # one whose name is damaged may be the one that is asked for
        return None
    image, *rest = found
    described = _description(_intact(gallery, class_id, rest))
    if EncodedImage(image, described.region).sha256() != described.sha256:
        raise damaged(gallery, [class_id], "the exemplar's image")
    return image, described


def _description(columns: Sequence[Any]) -> Exemplar:
    sha256, width, height, found, size_bytes, region = columns[2:8]
    return Exemplar(sha256, width, height, found, size_bytes, None if region is None else Region.parse(region))


def _rows(connection: sqlite3.Connection, gallery: str, class_id: str, row: int) -> Iterator[Sequence[Any]]:
    query = f"SELECT checksum, {_COLUMNS} FROM exemplars WHERE class = ? ORDER BY position"
    for found in connection.execute(query, (row,)):
        yield _intact(gallery, class_id, found)


def _intact(gallery: str, class_id: str, found: Sequence[Any]) -> Sequence[Any]:
    stored, *columns = found
    if checksum(*columns) != stored:
        raise damaged(gallery, [class_id], "the exemplar")
    return columns
