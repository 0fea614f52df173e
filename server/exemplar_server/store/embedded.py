"""The embedded store: SQLite holds the truth, FAISS answers, and memory holds what goes into answers.

A change is committed to SQLite first and then shown to searches, before its method returns: what was acknowledged is
on disk and visible. Everything in memory is rebuilt from the rows at start. A damaged row costs its own gallery's
searches only, and those come back when the class is enrolled again or deleted.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from exemplar_encoder.arrays import Floats
from exemplar_server.errors import (
    AlreadyExistsError,
    DataLossError,
    FailedPreconditionError,
    class_not_found,
    exemplar_not_found,
    gallery_not_found,
    last_exemplar,
    too_many_exemplars,
)
from exemplar_server.store.gallery_store import (
    ClassRecord,
    Enrolled,
    Exemplar,
    Gallery,
    GalleryChanges,
    NewClass,
    NewExemplar,
    Pair,
    Search,
    class_embedding,
)
from exemplar_server.store.lock import DataDirectoryLock
from exemplar_server.store.schema import damaged
from exemplar_server.store.searchable import Searchable, load
from exemplar_server.store.sqlite import SqliteRows, now

DATABASE = "exemplar.db"


class EmbeddedStore:
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
        try:
            self._rows = SqliteRows(directory / DATABASE, max_bytes)
            self._galleries: dict[str, Searchable] = {}
            self._broken: dict[str, DataLossError] = {}
            for gallery_id, gallery in self._rows.galleries():
                self._load(gallery_id, gallery)
        except BaseException:
            self._lock.release()
            raise
        self._writing = threading.Lock()

    def _load(self, gallery_id: str, gallery: Gallery | None) -> None:
        problem = "its own row does not match its checksum"
        try:
            if gallery is not None:
                self._galleries[gallery_id] = load(gallery, self._rows.class_rows(gallery_id))
                return
        except DataLossError as error:
            problem = error.message
        self._broken[gallery_id] = DataLossError(
            "DATA_CORRUPT",
            f"gallery {gallery_id!r} is damaged: {problem}; restore a copy of the data directory "
            "or delete the gallery",
            {"gallery": gallery_id},
        )

    def close(self) -> None:
        """Finish what is being written and let go of the directory."""
        with self._writing:
            self._rows.close()
            self._lock.release()

    def create_gallery(
        self,
        gallery: str,
        model: str,
        dimension: int,
        display_name: str = "",
        false_accept_rate: float | None = None,
        max_exemplars_per_class: int | None = None,
    ) -> Gallery:
        """See `GalleryStore`."""
        with self._writing:
            if gallery in self._galleries or gallery in self._broken:
                raise AlreadyExistsError(
                    "GALLERY_EXISTS", f"there is a gallery {gallery!r} already", {"gallery": gallery}
                )
            time = now()
            created = Gallery(
                gallery,
                display_name,
                model,
                dimension,
                1,
                0,
                false_accept_rate,
                max_exemplars_per_class,
                time,
                time,
            )
            self._rows.put_gallery(created)
            self._galleries[gallery] = load(created, [])
            return created

    def get_gallery(self, gallery: str) -> Gallery:
        """See `GalleryStore`."""
        return self._get(gallery).gallery

    def list_galleries(self, after: str = "", limit: int = 100) -> list[Gallery]:
        """See `GalleryStore`. Galleries whose own row is damaged are not listed."""
        listed = sorted(gallery for gallery in list(self._galleries) if gallery > after)
        return [self._galleries[gallery].gallery for gallery in listed[:limit] if gallery in self._galleries]

    def update_gallery(self, gallery: str, changes: GalleryChanges) -> Gallery:
        """See `GalleryStore`."""
        with self._change(gallery) as (held, next_state):
            values = {name: getattr(changes, name) for name in changes.fields}
            updated = dataclasses.replace(next_state, **values)
            self._rows.put_gallery(updated)
            held.update(updated)
            return updated

    def delete_gallery(self, gallery: str, force: bool = False) -> None:
        """See `GalleryStore`."""
        with self._writing:
            if gallery not in self._broken:
                count = self._get(gallery).gallery.class_count
                if count and not force:
                    raise FailedPreconditionError(
                        "GALLERY_NOT_EMPTY",
                        f"gallery {gallery!r} holds {count:,} classes; delete them first, or use force",
                        {"gallery": gallery, "class_count": str(count)},
                    )
            elif not force:
                raise self._broken[gallery]
            self._rows.delete_gallery(gallery)
            self._galleries.pop(gallery, None)
            self._broken.pop(gallery, None)

    def put_classes(self, gallery: str, classes: Sequence[NewClass]) -> tuple[list[Enrolled], int]:
        """See `GalleryStore`."""
        with self._change(gallery) as (held, next_state):
            for new in classes:
                for item in new.exemplars:
                    held.check(item.embedding[None, :])
            last = {new.id: new for new in classes}
            rows = [held.row_of(class_id) for class_id in last]
            added = sum(row is None for row in rows)
            updated = dataclasses.replace(next_state, class_count=next_state.class_count + added)
            stored = self._rows.put_classes(updated, list(zip(rows, last.values(), strict=True)))
            held.put(updated, list(zip(stored, last.values(), strict=True)))
            records = {
                class_id: self._rows.get_class(gallery, row, class_id)
                for class_id, row in zip(last, stored, strict=True)
            }
            seen = {class_id for class_id, row in zip(last, rows, strict=True) if row is not None}
            enrolled = []
            for new in classes:
                enrolled.append(Enrolled(records[new.id], new.id in seen))
                seen.add(new.id)
            return enrolled, updated.revision

    def get_class(self, gallery: str, class_id: str) -> ClassRecord:
        """See `GalleryStore`."""
        return self._rows.get_class(gallery, self._row(self._get(gallery), class_id), class_id)

    def list_classes(self, gallery: str, after: str = "", limit: int = 100) -> list[ClassRecord]:
        """See `GalleryStore`."""
        self._get(gallery)
        return self._rows.list_classes(gallery, after, limit)

    def update_class(
        self,
        gallery: str,
        class_id: str,
        display_name: str | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> ClassRecord:
        """See `GalleryStore`."""
        with self._change(gallery) as (held, next_state):
            row = self._intact_row(held, class_id)
            self._rows.update_class(next_state, row, display_name, attributes)
            record = self._rows.get_class(gallery, row, class_id)
            held.describe(next_state, row, record)
            return record

    def delete_class(self, gallery: str, class_id: str) -> int:
        """See `GalleryStore`."""
        with self._change(gallery) as (held, next_state):
            row = self._row(held, class_id)
            updated = dataclasses.replace(next_state, class_count=next_state.class_count - 1)
            self._rows.delete_class(updated, row)
            held.remove(updated, class_id)
            return updated.revision

    def add_exemplars(self, gallery: str, class_id: str, exemplars: Sequence[NewExemplar]) -> tuple[ClassRecord, int]:
        """See `GalleryStore`."""
        with self._change(gallery) as (held, next_state):
            row = self._intact_row(held, class_id)
            for item in exemplars:
                held.check(item.embedding[None, :])
            present = self._rows.exemplar_embeddings(gallery, class_id, row)
            new = {item.exemplar.sha256: item for item in exemplars if item.exemplar.sha256 not in present}
            if not new:
                return self._rows.get_class(gallery, row, class_id), held.gallery.revision
            if len(present) + len(new) > next_state.most_exemplars:
                raise too_many_exemplars(gallery, class_id, len(present), len(new), next_state.most_exemplars)
            embedding = class_embedding([*present.values(), *(item.embedding for item in new.values())])
            self._rows.change_exemplars(next_state, row, embedding, added=list(new.values()))
            held.move(next_state, row, embedding)
            return self._rows.get_class(gallery, row, class_id), next_state.revision

    def remove_exemplar(self, gallery: str, class_id: str, sha256: str) -> tuple[ClassRecord, int]:
        """See `GalleryStore`."""
        with self._change(gallery) as (held, next_state):
            row = self._intact_row(held, class_id)
            present = self._rows.exemplar_embeddings(gallery, class_id, row)
            if present.pop(sha256, None) is None:
                raise exemplar_not_found(gallery, class_id, f"with SHA-256 {sha256}", {"sha256": sha256})
            if not present:
                raise last_exemplar(gallery, class_id)
            embedding = class_embedding(list(present.values()))
            self._rows.change_exemplars(next_state, row, embedding, removed=sha256)
            held.move(next_state, row, embedding)
            return self._rows.get_class(gallery, row, class_id), next_state.revision

    def exemplar_embeddings(self, gallery: str, class_id: str) -> dict[str, Floats]:
        """See `GalleryStore`."""
        return self._rows.exemplar_embeddings(gallery, class_id, self._row(self._get(gallery), class_id))

    def exemplar_image(self, gallery: str, class_id: str, index: int) -> tuple[bytes, Exemplar]:
        """See `GalleryStore`."""
        row = self._row(self._get(gallery), class_id)
        found = self._rows.exemplar(gallery, class_id, row, index)
        if found is None:
            raise exemplar_not_found(gallery, class_id, str(index), {"index": str(index)})
        return found.image, found.exemplar

    def classes_with_image(self, gallery: str, sha256: str) -> list[str]:
        """See `GalleryStore`."""
        self._get(gallery)
        return self._rows.classes_with_image(gallery, sha256)

    def search(self, gallery: str, queries: Floats, count: int) -> Search:
        """See `GalleryStore`."""
        held = self._get(gallery)
        held.check(queries)
        return held.search(queries, count)

    def gaps(self, gallery: str) -> Floats | None:
        """See `GalleryStore`."""
        return self._get(gallery).gaps()

    def nearest_pairs(self, gallery: str, count: int, threshold: float) -> tuple[list[Pair], int, int]:
        """See `GalleryStore`."""
        return self._get(gallery).nearest_pairs(count, threshold)

    @contextmanager
    def _change(self, gallery: str) -> Iterator[tuple[Searchable, Gallery]]:
        """The gallery to change and its next state, one change at a time."""
        with self._writing:
            held = self._get(gallery)
            yield (
                held,
                dataclasses.replace(held.gallery, revision=held.gallery.revision + 1, update_time=now()),
            )

    def _get(self, gallery: str) -> Searchable:
        held = self._galleries.get(gallery)
        if held is None:
            raise self._broken.get(gallery) or gallery_not_found(gallery)
        return held

    def _row(self, held: Searchable, class_id: str) -> int:
        row = held.row_of(class_id)
        if row is None:
            raise class_not_found(held.gallery.id, class_id)
        return row

    def _intact_row(self, held: Searchable, class_id: str) -> int:
        row = self._row(held, class_id)
        if class_id in held.damaged:
            raise damaged(held.gallery.id, [class_id])
        return row
