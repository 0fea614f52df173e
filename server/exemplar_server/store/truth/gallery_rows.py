"""The rows of galleries. Functions over a connection; transactions are the caller's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exemplar_encoder import Calibration
from exemplar_server.errors import gallery_not_found
from exemplar_server.store.records import Gallery, Version
from exemplar_server.store.truth.checksums import checksum, damaged_gallery
from exemplar_server.store.truth.database import Connection
from exemplar_server.store.truth.moments import from_micros, to_micros

_NAMES = (
    "id",
    "display_name",
    "model",
    "dimension",
    "revision",
    "class_count",
    "false_accept_rate",
    "max_exemplars_per_class",
    "created",
    "updated",
    "calibration",
)
_COLUMNS = ", ".join(_NAMES)
# A gallery that has not changed since changes are written down has no mark yet.
_VERSION = (
    "SELECT revision, coalesce((SELECT max(mark) FROM changes WHERE gallery = galleries.id"
    " AND changes.revision = galleries.revision), -1) FROM galleries WHERE id = ?"
)


def read(connection: Connection, gallery: str, lock: str = "") -> Gallery:
    """Read a gallery.

    Args:
        connection: to read with.
        gallery: its id.
        lock: what keeps others from changing it, see `Database.lock_row`.

    Raises:
        NotFoundError: there is none.
        DataLossError: its row is damaged.
    """
    query = f"SELECT {_COLUMNS}, checksum FROM galleries WHERE id = ?{lock}"
    found = connection.execute(query, (gallery,)).fetchone()
    if found is None:
        raise gallery_not_found(gallery)
    read = _gallery(found)
    if read is None:
        raise damaged_gallery(gallery, "its own row does not match its checksum")
    return read


def version(connection: Connection, gallery: str) -> Version:
    """Read which state a gallery is in; the row is not checked. Raises `NotFoundError`."""
    found = connection.execute(_VERSION, (gallery,)).fetchone()
    if found is None:
        raise gallery_not_found(gallery)
    return Version(*found)


def exists(connection: Connection, gallery: str, lock: str) -> bool:
    """Return whether there is a gallery, damaged or not."""
    return connection.execute(f"SELECT id FROM galleries WHERE id = ?{lock}", (gallery,)).fetchone() is not None


def page(connection: Connection, after: str, limit: int) -> list[tuple[str, Gallery | None]]:
    """Read galleries in order of id, from the first id greater than `after`; None where a row is damaged."""
    query = f"SELECT {_COLUMNS}, checksum FROM galleries WHERE id > ? ORDER BY id LIMIT ?"
    return [(row[0], _gallery(row)) for row in connection.execute(query, (after, limit)).fetchall()]


def add(connection: Connection, gallery: Gallery) -> None:
    """Write the row of a new gallery. Raises `RowExists`."""
    columns = _columns(gallery)
    marks = ", ".join("?" * (len(columns) + 1))
    query = f"INSERT INTO galleries ({_COLUMNS}, checksum) VALUES ({marks})"
    connection.execute(query, (*columns, checksum(*columns)))


def write(connection: Connection, gallery: Gallery) -> None:
    """Write a gallery's row anew."""
    columns = _columns(gallery)
    assignments = ", ".join(f"{name} = ?" for name in (*_NAMES, "checksum"))
    query = f"UPDATE galleries SET {assignments} WHERE id = ?"
    connection.execute(query, (*columns, checksum(*columns), gallery.id))


def delete(connection: Connection, gallery: str) -> None:
    """Delete a gallery's row, and with it the rows of all its classes."""
    connection.execute("DELETE FROM galleries WHERE id = ?", (gallery,))


def _columns(gallery: Gallery) -> tuple[Any, ...]:
    return (
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


def _gallery(row: Sequence[Any]) -> Gallery | None:
    *columns, stored = row
    if checksum(*columns) != stored:
        return None
    created, updated, content = columns[8:]
    calibration = None if content is None else Calibration.from_json(content)
    rest: list[Any] = [from_micros(created), from_micros(updated), calibration]
    return Gallery(*columns[:8], *rest)
