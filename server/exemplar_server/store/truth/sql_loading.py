"""Galleries that are loaded into a truth in a database, and the one transaction in which a change is made.

A load and a change by a caller end alike: the gallery's row is written, what changed is recorded, and both are
announced to the other processes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from exemplar_server.errors import AlreadyExistsError
from exemplar_server.store.records import ClassCopy, Gallery, KeptResponse, check_vectors
from exemplar_server.store.request import RepeatedRequest, Request
from exemplar_server.store.truth import change_rows, class_rows, exemplar_rows, gallery_rows, request_rows
from exemplar_server.store.truth.database import Connection, Database, RowExists
from exemplar_server.store.truth.moments import now, now_micros, to_micros
from exemplar_server.store.truth.sql_reading import SqlReading


class SqlLoading(SqlReading):
    """The methods of `Truth` that load galleries, and what they share with those that change them."""

    _database: Database

    def __init__(self, database: Database) -> None:
        super().__init__(database)

    def load_gallery(self, gallery: Gallery) -> None:
        """See `Truth`."""
        with self._change(gallery.id) as writer:
            self._add_gallery(writer, dataclasses.replace(gallery, class_count=0, revision=1))

    def load_classes(self, gallery: str, classes: Sequence[ClassCopy]) -> int:
        """See `Truth`."""
        with self._change(gallery) as writer:
            held = self._gallery(writer, gallery)
            check_vectors(held, np.stack([each.embedding for each in classes]))
            updated = dataclasses.replace(next_state(held), class_count=held.class_count + len(classes))
            if there := class_rows.find(writer, gallery, [each.id for each in classes]):
                raise AlreadyExistsError(
                    "CLASS_EXISTS", f"gallery {gallery!r} has a class {min(there)!r} already", {"gallery": gallery}
                )
            rows = self._database.new_rows(writer, len(classes))
            class_rows.add(writer, [_copied(gallery, row, of) for row, of in zip(rows, classes, strict=True)])
            exemplar_rows.add(writer, {row: of.exemplars for row, of in zip(rows, classes, strict=True)})
            self._record(writer, updated, rows)
        return updated.revision

    def finish_load(self, gallery: Gallery) -> None:
        """See `Truth`."""
        with self._change(gallery.id) as writer:
            change_rows.forget(writer, gallery.id)
            self._record(writer, gallery, [])

    def load_responses(self, responses: Iterable[KeptResponse]) -> None:
        """See `Truth`."""
        with self._database.transaction() as writer:
            request_rows.load(writer, responses)

    @contextmanager
    def _change(self, gallery: str, request: Request[Any] | None = None) -> Iterator[Connection]:
        """Make one change of a gallery, and none for a request that was answered before."""
        try:
            with self._database.transaction(*(() if request is None else (request.id,))) as writer:
                response = None if request is None else request_rows.answered(writer, request, now_micros())
                if response is not None:
                    raise RepeatedRequest(response)
                yield writer
        except RowExists as error:  # only a gallery's can be there unseen: another process was quicker
            raise gallery_exists(gallery) from error
        self._committed(gallery)

    def _committed(self, gallery: str) -> None:
        """Take note that a change of a gallery is on disk; it is acknowledged once this returns."""

    def _gallery(self, writer: Connection, gallery: str) -> Gallery:
        """Read a gallery that nobody else changes until the transaction ends."""
        return gallery_rows.read(writer, gallery, self._database.lock_row)

    def _add_gallery(self, writer: Connection, gallery: Gallery) -> None:
        if gallery_rows.exists(writer, gallery.id, ""):
            raise gallery_exists(gallery.id)
        gallery_rows.add(writer, gallery)
        change_rows.record(writer, gallery, [])
        self._database.announce(writer, gallery.id)

    def _record(self, writer: Connection, updated: Gallery, rows: Sequence[int]) -> None:
        """Write a gallery's new state, and which rows changed with it."""
        gallery_rows.write(writer, updated)
        change_rows.record(writer, updated, rows)
        self._database.announce(writer, updated.id)


def next_state(gallery: Gallery) -> Gallery:
    """Return the gallery's next state."""
    return dataclasses.replace(gallery, revision=gallery.revision + 1, update_time=now())


def _copied(gallery: str, row: int, of: ClassCopy) -> class_rows.Written:
    times = to_micros(of.create_time), to_micros(of.update_time)
    return class_rows.written(row, gallery, of.id, of.display_name, of.attributes, of.embedding, *times)


def gallery_exists(gallery: str) -> AlreadyExistsError:
    """Return the refusal to make a gallery that is there already."""
    return AlreadyExistsError("GALLERY_EXISTS", f"there is a gallery {gallery!r} already", {"gallery": gallery})
