"""One gallery as it is searched: its index, its gaps, and what an answer says of its classes.

It follows the truth. Every search looks which state the gallery is in and, where the index is behind, brings it there
first; what was acknowledged anywhere is found. A search sees one committed state whole. Nothing here is needed to
outlive the process: what is lost or in doubt is made again from the truth.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import structlog

from exemplar_encoder.arrays import Floats, Ints
from exemplar_encoder.kinds_of_picture import Cloud
from exemplar_server.errors import DataLossError, ServiceError, UnavailableError
from exemplar_server.store.index.candidates import candidates, nearest_rows
from exemplar_server.store.index.class_names import ClassNames
from exemplar_server.store.index.gaps import Gaps
from exemplar_server.store.index.kinds import IndexKind
from exemplar_server.store.index.pairs import nearest_pairs
from exemplar_server.store.index.shared_lock import SharedLock
from exemplar_server.store.index.vector_index import IndexBehind, VectorIndex
from exemplar_server.store.index.vector_source import Filled, FillingStopped, Held, VectorSource, apply
from exemplar_server.store.records import Changes, Gallery, Pair, Search, Version, check_vectors
from exemplar_server.store.truth.truth import Truth

_log = structlog.get_logger()

# How often a search begins anew because the gallery changed under it; and again, with changes held up.
_TRIES = 4

# An index that was saved so many revisions ago is quick to bring up to date.
_NEARLY = 1_000


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
        self._updating = threading.RLock()  # before `_content` where both are taken
        self._content = SharedLock()
        self._builder: threading.Thread | None = None
        self._starting = threading.Lock()
        self._index, self._filled = kind.start(self._source, self._path)
        self._names = ClassNames(truth, gallery, self._filled.version)
        self._saved_revision = self._filled.saved_revision
        self._gaps = Gaps(self._index)
        self._outgrown()

    @property
    def gallery(self) -> Gallery:
        """The gallery as this index knows it."""
        return self._filled.gallery

    @property
    def version(self) -> Version:
        """The state that the index is at."""
        return self._filled.version

    def damage(self) -> str:
        """Return why the gallery cannot be searched; empty where it can."""
        try:
            self._filled.refuse_damage()
        except DataLossError as error:
            return error.message
        return ""

    def follow(self) -> None:
        """Bring the index to the gallery's present state."""
        version = self._truth.version(self._id)
        if version == self._filled.version:
            return
        with self._updating:
            if version != self._filled.version:
                changes = self._truth.changes(self._id, self._filled.version)
                if changes is None:
                    try:
                        index, filled = self._kind.start(self._source, None)
                    except FillingStopped:  # the gallery was deleted, and is made anew just now
                        raise _in_doubt(self._id) from None
                    self._swap(index, Gaps(index), filled)
                else:
                    self._show(changes)
        self._outgrown()

    def search(self, queries: Floats, count: int, considered: int) -> Search:
        """Return the `count` nearest classes of each of usable float32 `[n, dimension]`, see `GalleryStore`.

        Raises:
            DataLossError: some of the gallery's rows are damaged, so that an answer could be wrong.
        """
        queries = np.ascontiguousarray(queries, np.float32)
        for _ in range(_TRIES):
            self.follow()
            found = self._try(queries, count, considered, False)
            if found is not None:
                return found
        with self._updating:  # whoever changes the gallery in this process now waits to be followed
            for number in range(_TRIES):
                self.follow()
                found = self._try(queries, count, considered, number == _TRIES - 1)
                if found is not None:
                    return found
        raise _in_doubt(self._id)

    def gaps(self, joining: Floats | None = None) -> Floats | None:
        """See `GalleryStore`."""
        for _ in range(_TRIES):
            self.follow()
            with self._content.shared(), suppress(IndexBehind):
                self._filled.refuse_damage()
                return self._gaps.value() if joining is None else self._gaps.value_with(joining)
        raise _in_doubt(self._id)

    def cloud(self) -> Cloud:
        """See `GalleryStore`."""
        self.gaps()
        return self._gaps.classes

    def nearest_pairs(self, count: int, threshold: float, go_on: Callable[[], None]) -> tuple[list[Pair], int, int]:
        """See `GalleryStore`; works on a copy of the vectors, so that changes go on."""
        rows, vectors, revision = self._everything()
        names, _ = self._truth.class_rows(self._id, rows)
        there = np.array([row in names for row in rows.tolist()], np.bool_)  # some may be deleted by now
        ids = np.array([names[row].class_id for row in rows[there].tolist()], object)
        order = np.argsort(ids)
        ids, vectors = ids[order], vectors[there][order]
        indices, distances, close = nearest_pairs(vectors, count, threshold, go_on)
        pairs = [
            Pair(ids[first], ids[second], distance)
            for (first, second), distance in zip(indices.tolist(), distances.tolist(), strict=True)
        ]
        return pairs, close, revision

    def compare(self) -> bool:
        """Return whether the index holds what the truth has; where it does not, build it anew in the background."""
        with self._content.shared():
            held, version = Held(self._index), self._filled.version
        if self._source.same(held, version):
            return True
        _log.warning("an index is not as the database is", gallery=self._id)
        self._start_building()
        return False

    def close(self) -> None:
        """Save the index where it is worth it, and let go of it."""
        self._stop_building()
        with self._updating, self._content.alone():
            behind = self._filled.version.revision - (self._saved_revision or 0)
            if self._saved_revision is None or not 0 <= behind < _NEARLY:
                self._save(self._index, self._filled)
            self._index.close()

    def _try(self, queries: Floats, count: int, considered: int, last: bool) -> Search | None:
        """Search once; return None where the gallery changed meanwhile or the index is in doubt."""
        try:
            with self._content.shared():
                gallery, version = self._filled.gallery, self._filled.version
                check_vectors(gallery, queries)
                self._filled.refuse_damage()
                rows, distances = self._index.nearest(queries, considered)
                doubtful = self._index.doubtful(gallery.class_count)
                gaps, classes = None if doubtful else self._gaps.value(), self._gaps.classes
        except IndexBehind:
            return None
        if doubtful:
            self._mend(version, last)
            return None
        near = [nearest_rows(*pair, count, considered) for pair in zip(rows, distances, strict=True)]
        names = self._names.of({row for found, _ in near for row in found}, version)
        if names is None:
            return None
        results = [candidates(found, ascending, names, count) for found, ascending in near]
        return Search(results, [ascending[:considered] for _, ascending in near], gallery, gaps, classes)

    def _everything(self) -> tuple[Ints, Floats, int]:
        for _ in range(_TRIES):
            self.follow()
            with self._content.shared(), suppress(IndexBehind):
                self._filled.refuse_damage()
                rows = self._index.rows()
                return rows, self._index.vectors(rows), self._filled.version.revision
        raise _in_doubt(self._id)

    def _show(self, changes: Changes) -> None:
        """Make changes visible, all at once."""
        with self._content.alone():
            apply(self._index, self._gaps, changes)
            self._filled = self._filled.after(changes)
            self._names.follow(changes)

    def _take(self, filled: Filled) -> None:
        self._filled = filled
        self._names = ClassNames(self._truth, self._id, filled.version)

    def _mend(self, version: Version, for_sure: bool) -> None:
        """Compare an index that was in doubt at `version` with the truth, and make it the same.

        Unless `for_sure`, one that was only behind is taken to be right once it has followed.
        """
        self.follow()
        with self._updating, self._content.alone():
            if self._filled.version != version and not for_sure:
                self._index.mended()
            elif self._index.doubtful(self._filled.gallery.class_count):
                _log.warning("mending an index", gallery=self._id)
                self._take(self._source.fill(self._index))
                self._gaps = Gaps(self._index)

    def _swap(self, index: VectorIndex, gaps: Gaps, filled: Filled) -> None:
        """Search another index from now on, which is at no earlier state; the caller has `_updating`."""
        with self._content.alone():
            self._index.close()
            self._index, self._gaps = index, gaps
            self._take(filled)

    def _outgrown(self) -> None:
        """Build another index in the background where that would serve better."""
        if self._index.outgrown():
            self._start_building()

    def _start_building(self) -> None:
        with self._starting:
            if self._source.stop.is_set() or (self._builder is not None and self._builder.is_alive()):
                return
            self._builder = threading.Thread(target=self._build, name=f"index of {self._id}", daemon=True)
            self._builder.start()

    def _stop_building(self) -> None:
        self._source.stop.set()
        with self._starting:
            builder = self._builder
        if builder is not None:
            builder.join()

    def _build(self) -> None:
        _log.info("building an index", gallery=self._id, classes=len(self._index))
        try:
            # All that takes time comes before others have to wait for it.
            with _quick_turns:
                index, filled = self._kind.build(self._source)
                self._save(index, filled)
                gaps = Gaps(index)
                gaps.value()
            with self._updating:
                changes = self._truth.changes(self._id, filled.version)
                if changes is None or self._source.stop.is_set():
                    index.close()
                    return
                apply(index, gaps, changes)
                self._swap(index, gaps, filled.after(changes))
        except FillingStopped:
            _log.info("no index is needed any more", gallery=self._id)
        except ServiceError as error:  # the gallery is gone, or the truth away: the next change tries again
            _log.warning("an index could not be built", gallery=self._id, reason=error.message)
        else:
            _log.info("built an index", gallery=self._id, classes=len(self._index))

    def drop(self) -> None:
        """Let go of the index and of all that it left elsewhere: its gallery was deleted."""
        self._stop_building()
        with self._updating, self._content.alone():
            self._index.clear()
            self._index.close()
            if self._path is not None:
                self._path.unlink(missing_ok=True)

    def _save(self, index: VectorIndex, filled: Filled) -> None:
        if self._path is not None and filled.whole:
            self._kind.save(index, filled.version, self._path)
            self._saved_revision = filled.version.revision


def _in_doubt(gallery: str) -> UnavailableError:
    return UnavailableError(
        "INDEX_IN_DOUBT",
        f"gallery {gallery!r} is changed too fast, or its index is being mended; try again",
        retry_after=1.0,
    )


class _QuickTurns:
    """Lets threads take quick turns at Python: else one that builds keeps the others waiting 5 ms each time.

    The process has one such setting, and several galleries may be built side by side: the last one puts it back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = sys.getswitchinterval()
                sys.setswitchinterval(self._before / 50)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                sys.setswitchinterval(self._before)


_quick_turns = _QuickTurns()
