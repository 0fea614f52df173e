"""The truth in a database: SQLite's or PostgreSQL's, by the same rows.

Every change goes the same way: refuse a repeated request, read the gallery and lock its row, check, write the rows,
the gallery's new revision and what changed with it, and the response to the request. All of it in one transaction.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from exemplar_encoder import class_embedding
from exemplar_encoder.arrays import Floats
from exemplar_server.errors import (
    FailedPreconditionError,
    class_not_found,
    etag_mismatch,
    exemplar_not_found,
    last_exemplar,
    too_many_exemplars,
)
from exemplar_server.store.records import (
    ClassRecord,
    Gallery,
    GalleryChanges,
    NewClass,
    NewExemplar,
    StoredClass,
    check_vectors,
)
from exemplar_server.store.request import Request
from exemplar_server.store.truth import class_rows, exemplar_rows, gallery_rows, request_rows
from exemplar_server.store.truth.database import Connection
from exemplar_server.store.truth.moments import from_micros, now, now_micros, to_micros
from exemplar_server.store.truth.sql_loading import SqlLoading, next_state


class SqlTruth(SqlLoading):
    """The `Truth` in a database."""

    def close(self) -> None:
        """See `Truth`."""
        self._database.close()

    def create_gallery(
        self,
        gallery: str,
        model: str,
        dimension: int,
        display_name: str = "",
        false_accept_rate: float | None = None,
        max_exemplars_per_class: int | None = None,
        request: Request[Gallery] | None = None,
    ) -> Gallery:
        """See `Truth`."""
        time = now()
        settings = false_accept_rate, max_exemplars_per_class
        created = Gallery(gallery, display_name, model, dimension, 1, 0, *settings, time, time)
        with self._change(gallery, request) as writer:
            self._add_gallery(writer, created)
            request_rows.keep(writer, request, created, now_micros())
        return created

    def update_gallery(
        self, gallery: str, changes: GalleryChanges, etag: str = "", request: Request[Gallery] | None = None
    ) -> Gallery:
        """See `Truth`."""
        with self._change(gallery, request) as writer:
            held = self._gallery(writer, gallery)
            if etag and etag != held.etag:
                raise etag_mismatch(f"gallery {gallery!r}", {"gallery": gallery, "etag": held.etag})
            values: dict[str, Any] = {name: getattr(changes, name) for name in changes.fields}
            updated = dataclasses.replace(next_state(held), **values)
            self._record(writer, updated, [])
            request_rows.keep(writer, request, updated, now_micros())
        return updated

    def delete_gallery(
        self, gallery: str, force: bool = False, allow_missing: bool = False, request: Request[None] | None = None
    ) -> None:
        """See `Truth`."""
        with self._change(gallery, request) as writer:
            # By force even one that is damaged.
            there = gallery_rows.exists(writer, gallery, self._database.lock_row)
            if not (force if there else allow_missing):
                _check_empty(self._gallery(writer, gallery))
            gallery_rows.delete(writer, gallery)
            self._database.announce(writer, gallery)
            request_rows.keep(writer, request, None, now_micros())

    def put_classes(
        self, gallery: str, classes: Sequence[NewClass], request: Request[tuple[list[StoredClass], int]] | None = None
    ) -> tuple[list[StoredClass], int]:
        """See `Truth`."""
        with self._change(gallery, request) as writer:
            held = self._gallery(writer, gallery)
            for new in classes:
                for item in new.exemplars:
                    check_vectors(held, item.embedding[None, :])
            last = {new.id: new for new in classes}
            found = class_rows.find(writer, gallery, list(last))
            updated = held
            if classes:
                updated = dataclasses.replace(next_state(held), class_count=held.class_count + len(last) - len(found))
            records = self._put(writer, updated, last, found)
            seen = set(found)
            stored = []
            for new in classes:
                stored.append(StoredClass(records[new.id], new.id in seen))
                seen.add(new.id)
            request_rows.keep(writer, request, (stored, updated.revision), now_micros())
        return stored, updated.revision

    def update_class(
        self,
        gallery: str,
        class_id: str,
        display_name: str | None = None,
        attributes: Mapping[str, str] | None = None,
        etag: str = "",
        request: Request[ClassRecord] | None = None,
    ) -> ClassRecord:
        """See `Truth`."""
        with self._change(gallery, request) as writer:
            updated = next_state(self._gallery(writer, gallery))
            row = self._row(writer, gallery, class_id)
            present = class_rows.read(writer, gallery, row).etag
            if etag and etag != present:
                facts = {"gallery": gallery, "class": class_id, "etag": present}
                raise etag_mismatch(f"class {class_id!r} of gallery {gallery!r}", facts)
            class_rows.describe(writer, updated, row, display_name, attributes)
            self._record(writer, updated, [row])
            record = class_rows.read(writer, gallery, row)
            request_rows.keep(writer, request, record, now_micros())
        return record

    def delete_class(
        self, gallery: str, class_id: str, allow_missing: bool = False, request: Request[int] | None = None
    ) -> int:
        """See `Truth`."""
        with self._change(gallery, request) as writer:
            updated = self._gallery(writer, gallery)
            found = class_rows.find(writer, gallery, [class_id])
            if found:
                row = found[class_id][0]
                class_rows.delete(writer, row)
                updated = dataclasses.replace(next_state(updated), class_count=updated.class_count - 1)
                self._record(writer, updated, [row])
            elif not allow_missing:
                raise class_not_found(gallery, class_id)
            request_rows.keep(writer, request, updated.revision, now_micros())
        return updated.revision

    def add_exemplars(
        self,
        gallery: str,
        class_id: str,
        exemplars: Sequence[NewExemplar],
        request: Request[tuple[ClassRecord, int]] | None = None,
    ) -> tuple[ClassRecord, int]:
        """See `Truth`."""
        with self._change(gallery, request) as writer:
            held = self._gallery(writer, gallery)
            row = self._row(writer, gallery, class_id)
            for item in exemplars:
                check_vectors(held, item.embedding[None, :])
            class_rows.intact(writer, gallery, row)
            present = exemplar_rows.embeddings(writer, gallery, class_id, row)
            new = {item.exemplar.sha256: item for item in exemplars if item.exemplar.sha256 not in present}
            most = held.most_exemplars
            if new and len(present) + len(new) > most:
                raise too_many_exemplars(gallery, class_id, len(present), len(new), most)
            exemplar_rows.append(writer, row, list(new.values()))
            together = present | {sha256: item.embedding for sha256, item in new.items()}
            return self._moved(writer, held, row, together, bool(new), request)

    def remove_exemplar(
        self,
        gallery: str,
        class_id: str,
        sha256: str,
        allow_missing: bool = False,
        request: Request[tuple[ClassRecord, int]] | None = None,
    ) -> tuple[ClassRecord, int]:
        """See `Truth`."""
        with self._change(gallery, request) as writer:
            held = self._gallery(writer, gallery)
            row = self._row(writer, gallery, class_id)
            class_rows.intact(writer, gallery, row)
            present = exemplar_rows.embeddings(writer, gallery, class_id, row)
            if sha256 not in present and not allow_missing:
                raise exemplar_not_found(gallery, class_id, sha256)
            kept = {name: embedding for name, embedding in present.items() if name != sha256}
            if not kept:
                raise last_exemplar(gallery, class_id)
            exemplar_rows.remove(writer, row, sha256)
            return self._moved(writer, held, row, kept, sha256 in present, request)

    def _put(
        self,
        writer: Connection,
        updated: Gallery,
        classes: Mapping[str, NewClass],
        found: Mapping[str, tuple[int, int]],
    ) -> dict[str, ClassRecord]:
        """Store classes in the rows that were `found` for them, and new ones in new rows; return them as stored."""
        if not classes:
            return {}
        new = [class_id for class_id in classes if class_id not in found]
        rows = {class_id: row for class_id, (row, _) in found.items()}
        rows |= dict(zip(new, self._database.new_rows(writer, len(new)), strict=True))
        time = to_micros(updated.update_time)
        records: dict[str, ClassRecord] = {}
        added: list[class_rows.Written] = []
        replaced: list[class_rows.Written] = []
        for class_id, of in classes.items():
            created = found[class_id][1] if class_id in found else time
            if not isinstance(created, int):  # it is damaged, and mended here
                created = time
            embedding = of.embedding()
            described = class_id, of.display_name, of.attributes
            item = class_rows.written(rows[class_id], updated.id, *described, embedding, created, time)
            (replaced if class_id in found else added).append(item)
            exemplars = tuple(each.exemplar for each in of.exemplars)
            times = from_micros(created), from_micros(time)
            records[class_id] = ClassRecord(
                class_id, of.display_name, dict(of.attributes), exemplars, *times, embedding
            )
        class_rows.replace(writer, replaced)
        class_rows.add(writer, added)
        exemplar_rows.add(writer, {rows[class_id]: of.exemplars for class_id, of in classes.items()})
        self._record(writer, updated, list(rows.values()))
        return records

    def _moved(
        self,
        writer: Connection,
        held: Gallery,
        row: int,
        embeddings: Mapping[str, Floats],
        changed: bool,
        request: Request[tuple[ClassRecord, int]] | None,
    ) -> tuple[ClassRecord, int]:
        """Search a class whose exemplars changed by `embeddings`, which are those of all its exemplars now."""
        updated = next_state(held) if changed else held
        if changed:
            class_rows.move(writer, updated, row, class_embedding(np.stack(list(embeddings.values()))))
            self._record(writer, updated, [row])
        effect = class_rows.read(writer, held.id, row), updated.revision
        request_rows.keep(writer, request, effect, now_micros())
        return effect


def _check_empty(gallery: Gallery) -> None:
    count = gallery.class_count
    if count:
        raise FailedPreconditionError(
            "GALLERY_NOT_EMPTY",
            f"gallery {gallery.id!r} is not empty (classes: {count:,}); delete them first, or use force",
            {"gallery": gallery.id, "class_count": str(count)},
        )
