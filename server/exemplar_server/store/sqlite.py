"""The rows of galleries and classes, and with `exemplar_rows` all rows: the one truth of the embedded store.

Every change is one transaction that also grows the gallery's revision, and is on disk when its method returns.
Writing is for one thread at a time; the caller sees to that. Rows that do not match their checksum are never handed
out.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from exemplar_encoder import Calibration
from exemplar_encoder.arrays import Floats
from exemplar_server.errors import class_not_found
from exemplar_server.store import exemplar_rows
from exemplar_server.store.gallery_store import ClassRecord, Gallery, NewClass, NewExemplar
from exemplar_server.store.schema import checksum, damaged, open_database, transaction, typed_errors

_GALLERY = (
    "id, display_name, model, dimension, revision, class_count, false_accept_rate, max_exemplars_per_class,"
    " created, updated, calibration"
)
_CLASS = "gallery, id, display_name, attributes, embedding, created, updated"


@dataclass(frozen=True, slots=True)
class ClassRow:
    """What searching needs of a class; `embedding` and the rest mean nothing when `intact` is False."""

    row: int
    id: str
    display_name: str
    attributes: dict[str, str]
    embedding: Floats
    intact: bool


class SqliteRows:
    """One database file; see the module."""

    def __init__(self, path: Path, max_bytes: int | None = None) -> None:
        self._writer, self._reader = open_database(path, max_bytes)
        self._reading = threading.Lock()

    def close(self) -> None:
        """Write back what the log holds and close the file."""
        self._reader.close()
        self._writer.close()

    def galleries(self) -> Iterator[tuple[str, Gallery | None]]:
        """Every gallery by id; None where its row is damaged."""
        rows = self._writer.execute(f"SELECT {_GALLERY}, checksum FROM galleries ORDER BY id").fetchall()
        for *columns, stored in rows:
            yield columns[0], _gallery(columns) if _gallery_checksum(columns) == stored else None

    def class_rows(self, gallery: str) -> Iterator[ClassRow]:
        """Every class of a gallery, damaged ones marked."""
        query = f"SELECT row, checksum, {_CLASS} FROM classes WHERE gallery = ? ORDER BY row"
        with typed_errors():
            for row, stored, *columns in self._writer.execute(query, (gallery,)):
                intact = checksum(row, *columns) == stored
                yield ClassRow(
                    row,
                    str(columns[1]),
                    columns[2] if intact else "",
                    json.loads(columns[3]) if intact else {},
                    np.frombuffer(columns[4] if intact else b"", np.float32),
                    intact,
                )

    def put_gallery(self, gallery: Gallery) -> None:
        """Write a gallery's row, new or not."""
        with transaction(self._writer):
            self._write_gallery(gallery)

    def delete_gallery(self, gallery: str) -> None:
        """Delete a gallery with all its classes."""
        with transaction(self._writer):
            self._writer.execute("DELETE FROM galleries WHERE id = ?", (gallery,))

    def put_classes(self, gallery: Gallery, classes: Sequence[tuple[int | None, NewClass]]) -> list[int]:
        """Store classes, each in its present row or a new one, and the gallery's new state.

        Args:
            gallery: the gallery as it will be.
            classes: with each the row that it replaces; None for a new one. No id twice.

        Returns:
            The classes' rows.
        """
        with transaction(self._writer):
            self._write_gallery(gallery)
            return [self._put_class(gallery, row, new) for row, new in classes]

    def update_class(
        self,
        gallery: Gallery,
        row: int,
        display_name: str | None,
        attributes: Mapping[str, str] | None,
    ) -> None:
        """Change what is not None, and write the gallery's new state."""
        with transaction(self._writer):
            columns = self._class_columns(gallery, row)
            if display_name is not None:
                columns[2] = display_name
            if attributes is not None:
                columns[3] = _to_json(attributes)
            columns[6] = _micros(gallery.update_time)
            self._write_class(row, columns)
            self._write_gallery(gallery)

    def change_exemplars(
        self,
        gallery: Gallery,
        row: int,
        embedding: Floats,
        added: Sequence[NewExemplar] = (),
        removed: str | None = None,
    ) -> None:
        """Change a class's exemplars, and write the gallery's new state.

        Args:
            gallery: the gallery as it will be.
            row: the class's row.
            embedding: float32 `[dimension]`, that the class will be searched by.
            added: exemplars to add after those there.
            removed: SHA-256 of the exemplar to remove; None for none.
        """
        with transaction(self._writer):
            columns = self._class_columns(gallery, row)
            columns[4], columns[6] = _to_bytes(embedding), _micros(gallery.update_time)
            self._write_class(row, columns)
            if removed is not None:
                exemplar_rows.remove(self._writer, row, removed)
            exemplar_rows.append(self._writer, row, added)
            self._write_gallery(gallery)

    def delete_class(self, gallery: Gallery, row: int) -> None:
        """Delete a class and write the gallery's new state."""
        with transaction(self._writer):
            self._writer.execute("DELETE FROM classes WHERE row = ?", (row,))
            self._write_gallery(gallery)

    def get_class(self, gallery: str, row: int, class_id: str) -> ClassRecord:
        """Read a class with what is known of its exemplars."""
        with self._read() as reader:
            query = f"SELECT checksum, {_CLASS} FROM classes WHERE row = ?"
            found = reader.execute(query, (row,)).fetchone()
            if found is None:
                raise class_not_found(gallery, class_id)
            return self._record(reader, row, *found)

    def list_classes(self, gallery: str, after: str, limit: int) -> list[ClassRecord]:
        """Classes in order of id, from the first id greater than `after`."""
        query = f"SELECT row, checksum, {_CLASS} FROM classes WHERE gallery = ? AND id > ? ORDER BY id LIMIT ?"
        with self._read() as reader:
            rows = reader.execute(query, (gallery, after, limit)).fetchall()
            return [self._record(reader, *row) for row in rows]

    def exemplar(self, gallery: str, class_id: str, row: int, index: int) -> NewExemplar | None:
        """An exemplar whole; None when there is no such index."""
        with self._read() as reader:
            return exemplar_rows.whole(reader, gallery, class_id, row, index)

    def exemplar_embeddings(self, gallery: str, class_id: str, row: int) -> dict[str, Floats]:
        """The embeddings of a class's exemplars by SHA-256, in order."""
        with self._read() as reader:
            return exemplar_rows.embeddings(reader, gallery, class_id, row)

    def classes_with_image(self, gallery: str, sha256: str) -> list[str]:
        """Ids of the classes that have an exemplar with these very bytes, in order."""
        query = (
            "SELECT DISTINCT classes.id FROM exemplars JOIN classes ON classes.row = exemplars.class"
            " WHERE sha256 = ? AND gallery = ? ORDER BY classes.id"
        )
        with self._read() as reader:
            return [row[0] for row in reader.execute(query, (sha256, gallery))]

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        with self._reading, typed_errors():
            yield self._reader

    def _write_gallery(self, gallery: Gallery) -> None:
        columns = (
            gallery.id,
            gallery.display_name,
            gallery.model,
            gallery.dimension,
            gallery.revision,
            gallery.class_count,
            gallery.false_accept_rate,
            gallery.max_exemplars_per_class,
            _micros(gallery.create_time),
            _micros(gallery.update_time),
            None if gallery.calibration is None else gallery.calibration.to_json(),
        )
        # An update in place: INSERT OR REPLACE would delete the old row, and its classes with it.
        updates = ", ".join(f"{name.strip()} = excluded.{name.strip()}" for name in _GALLERY.split(","))
        self._writer.execute(
            f"INSERT INTO galleries ({_GALLERY}, checksum) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            f" ON CONFLICT (id) DO UPDATE SET {updates}, checksum = excluded.checksum",
            (*columns, _gallery_checksum(columns)),
        )

    def _put_class(self, gallery: Gallery, row: int | None, new: NewClass) -> int:
        now = _micros(gallery.update_time)
        created = now
        if row is None:
            query = f"INSERT INTO classes ({_CLASS}, checksum) VALUES (?, ?, '', '', x'', 0, 0, x'')"
            row = self._writer.execute(query, (gallery.id, new.id)).lastrowid
            assert row is not None  # an INSERT that succeeds has one
        else:
            found = self._writer.execute("SELECT created FROM classes WHERE row = ?", (row,)).fetchone()
            created = found[0] if isinstance(found[0], int) else now  # it may be damaged, and is mended here
            exemplar_rows.remove(self._writer, row)
        attributes = _to_json(new.attributes)
        embedding = _to_bytes(new.embedding())
        self._write_class(row, [gallery.id, new.id, new.display_name, attributes, embedding, created, now])
        exemplar_rows.append(self._writer, row, new.exemplars)
        return row

    def _class_columns(self, gallery: Gallery, row: int) -> list[Any]:
        found = self._writer.execute(f"SELECT checksum, {_CLASS} FROM classes WHERE row = ?", (row,))
        columns: list[Any]
        stored, *columns = found.fetchone()
        if checksum(row, *columns) != stored:
            raise damaged(gallery.id, [columns[1]])
        return columns

    def _write_class(self, row: int, columns: Sequence[Any]) -> None:
        assignments = ", ".join(f"{name.strip()} = ?" for name in _CLASS.split(","))
        self._writer.execute(
            f"UPDATE classes SET {assignments}, checksum = ? WHERE row = ?",
            (*columns, checksum(row, *columns), row),
        )

    def _record(self, reader: sqlite3.Connection, row: int, stored: bytes, *columns: Any) -> ClassRecord:
        gallery, class_id, display_name, attributes, _, created, updated = columns
        if checksum(row, *columns) != stored:
            raise damaged(gallery, [class_id])
        exemplars = exemplar_rows.described(reader, gallery, class_id, row)
        return ClassRecord(class_id, display_name, json.loads(attributes), exemplars, _time(created), _time(updated))


def now() -> datetime:
    """The time to record, to the microsecond."""
    return _time(_now())


def _gallery(columns: Sequence[Any]) -> Gallery:
    created, updated, content = columns[8:]
    calibration = None if content is None else Calibration.from_json(content)
    rest: list[Any] = [_time(created), _time(updated), calibration]
    return Gallery(*columns[:8], *rest)


def _gallery_checksum(columns: Sequence[Any]) -> bytes:
    # Without a calibration it is that of version 1, whose rows had none and are not written anew.
    return checksum(*(columns[:-1] if columns[-1] is None else columns))


def _now() -> int:
    return time.time_ns() // 1000


def _micros(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000 + 0.5)


def _time(micros: int) -> datetime:
    return datetime.fromtimestamp(micros / 1_000_000, UTC)


def _to_json(attributes: Mapping[str, str]) -> str:
    return json.dumps(dict(sorted(attributes.items())), ensure_ascii=False)


def _to_bytes(embedding: Floats) -> bytes:
    return np.ascontiguousarray(embedding, np.float32).tobytes()
