"""One gallery as it is searched: its index, its gaps, and what an answer says of its classes.

It follows the truth. Every search looks which state the gallery is in and, where the index is behind, brings it there
first; what was acknowledged anywhere is found. A search sees one committed state whole. Nothing here is needed to
outlive the process: what is lost or in doubt is made again from the truth.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import numpy as np
import structlog

from exemplar_encoder.arrays import Floats, Ints
from exemplar_server.errors import DataLossError, ServiceError, UnavailableError
from exemplar_server.store.index.gaps import Gaps
from exemplar_server.store.index.kinds import IndexKind
from exemplar_server.store.index.pairs import nearest_pairs
from exemplar_server.store.index.shared_lock import SharedLock
from exemplar_server.store.index.vector_index import VectorIndex
from exemplar_server.store.index.vector_source import Filled, VectorSource, apply
from exemplar_server.store.records import Candidate, Changes, ClassRow, Gallery, Pair, Search, Version, check_vectors
from exemplar_server.store.truth.checksums import damaged
from exemplar_server.store.truth.truth import Truth

_log = structlog.get_logger()

# How often a search begins anew because the gallery changed under it; after that the newest names are taken.
_TRIES = 4
_NAMES_KEPT = 10_000


class GalleryIndex:
    """See the module. Every method may be called from any thread."""

    def __init__(self, truth: Truth, gallery: str, kind: IndexKind, folder: Path | None) -> None:
        """Load the gallery, from its saved index where that is found intact.

        Args:
            truth: where the gallery is.
            gallery: its id.
            kind: which index to use.
            folder: where indexes are saved; None for nowhere.

        Raises:
            NotFoundError: there is no such gallery.
            DataLossError: the gallery's own row is damaged.
        """
        self._truth = truth
        self._id = gallery
        self._kind = kind
        self._source = VectorSource(truth, gallery)
        self._path = None if folder is None else folder / f"{gallery}.index"
        self._updating = threading.Lock()  # before `_content` where both are taken
        self._content = SharedLock()
        self._names: dict[int, ClassRow] = {}
        self._names_lock = threading.Lock()
        self._builder: threading.Thread | None = None
        self._closed = False
        self._index, self._filled = kind.start(self._source, self._path)
        self._version = self._filled.version
        self._gaps = Gaps(self._index)
        self._outgrown()

    @property
    def gallery(self) -> Gallery:
        """The gallery as this index knows it."""
        return self._filled.gallery

    @property
    def version(self) -> Version:
        """The state that the index is at."""
        return self._version

    def follow(self) -> None:
        """Bring the index to the gallery's present state."""
        version = self._truth.version(self._id)
        if version == self._version:
            return
        with self._updating:
            if version != self._version:
                changes = self._truth.changes(self._id, self._version)
                if changes is None:
                    self._swap(*self._kind.start(self._source, None))
                else:
                    self._show(changes)
        self._outgrown()

    def search(self, queries: Floats, count: int) -> Search:
        """Return the `count` nearest classes of each of usable float32 `[n, dimension]`.

        Raises:
            DataLossError: some of the gallery's rows are damaged, so that an answer could be wrong.
        """
        queries = np.ascontiguousarray(queries, np.float32)
        for attempt in range(_TRIES):
            self.follow()
            with self._content.shared():
                gallery, version = self._filled.gallery, self._version
                check_vectors(gallery, queries)
                self._refuse_damage()
                rows, distances = self._index.nearest(queries, count)
                doubtful = self._index.doubtful(gallery.class_count)
                gaps = None if doubtful else self._gaps.value()
            if doubtful:
                self._mend()
                continue
            near = [_cut(*pair, count) for pair in zip(rows, distances, strict=True)]
            names = self._names_of({row for found, _ in near for row in found}, version, attempt == _TRIES - 1)
            if names is not None:
                return Search([_candidates(*pair, names, count) for pair in near], gallery, gaps)
        raise UnavailableError(
            "INDEX_IN_DOUBT", f"the index of gallery {self._id!r} is being mended; try again", retry_after=1.0
        )

    def gaps(self) -> Floats | None:
        """See `GalleryStore`."""
        self.follow()
        with self._content.shared():
            self._refuse_damage()
            return self._gaps.value()

    def nearest_pairs(self, count: int, threshold: float) -> tuple[list[Pair], int, int]:
        """See `GalleryStore`; works on a copy of the vectors, so that changes go on."""
        self.follow()
        with self._content.shared():
            self._refuse_damage()
            rows = self._index.rows()
            vectors, revision = self._index.vectors(rows), self._version.revision
        names, _ = self._truth.class_rows(self._id, rows)
        there = np.array([row in names for row in rows.tolist()], np.bool_)  # some may be deleted by now
        ids = np.array([names[row].class_id for row in rows[there].tolist()], object)
        order = np.argsort(ids)
        ids, vectors = ids[order], vectors[there][order]
        indices, distances, close = nearest_pairs(vectors, count, threshold)
        pairs = [
            Pair(ids[first], ids[second], distance)
            for (first, second), distance in zip(indices.tolist(), distances.tolist(), strict=True)
        ]
        return pairs, close, revision

    def close(self) -> None:
        """Save the index where it is worth it, and let go of it."""
        self._closed = True
        if self._builder is not None:
            self._builder.join()
        with self._updating, self._content.alone():
            self._save()
            self._index.close()

    def _show(self, changes: Changes) -> None:
        """Make changes visible, all at once."""
        put, removed = changes.put, changes.removed
        gone = np.concatenate([removed, np.array(list(put.damaged), np.int64)])
        with self._content.alone():
            apply(self._index, changes)
            self._gaps.removed(np.concatenate([gone, put.rows]))
            self._gaps.added(put.rows, put.vectors)
            self._filled = self._filled.after(changes)
            with self._names_lock:
                for row in (*put.rows.tolist(), *gone.tolist()):
                    self._names.pop(row, None)
                self._remember(changes.names)
                self._version = changes.version

    def _take(self, filled: Filled) -> None:
        self._filled = filled
        with self._names_lock:
            self._names.clear()
            self._version = filled.version

    def _mend(self) -> None:
        """Compare the index with the truth, and make it the same."""
        with self._updating, self._content.alone():
            if self._index.doubtful(self._filled.gallery.class_count):
                _log.warning("mending an index", gallery=self._id)
                self._take(self._source.fill(self._index))
                self._gaps = Gaps(self._index)

    def _swap(self, index: VectorIndex, filled: Filled) -> None:
        """Search another index from now on, which is at no earlier state; the caller has `_updating`."""
        with self._content.alone():
            self._index.close()
            self._index = index
            self._take(filled)
            self._gaps = Gaps(index)

    def _outgrown(self) -> None:
        """Build another index in the background where that would serve better."""
        if not self._index.outgrown() or self._closed or (self._builder is not None and self._builder.is_alive()):
            return
        self._builder = threading.Thread(target=self._build, name=f"index of {self._id}", daemon=True)
        self._builder.start()

    def _build(self) -> None:
        _log.info("building an index", gallery=self._id, classes=len(self._index))
        try:
            index, filled = self._kind.build(self._source)
            with self._updating:
                changes = self._truth.changes(self._id, filled.version)
                if changes is None or self._closed:
                    index.close()
                    return
                apply(index, changes)
                self._swap(index, filled.after(changes))
                self._save()
        except ServiceError as error:  # the gallery is gone, or the truth away: the next change tries again
            _log.warning("an index could not be built", gallery=self._id, reason=error.message)
        else:
            _log.info("built an index", gallery=self._id, classes=len(self._index))

    def drop(self) -> None:
        """Let go of the index and of all that it left elsewhere: its gallery was deleted."""
        self._closed = True
        with self._updating, self._content.alone():
            self._index.remove(self._index.rows())
            self._index.close()
            if self._path is not None:
                self._path.unlink(missing_ok=True)

    def _save(self) -> None:
        if self._path is not None:
            self._kind.save(self._index, self._version, self._path)

    def _names_of(self, rows: set[int], version: Version, any_version: bool) -> dict[int, ClassRow] | None:
        """Return what an answer says of the classes in `rows`, as of a version; None where that has gone by.

        With `any_version` the newest is taken, and a class that was deleted meanwhile is not in it.
        """
        with self._names_lock:
            found = {row: self._names[row] for row in rows if row in self._names}
        if len(found) == len(rows):
            return found
        missing = np.array(sorted(rows - found.keys()), np.int64)
        read, present = self._truth.class_rows(self._id, missing)
        if present == version:
            with self._names_lock:
                if self._version == version:
                    self._remember(read)
        elif not any_version:
            return None
        return found | read

    def _remember(self, names: Mapping[int, ClassRow]) -> None:
        """Keep names, and forget the oldest ones beyond the room for them; the caller has `_names_lock`."""
        self._names |= names
        for row in list(islice(self._names, max(0, len(self._names) - _NAMES_KEPT))):
            del self._names[row]

    def _refuse_damage(self) -> None:
        filled = self._filled
        if filled.damaged:
            raise damaged(self._id, sorted(filled.damaged.values()))
        if filled.missing:
            count = filled.gallery.class_count
            raise DataLossError(
                "DATA_CORRUPT",
                f"gallery {self._id!r} has {count - filled.missing:,} classes where {count:,} were stored; "
                "restore a copy of the data, or delete the gallery and enroll its classes again",
                {"gallery": self._id},
            )


def _cut(rows: Ints, distances: Floats, count: int) -> tuple[list[int], list[float]]:
    """Return those of some rows that may be among the `count` nearest once ties are ordered by id."""
    there = rows >= 0
    rows, distances = rows[there], distances[there]
    if len(rows) > count:
        near = distances <= np.partition(distances, count - 1)[count - 1]
        rows, distances = rows[near], distances[near]
    return rows.tolist(), distances.tolist()


def _candidates(rows: list[int], distances: list[float], names: dict[int, ClassRow], count: int) -> list[Candidate]:
    found = [(distance, names[row]) for row, distance in zip(rows, distances, strict=True) if row in names]
    found.sort(key=lambda item: (item[0], item[1].class_id))
    return [Candidate(of.class_id, of.display_name, of.attributes, distance) for distance, of in found[:count]]
