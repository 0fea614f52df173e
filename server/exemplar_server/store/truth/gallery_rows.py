"""The rows of galleries. Functions over a connection; transactions are the caller's."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from exemplar_encoder import Calibration
from exemplar_server.store.moments import from_micros, to_micros
from exemplar_server.store.records import Gallery
from exemplar_server.store.schema import checksum

_COLUMNS = (
    "id, display_name, model, dimension, revision, class_count, false_accept_rate, max_exemplars_per_class,"
    " created, updated, calibration"
)


def every(connection: sqlite3.Connection) -> Iterator[tuple[str, Gallery | None]]:
    """Read every gallery by id; None where its row is damaged."""
    rows = connection.execute(f"SELECT {_COLUMNS}, checksum FROM galleries ORDER BY id").fetchall()
    for *columns, stored in rows:
        yield columns[0], _gallery(columns) if checksum(*columns) == stored else None


def write(connection: sqlite3.Connection, gallery: Gallery) -> None:
    """Write a gallery's row, new or not."""
    columns = (
        gallery.id,
        gallery.display_name,
        gallery.model,
        gallery.dimension,
        gallery.revision,
        gallery.class_count,
        gallery.false_accept_rate,
        gallery.max_exemplars_per_class,
        to_micros(gallery.create_time),
        to_micros(gallery.update_time),
        None if gallery.calibration is None else gallery.calibration.to_json(),
    )
    # An update in place: INSERT OR REPLACE would delete the old row, and its classes with it.
    updates = ", ".join(f"{name.strip()} = excluded.{name.strip()}" for name in _COLUMNS.split(","))
    connection.execute(
        f"INSERT INTO galleries ({_COLUMNS}, checksum) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        f" ON CONFLICT (id) DO UPDATE SET {updates}, checksum = excluded.checksum",
        (*columns, checksum(*columns)),
    )


def delete(connection: sqlite3.Connection, gallery: str) -> None:
    """Delete a gallery's row, and with it the rows of all its classes."""
    connection.execute("DELETE FROM galleries WHERE id = ?", (gallery,))


def _gallery(columns: Sequence[Any]) -> Gallery:
    created, updated, content = columns[8:]
    calibration = None if content is None else Calibration.from_json(content)
    rest: list[Any] = [from_micros(created), from_micros(updated), calibration]
    return Gallery(*columns[:8], *rest)
