"""The vectors of one gallery in a collection on a Milvus server, which may lose, keep or get what it should not.

Milvus is asked for nothing but which rows may be near. An entity's key is a fingerprint of its gallery, row and
vector: a row's vector has the same key whoever writes it, and an entity is believed only if its key is that of the
vector which the truth has for its row. Distances are computed from the truth's vectors. An entity that is not
believed makes the index doubtful, and so does a number of entities that is not the gallery's.

Several servers may write in any order: an entity in another's place is deleted only after the truth said, later than
the entity was seen, that it is not the row's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from exemplar_encoder.arrays import Floats, Ints
from exemplar_server.errors import UnavailableError
from exemplar_server.store.index.vector_index import Fingerprints, IndexBehind, exact_distances, fingerprint

if TYPE_CHECKING:
    from exemplar_server.store.index.milvus_collection import MilvusCollection

# A batch's filters and vectors are far below what one message to Milvus may hold.
_BATCH = 1000
_QUERIES = 32
_SPARE = 8
_MOST = 16_384  # entities that Milvus returns for a query
_ROUNDING = 1e-5  # of squared distances in float32, relative to the squared norms


class MilvusIndex:
    """The `VectorIndex` on a Milvus server: exact where the collection's index is, as the one made here is.

    Args:
        collection: of the gallery's model.
        gallery: a name for the gallery, other for each gallery that ever was.
        stored: returns those of some rows int64 `[n]` that the truth has now, in any order, with their vectors
            float32 `[m, dimension]`.

    Attributes:
        gallery: what Milvus knows the gallery by.
    """

    def __init__(
        self, collection: MilvusCollection, gallery: str, stored: Callable[[Ints], tuple[Ints, Floats]]
    ) -> None:
        self.dimension = collection.dimension
        digest = hashlib.blake2b(gallery.encode(), digest_size=16).digest()
        self._collection = collection
        self.gallery = digest.hex()
        self._salt = np.frombuffer(digest, "<u8")[0]
        self._stored = stored
        self._held: Ints | None = None
        self._distrusted = False

    def __len__(self) -> int:
        return len(self._rows())

    def put(self, rows: Ints, vectors: Floats) -> None:
        """See `VectorIndex`. The truth has the vectors by now, or newer ones."""
        for start in range(0, len(rows), _BATCH):
            batch = slice(start, start + _BATCH)
            with self._distrusting_failures():
                self._put(rows[batch], vectors[batch])

    def remove(self, rows: Ints) -> None:
        """See `VectorIndex`."""
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            with self._distrusting_failures():
                self._held = np.setdiff1d(self._rows(), batch, assume_unique=True)
                self._collection.delete(self._collection.entities_of(self.gallery, batch)[0])

    def nearest(self, queries: Floats, count: int) -> tuple[Ints, Floats]:
        """See `VectorIndex`. Rows that the truth has no more are not returned."""
        held = self._rows()
        if not len(held):
            return np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
        parts = [
            self._nearest(queries[start : start + _QUERIES], count, held)
            for start in range(0, len(queries), _QUERIES)
        ]
        width = max(rows.shape[1] for rows, _ in parts)
        return (
            np.concatenate([_widened(rows, width, -1) for rows, _ in parts]),
            np.concatenate([_widened(distances, width, np.inf) for _, distances in parts]),
        )

    def rows(self) -> Ints:
        """See `VectorIndex`."""
        return self._rows().copy()

    def vectors(self, rows: Ints) -> Floats:
        """See `VectorIndex`; they come from the truth.

        Raises:
            IndexBehind: the truth has one of them no more.
        """
        found, vectors = self._stored(rows)
        order = np.argsort(found)
        if not np.isin(rows, found).all():
            raise IndexBehind
        return vectors[order[np.searchsorted(found, rows, sorter=order)]]

    def fingerprints(self) -> tuple[Ints, Fingerprints]:
        """See `VectorIndex`: whatever Milvus has for the gallery."""
        keys, rows = self._collection.entities(self.gallery)
        self._held = np.unique(rows)
        return rows, keys.view(np.uint64) ^ self._salt

    def doubtful(self, count: int) -> bool:
        """See `VectorIndex`; looks at Milvus."""
        return self._distrusted or self._collection.count(self.gallery) != count

    def mended(self) -> None:
        """Take note that it holds what it is to hold: what `fingerprints` told was compared, and put right."""
        self._distrusted = False

    def outgrown(self) -> bool:
        """Return False: growing is Milvus's."""
        return False

    def clear(self) -> None:
        """Delete all that Milvus has for the gallery."""
        with self._distrusting_failures():
            self._collection.delete_gallery(self.gallery)
            self._held = np.empty(0, np.int64)

    def close(self) -> None:
        """Keep it: the entities stay, and the collection is its owner's to close."""

    def _rows(self) -> Ints:
        """Return the rows that it is to hold, ascending; before it was given any, those that Milvus has."""
        if self._held is None:
            self.fingerprints()
        assert self._held is not None
        return self._held

    def _put(self, rows: Ints, vectors: Floats) -> None:
        held = self._rows()
        again = _among(rows, held)
        new = np.sort(rows[~again])
        self._held = np.insert(held, np.searchsorted(held, new), new)
        keys = self._keys(rows, vectors)
        missing = ~np.isin(keys, self._collection.present(keys))
        self._collection.put(self.gallery, keys[missing], rows[missing], vectors[missing])
        if again.any():
            found, _ = self._collection.entities_of(self.gallery, rows[again])
            current = self._keys(*self._stored(rows[again]))
            self._collection.delete(found[~np.isin(found, current)])

    def _nearest(self, queries: Floats, count: int, held: Ints) -> tuple[Ints, Floats]:
        wanted = min(count, len(held))
        norms = np.linalg.norm(queries, axis=1)
        limit = min(count + _SPARE, _MOST)
        while True:
            keys, rows, squared = self._collection.search(self.gallery, queries, limit)
            rows, distances = self._believed(keys, rows, np.isfinite(squared), queries)
            # Rounding may swap neighbors, and equals may lie beyond the last: both are ruled out when the last entity
            # fetched is farther than the last one wanted by more than rounding.
            farthest = np.partition(distances, wanted - 1)[:, wanted - 1] if wanted <= limit else np.inf
            slack = _ROUNDING * (norms**2 + (norms + farthest) ** 2)
            last = squared[:, -1]
            if limit == _MOST or ((last > farthest**2 + slack) | ~np.isfinite(last)).all():
                return rows, distances
            limit = min(limit * 4, _MOST)

    def _believed(self, keys: Ints, rows: Ints, there: npt.NDArray[np.bool_], queries: Floats) -> tuple[Ints, Floats]:
        """Return `rows` and their distances; -1 and infinity for an entity that is not as the truth has it."""
        known, vectors = self._stored(np.unique(rows[there]))
        order = np.argsort(known)
        known, vectors = known[order], vectors[order]
        stored = there & _among(rows, known)
        place = np.where(stored, np.searchsorted(known, rows), 0)
        right = stored.copy()
        right[stored] = self._keys(known, vectors)[place[stored]] == keys[stored]
        if (there & ~right).any():  # it may only be behind: then its owner follows, and takes note that it is mended
            self._distrusted = True
        if not right.any():
            return np.full(rows.shape, -1, np.int64), np.full(rows.shape, np.inf, np.float32)
        distances = exact_distances(vectors[place], queries)
        return np.where(right, rows, -1), np.where(right, distances, np.float32(np.inf))

    def _keys(self, rows: Ints, vectors: Floats) -> Ints:
        """Return the keys int64 `[n]` of vectors `[n, dimension]` at `rows` int64 `[n]`."""
        return np.asarray(fingerprint(rows, vectors) ^ self._salt).view(np.int64)

    @contextmanager
    def _distrusting_failures(self) -> Iterator[None]:
        try:
            yield
        except UnavailableError:
            self._distrusted = True
            raise


def _among(rows: Ints, some: Ints) -> npt.NDArray[np.bool_]:
    """Return which of `rows`, of any shape, are among `some`, which are ascending."""
    if not len(some):
        return np.zeros(rows.shape, np.bool_)
    return np.asarray(some[np.minimum(np.searchsorted(some, rows), len(some) - 1)] == rows)


def _widened(values: npt.NDArray[np.generic], width: int, filler: float) -> npt.NDArray[np.generic]:
    return np.pad(values, ((0, 0), (0, width - values.shape[1])), constant_values=filler)
