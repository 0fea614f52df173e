"""The embedded store: SQLite holds the truth, FAISS answers, and memory holds what goes into answers.

A change is committed to SQLite first and then shown to searches, before its method returns: what was acknowledged is
on disk and visible. Everything in memory is rebuilt from the rows at start. A damaged row costs its own gallery's
searches only, and those come back when the class is enrolled again or deleted.

Every change goes the same way: refuse a repeated request, write the rows and the response to the request in one
transaction, show the change.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from exemplar_encoder import class_embedding
from exemplar_encoder.arrays import Floats
from exemplar_server.errors import (
    AlreadyExistsError,
    DataLossError,
    FailedPreconditionError,
    StartError,
    etag_mismatch,
    exemplar_not_found,
    last_exemplar,
    too_many_exemplars,
)
from exemplar_server.store import class_rows, exemplar_rows, gallery_rows, request_rows
from exemplar_server.store.database import Database
from exemplar_server.store.lock import DataDirectoryLock
from exemplar_server.store.moments import now, now_micros
from exemplar_server.store.reading import ReadingStore
from exemplar_server.store.records import (
    ClassRecord,
    Gallery,
    GalleryChanges,
    NewClass,
    NewExemplar,
    StoredClass,
)
from exemplar_server.store.request import RepeatedRequest, Request

DATABASE = "exemplar.db"


class EmbeddedStore(ReadingStore):
    """The `GalleryStore` of one process on one data directory."""

    def __init__(self, directory: Path, max_bytes: int | None = None) -> None:
        """Open the directory and load every gallery.

        Args:
            directory: created where it is missing.
            max_bytes: the size that the database may grow to; no limit but the disk's when None.

        Raises:
            StartError: another process has the directory, or its database cannot be opened.
        """
        self._lock = DataDirectoryLock(directory)
        path = directory / DATABASE
        with ExitStack() as undo:
            undo.callback(self._lock.release)
            database = Database(path, max_bytes)
            undo.callback(database.close)
            try:
                super().__init__(database)
            except DataLossError as error:
                raise StartError(f"{path} cannot be read: {error.message}; restore a copy of it") from error
            undo.pop_all()
        self._writing = threading.Lock()

    def close(self) -> None:
        """Finish what is being written and let go of the directory."""
        with self._writing:
            self._database.close()
            self._lock.release()

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
        """See `GalleryStore`."""
        with self._one_change(request):
            if gallery in self._galleries:
                raise AlreadyExistsError(
                    "GALLERY_EXISTS", f"there is a gallery {gallery!r} already", {"gallery": gallery}
                )
            settings = false_accept_rate, max_exemplars_per_class
            time = now()
            created = Gallery(gallery, display_name, model, dimension, 1, 0, *settings, time, time)
            with self._database.transaction() as writer:
                gallery_rows.write(writer, created)
                request_rows.keep(writer, request, created, now_micros())
            self._galleries.add(created)
            return created

    def update_gallery(
        self, gallery: str, changes: GalleryChanges, etag: str = "", request: Request[Gallery] | None = None
    ) -> Gallery:
        """See `GalleryStore`."""
        with self._one_change(request):
            held = self._galleries.get(gallery)
            if etag and etag != held.gallery.etag:
                raise etag_mismatch(f"gallery {gallery!r}", {"gallery": gallery, "etag": held.gallery.etag})
            values: dict[str, Any] = {name: getattr(changes, name) for name in changes.fields}
            updated = dataclasses.replace(_next(held.gallery), **values)
            with self._database.transaction() as writer:
                gallery_rows.write(writer, updated)
                request_rows.keep(writer, request, updated, now_micros())
            held.update(updated)
            return updated

    def delete_gallery(
        self, gallery: str, force: bool = False, allow_missing: bool = False, request: Request[None] | None = None
    ) -> None:
        """See `GalleryStore`."""
        with self._one_change(request):
            # By force even one that is broken.
            allowed = force if gallery in self._galleries else allow_missing
            if not allowed:
                self._check_empty(gallery)
            with self._database.transaction() as writer:
                gallery_rows.delete(writer, gallery)
                request_rows.keep(writer, request, None, now_micros())
            self._galleries.drop(gallery)

    def put_classes(
        self, gallery: str, classes: Sequence[NewClass], request: Request[tuple[list[StoredClass], int]] | None = None
    ) -> tuple[list[StoredClass], int]:
        """See `GalleryStore`."""
        with self._one_change(request):
            held = self._galleries.get(gallery)
            for new in classes:
                for item in new.exemplars:
                    held.check(item.embedding[None, :])
            last = {new.id: new for new in classes}
            rows = {class_id: held.row_of(class_id) for class_id in last}
            seen = {class_id for class_id, row in rows.items() if row is not None}
            updated = held.gallery
            if classes:
                count = updated.class_count + len(last) - len(seen)
                updated = dataclasses.replace(_next(updated), class_count=count)
            with self._database.transaction() as writer:
                if classes:
                    gallery_rows.write(writer, updated)
                put = {
                    class_id: class_rows.put(writer, updated, rows[class_id], new) for class_id, new in last.items()
                }
                stored = []
                for new in classes:
                    stored.append(StoredClass(put[new.id][1], new.id in seen))
                    seen.add(new.id)
                request_rows.keep(writer, request, (stored, updated.revision), now_micros())
            held.put(updated, dict(put.values()))
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
        """See `GalleryStore`."""
        with self._one_change(request):
            held, row = self._galleries.get(gallery), self._galleries.intact_row(gallery, class_id)
            updated = _next(held.gallery)
            with self._database.transaction() as writer:
                present = class_rows.read(writer, gallery, row, class_id).etag
                if etag and etag != present:
                    facts = {"gallery": gallery, "class": class_id, "etag": present}
                    raise etag_mismatch(f"class {class_id!r} of gallery {gallery!r}", facts)
                class_rows.describe(writer, updated, row, display_name, attributes)
                gallery_rows.write(writer, updated)
                record = class_rows.read(writer, gallery, row, class_id)
                request_rows.keep(writer, request, record, now_micros())
            held.describe(updated, row, record)
            return record

    def delete_class(
        self, gallery: str, class_id: str, allow_missing: bool = False, request: Request[int] | None = None
    ) -> int:
        """See `GalleryStore`."""
        with self._one_change(request):
            held = self._galleries.get(gallery)
            updated = held.gallery
            missing = allow_missing and held.row_of(class_id) is None
            with self._database.transaction() as writer:
                if not missing:
                    class_rows.delete(writer, self._galleries.row(gallery, class_id))
                    updated = dataclasses.replace(_next(updated), class_count=updated.class_count - 1)
                    gallery_rows.write(writer, updated)
                request_rows.keep(writer, request, updated.revision, now_micros())
            held.remove(updated, class_id)
            return updated.revision

    def add_exemplars(
        self,
        gallery: str,
        class_id: str,
        exemplars: Sequence[NewExemplar],
        request: Request[tuple[ClassRecord, int]] | None = None,
    ) -> tuple[ClassRecord, int]:
        """See `GalleryStore`."""
        with self._one_change(request):
            held, row = self._galleries.get(gallery), self._galleries.intact_row(gallery, class_id)
            for item in exemplars:
                held.check(item.embedding[None, :])
            present = self.exemplar_embeddings(gallery, class_id)
            new = {item.exemplar.sha256: item for item in exemplars if item.exemplar.sha256 not in present}
            most = held.gallery.most_exemplars
            if new and len(present) + len(new) > most:
                raise too_many_exemplars(gallery, class_id, len(present), len(new), most)
            together = present | {sha256: item.embedding for sha256, item in new.items()}
            return self._change_exemplars(gallery, class_id, row, together, request, added=list(new.values()))

    def remove_exemplar(
        self,
        gallery: str,
        class_id: str,
        sha256: str,
        allow_missing: bool = False,
        request: Request[tuple[ClassRecord, int]] | None = None,
    ) -> tuple[ClassRecord, int]:
        """See `GalleryStore`."""
        with self._one_change(request):
            row = self._galleries.intact_row(gallery, class_id)
            present = self.exemplar_embeddings(gallery, class_id)
            if sha256 not in present and not allow_missing:
                raise exemplar_not_found(gallery, class_id, sha256)
            kept = {name: embedding for name, embedding in present.items() if name != sha256}
            if not kept:
                raise last_exemplar(gallery, class_id)
            removed = sha256 if sha256 in present else None
            return self._change_exemplars(gallery, class_id, row, kept, request, removed=removed)

    @contextmanager
    def _one_change(self, request: Request[Any] | None) -> Iterator[None]:
        """Let one change through at a time, and none for a request that was answered before."""
        with self._writing:
            response = None if request is None else self.response_to(request)
            if response is not None:
                raise RepeatedRequest(response)
            yield

    def _check_empty(self, gallery: str) -> None:
        count = self._galleries.get(gallery).gallery.class_count
        if count:
            raise FailedPreconditionError(
                "GALLERY_NOT_EMPTY",
                f"gallery {gallery!r} is not empty (classes: {count:,}); delete them first, or use force",
                {"gallery": gallery, "class_count": str(count)},
            )

    def _change_exemplars(
        self,
        gallery: str,
        class_id: str,
        row: int,
        embeddings: Mapping[str, Floats],
        request: Request[tuple[ClassRecord, int]] | None,
        added: Sequence[NewExemplar] = (),
        removed: str | None = None,
    ) -> tuple[ClassRecord, int]:
        """Add or remove, and search the class by `embeddings`, which are those of all its exemplars afterwards."""
        held = self._galleries.get(gallery)
        changed = bool(added) or removed is not None
        updated = _next(held.gallery) if changed else held.gallery
        with self._database.transaction() as writer:
            if changed:
                if removed is not None:
                    exemplar_rows.remove(writer, row, removed)
                exemplar_rows.append(writer, row, added)
                class_rows.move(writer, updated, row, class_embedding(np.stack(list(embeddings.values()))))
                gallery_rows.write(writer, updated)
            effect = class_rows.read(writer, gallery, row, class_id), updated.revision
            request_rows.keep(writer, request, effect, now_micros())
        if changed:
            held.move(updated, row, effect[0].embedding)
        return effect


def _next(gallery: Gallery) -> Gallery:
    """Return the gallery's next state."""
    return dataclasses.replace(gallery, revision=gallery.revision + 1, update_time=now())
