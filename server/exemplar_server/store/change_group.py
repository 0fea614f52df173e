"""Changes that are committed together: the store as they leave it, before any of them is on disk.

Each change sees those before it, in searches too, and one that is refused costs only itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from exemplar_encoder.arrays import Floats
from exemplar_server.store.index.vector_index import exact_distances
from exemplar_server.store.records import Candidate, ClassRecord, NewClass, NewExemplar, Search, StoredClass
from exemplar_server.store.request import Request
from exemplar_server.store.truth import gallery_rows
from exemplar_server.store.truth.database import Connection, Database
from exemplar_server.store.truth.open_transaction import OpenTransaction
from exemplar_server.store.truth.sql_truth import SqlTruth

Searching = Callable[[str, Floats, int, int], Search]


class ChangeGroup(SqlTruth):
    """See the module; for the thread that began it, and until its transaction ends.

    Attributes:
        changed: the galleries that were changed.
    """

    def __init__(self, database: Database, connection: Connection, search: Searching) -> None:
        """Begin with what is committed.

        Args:
            database: where the transaction is.
            connection: the one in it.
            search: searches what is committed, see `GalleryStore`.
        """
        super().__init__(OpenTransaction(database, connection))
        self.changed: set[str] = set()
        self._connection = connection
        self._committed_search = search
        self._classes: dict[str, dict[str, ClassRecord | None]] = {}  # those changed, by gallery; None for deleted

    def lock(self, gallery: str) -> None:
        """Let nobody else change a gallery from now on; where there is only one who can, there is nothing to do."""
        if self._database.lock_row:
            gallery_rows.exists(self._connection, gallery, self._database.lock_row)

    def put_classes(
        self, gallery: str, classes: Sequence[NewClass], request: Request[tuple[list[StoredClass], int]] | None = None
    ) -> tuple[list[StoredClass], int]:
        """See `Galleries`."""
        stored, revision = super().put_classes(gallery, classes, request)
        self._now(gallery, {item.record.id: item.record for item in stored})
        return stored, revision

    def delete_class(
        self, gallery: str, class_id: str, allow_missing: bool = False, request: Request[int] | None = None
    ) -> int:
        """See `Galleries`."""
        revision = super().delete_class(gallery, class_id, allow_missing, request)
        self._now(gallery, {class_id: None})
        return revision

    def update_class(
        self,
        gallery: str,
        class_id: str,
        display_name: str | None = None,
        attributes: Mapping[str, str] | None = None,
        etag: str = "",
        request: Request[ClassRecord] | None = None,
    ) -> ClassRecord:
        """See `Galleries`."""
        record = super().update_class(gallery, class_id, display_name, attributes, etag, request)
        self._now(gallery, {class_id: record})
        return record

    def add_exemplars(
        self,
        gallery: str,
        class_id: str,
        exemplars: Sequence[NewExemplar],
        request: Request[tuple[ClassRecord, int]] | None = None,
    ) -> tuple[ClassRecord, int]:
        """See `Galleries`."""
        record, revision = super().add_exemplars(gallery, class_id, exemplars, request)
        self._now(gallery, {class_id: record})
        return record, revision

    def remove_exemplar(
        self,
        gallery: str,
        class_id: str,
        sha256: str,
        allow_missing: bool = False,
        request: Request[tuple[ClassRecord, int]] | None = None,
    ) -> tuple[ClassRecord, int]:
        """See `Galleries`."""
        record, revision = super().remove_exemplar(gallery, class_id, sha256, allow_missing, request)
        self._now(gallery, {class_id: record})
        return record, revision

    def search(self, gallery: str, queries: Floats, count: int, considered: int = 0) -> Search:
        """See `GalleryStore`. The gaps and the cloud are those of what is committed."""
        considered = max(count, considered)
        changed = self._classes.get(gallery)
        if not changed:
            return self._committed_search(gallery, queries, count, considered)
        found = self._committed_search(gallery, queries, considered, considered)
        if any(each.class_id in changed for near in found.results for each in near):  # it is told of as it is now
            enough = considered + len(changed)
            found = self._committed_search(gallery, queries, enough, enough)
        there = [record for record in changed.values() if record is not None]
        vectors = np.array([record.embedding for record in there], np.float32).reshape(1, -1, queries.shape[1])
        distances = exact_distances(vectors, np.asarray(queries, np.float32))
        results = []
        for near, now in zip(found.results, distances.tolist(), strict=True):
            merged = [each for each in near if each.class_id not in changed]
            merged += [
                Candidate(record.id, record.display_name, record.attributes, distance)
                for record, distance in zip(there, now, strict=True)
            ]
            merged.sort(key=lambda each: (each.distance, each.class_id))
            results.append(merged)
        return dataclasses.replace(
            found,
            results=[merged[:count] for merged in results],
            distances=[[each.distance for each in merged[:considered]] for merged in results],
            gallery=self.get_gallery(gallery),
        )

    def _now(self, gallery: str, classes: Mapping[str, ClassRecord | None]) -> None:
        self._classes.setdefault(gallery, {}).update(classes)

    def _committed(self, gallery: str) -> None:
        self.changed.add(gallery)
