"""One gallery in memory: its index, and what an answer says of each class.

A search sees one committed state whole: the index, the descriptions and the revision change together.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from exemplar_encoder.arrays import Floats, Ints
from exemplar_server.errors import DataLossError, FailedPreconditionError, InvalidArgumentError
from exemplar_server.store.class_rows import ClassRow
from exemplar_server.store.faiss_index import FlatIndex
from exemplar_server.store.gaps import Gaps
from exemplar_server.store.pairs import nearest_pairs
from exemplar_server.store.records import LARGEST_VALUE, Candidate, ClassRecord, Gallery, Pair, Search, usable
from exemplar_server.store.schema import damaged


@dataclass(frozen=True, slots=True)
class _Description:
    class_id: str
    display_name: str
    attributes: Mapping[str, str]


class GalleryIndex:
    """See the module. The methods that change are for one thread at a time."""

    def __init__(self, gallery: Gallery) -> None:
        self.gallery = gallery
        self.damaged: dict[str, int] = {}
        self.incomplete: DataLossError | None = None
        self._index = FlatIndex(gallery.dimension)
        self._gaps = Gaps(self._index)
        self._classes: dict[int, _Description] = {}
        self._rows: dict[str, int] = {}
        self._lock = threading.Lock()

    def row_of(self, class_id: str) -> int | None:
        """Return the class's row, damaged or not."""
        return self._rows.get(class_id, self.damaged.get(class_id))

    def check(self, vectors: Floats) -> None:
        """Refuse vectors that are none of this gallery's: not float32 `[n, dimension]`, or not `usable`."""
        # FAISS answers a NaN, and a square that overflows, with row -1, and reads past a short vector.
        gallery = self.gallery
        if vectors.ndim != 2 or vectors.shape[1] != gallery.dimension:
            actual = vectors.shape[-1] if vectors.ndim else 0
            raise FailedPreconditionError(
                "DIMENSION_MISMATCH",
                f"gallery {gallery.id!r} holds embeddings of {gallery.dimension} values, not {actual}",
                {"gallery": gallery.id, "expected": str(gallery.dimension), "actual": str(actual)},
            )
        if not usable(vectors):
            raise InvalidArgumentError(
                "FIELD_INVALID",
                f"embedding: it holds NaN, or a value beyond {LARGEST_VALUE:,.0f}",
                {"field": "embedding", "gallery": gallery.id},
            )

    def update(self, gallery: Gallery) -> None:
        """Show the gallery's new state."""
        with self._lock:
            self.gallery = gallery

    def put(self, gallery: Gallery, records: Mapping[int, ClassRecord]) -> None:
        """Show classes, each in its row."""
        rows = np.array(list(records), np.int64)
        vectors = np.array([record.embedding for record in records.values()], np.float32)
        vectors = vectors.reshape(-1, gallery.dimension)
        with self._lock:
            self._place(rows, vectors)
            for row, record in records.items():
                self._classes[row] = _Description(record.id, record.display_name, record.attributes)
                self._rows[record.id] = row
                self.damaged.pop(record.id, None)
            self.gallery = gallery

    def move(self, gallery: Gallery, row: int, embedding: Floats) -> None:
        """Show a class by another embedding, float32 `[dimension]`."""
        with self._lock:
            self._place(np.array([row], np.int64), embedding[None, :])
            self.gallery = gallery

    def describe(self, gallery: Gallery, row: int, record: ClassRecord) -> None:
        """Show a class's new name and attributes."""
        with self._lock:
            self._classes[row] = _Description(record.id, record.display_name, record.attributes)
            self.gallery = gallery

    def remove(self, gallery: Gallery, class_id: str) -> None:
        """Show a class no longer."""
        with self._lock:
            row = self._rows.pop(class_id, None)
            if row is not None:
                self._index.remove(np.array([row], np.int64))
                self._gaps.removed(np.array([row], np.int64))
                del self._classes[row]
            self.damaged.pop(class_id, None)
            self.gallery = gallery

    def search(self, queries: Floats, count: int) -> Search:
        """Return the `count` nearest classes of each of usable float32 `[n, dimension]`.

        Raises:
            DataLossError: some of the gallery's rows are damaged, so that an answer could be wrong.
        """
        queries = np.ascontiguousarray(queries, np.float32)
        with self._lock:
            self._refuse_damage()
            rows, distances = self._index.nearest(queries, count)
            results = [self._candidates(*pair, count) for pair in zip(rows.tolist(), distances.tolist(), strict=True)]
            return Search(results, self.gallery, self._gaps.value())

    def gaps(self) -> Floats | None:
        """See `GalleryStore`."""
        with self._lock:
            self._refuse_damage()
            return self._gaps.value()

    def nearest_pairs(self, count: int, threshold: float) -> tuple[list[Pair], int, int]:
        """See `GalleryStore`; works on a copy of the vectors, so that searches go on."""
        with self._lock:
            self._refuse_damage()
            rows, vectors = self._index.contents()
            ids = np.array([self._classes[row].class_id for row in rows.tolist()], dtype=object)
            revision = self.gallery.revision
        order = np.argsort(ids)
        ids, vectors = ids[order], vectors[order]
        indices, distances, close = nearest_pairs(vectors, count, threshold)
        pairs = [
            Pair(ids[first], ids[second], distance)
            for (first, second), distance in zip(indices.tolist(), distances.tolist(), strict=True)
        ]
        return pairs, close, revision

    def _place(self, rows: Ints, vectors: Floats) -> None:
        replaced = rows[[int(row) in self._classes for row in rows]]
        self._index.remove(replaced)
        self._gaps.removed(replaced)
        self._index.add(rows, vectors)
        self._gaps.added(rows, vectors)

    def _candidates(self, rows: list[int], distances: list[float], count: int) -> list[Candidate]:
        found = [(distance, self._classes[row]) for distance, row in zip(distances, rows, strict=True)]
        found.sort(key=lambda item: (item[0], item[1].class_id))
        return [
            Candidate(description.class_id, description.display_name, description.attributes, distance)
            for distance, description in found[:count]
        ]

    def _refuse_damage(self) -> None:
        if self.damaged:
            raise damaged(self.gallery.id, sorted(self.damaged))
        if self.incomplete:
            raise self.incomplete


def load_index(gallery: Gallery, rows: Iterable[ClassRow]) -> GalleryIndex:
    """Build a gallery's index from its rows."""
    held = GalleryIndex(gallery)
    vectors: list[Floats] = []
    for row in rows:
        if row.intact and row.embedding.size == gallery.dimension:
            held._classes[row.row] = _Description(row.id, row.display_name, row.attributes)
            held._rows[row.id] = row.row
            vectors.append(row.embedding)
        else:
            held.damaged[row.id] = row.row
    numbers, stacked = np.array(list(held._classes), np.int64), np.array(vectors, np.float32)
    stacked = stacked.reshape(-1, gallery.dimension)
    held._index.add(numbers, stacked)
    held._gaps.added(numbers, stacked)
    found = len(held._classes) + len(held.damaged)
    if found != gallery.class_count:
        held.incomplete = DataLossError(
            "DATA_CORRUPT",
            f"gallery {gallery.id!r} has {found:,} classes where {gallery.class_count:,} were stored; "
            "restore a copy of the data directory, or delete the gallery and enroll its classes again",
            {"gallery": gallery.id},
        )
    return held
