"""A gallery's vectors in the truth: what an index is built from, follows and is mended by."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from exemplar_encoder.arrays import Floats, Ints
from exemplar_server.errors import DataLossError, UnavailableError
from exemplar_server.store.index.gaps import Gaps
from exemplar_server.store.index.vector_index import Fingerprints, VectorIndex, fingerprint
from exemplar_server.store.records import Changes, Gallery, VectorPage, Version
from exemplar_server.store.truth.checksums import damaged
from exemplar_server.store.truth.truth import Truth

_SAMPLED_PAGES = 32


class FillingStopped(UnavailableError):  # noqa: N818 - it was asked for
    """The index is let go of: its gallery was deleted, and may be there anew, or the server stops."""

    def __init__(self) -> None:
        super().__init__("INDEX_IN_DOUBT", "the gallery was deleted meanwhile; try again", retry_after=1.0)


@dataclass(frozen=True)
class VectorSource:
    """The vectors of one gallery; once `stop` is set, what is being filled ends with `FillingStopped`."""

    truth: Truth
    gallery: str
    stop: threading.Event = field(default_factory=threading.Event)

    def stored(self, rows: Ints) -> tuple[Ints, Floats]:
        """Return those of `rows` int64 `[n]` that the truth has intact, and vectors float32 `[n, dimension]`."""
        page = self.truth.vectors_of(self.gallery, rows)
        return page.rows, page.vectors

    def sample(self, count: int) -> Floats:
        """Return up to `count` vectors float32 `[n, dimension]` from all over the gallery, to train on."""
        first, last = self.truth.vectors(self.gallery, 0, 1), self.truth.last_row(self.gallery)
        if first.last is None:
            return first.vectors
        starts = np.linspace(first.last - 1, last, _SAMPLED_PAGES, endpoint=False, dtype=np.int64)
        size = -(-count // _SAMPLED_PAGES)
        pages = [self.truth.vectors(self.gallery, start, size) for start in np.unique(starts).tolist()]
        rows = np.concatenate([page.rows for page in pages])
        _, places = np.unique(rows, return_index=True)
        return np.concatenate([page.vectors for page in pages])[places][:count]

    def fill(self, index: VectorIndex) -> Filled:
        """See to it that an index, empty or in doubt, holds just what the truth has.

        Raises:
            DataLossError: the gallery's own row is damaged.
        """
        while True:
            version = self.truth.version(self.gallery)
            wrong = self._compare(index)
            changes = self.truth.changes(self.gallery, version)
            if changes is not None:  # None: the gallery was made anew meanwhile
                apply(index, None, changes)
                index.mended()
                missing = self.truth.missing_classes(self.gallery)
                return Filled(changes.gallery, changes.version, wrong, missing).after(changes)

    def same(self, held: Held, version: Version) -> bool:
        """Return whether that is what the truth has, but for what changed since a version."""
        other: list[Ints] = [np.empty(0, np.int64)]
        known: list[Ints] = [np.empty(0, np.int64)]
        for page in self._pages():
            other.append(page.rows[~held.same(page)])
            known.append(page.rows)
        surplus = np.setdiff1d(held.rows, np.concatenate(known))
        changes = self.truth.changes(self.gallery, version)
        if changes is None:
            return False
        changed = np.concatenate([changes.put.rows, changes.removed, np.array(list(changes.put.damaged), np.int64)])
        return not len(np.setdiff1d(np.concatenate([*other, surplus]), changed))

    def _compare(self, index: VectorIndex) -> dict[int, str]:
        """Put what an index lacks or holds otherwise, remove what it should not hold, and return what is damaged."""
        held = Held(index)
        wrong: dict[int, str] = {}
        known: list[Ints] = []
        for page in self._pages():
            other = ~held.same(page)
            index.put(page.rows[other], page.vectors[other])
            wrong |= page.damaged
            known.append(page.rows)
        surplus = np.setdiff1d(held.rows, np.concatenate([np.empty(0, np.int64), *known]))
        index.remove(surplus)
        return wrong

    def _pages(self) -> Iterator[VectorPage]:
        page = self.truth.vectors(self.gallery)
        while page.last is not None:
            if self.stop.is_set():
                raise FillingStopped
            yield page
            page = self.truth.vectors(self.gallery, page.last)


@dataclass(frozen=True)
class Filled:
    """The state that an index was brought to.

    `damaged` are the ids of classes that do not match their checksums, by row; `missing` is how many classes the
    truth has fewer than were stored. `saved_revision` is that of the saved index that it was loaded from, if any.
    """

    gallery: Gallery
    version: Version
    damaged: Mapping[int, str]
    missing: int
    saved_revision: int | None = None

    @property
    def whole(self) -> bool:
        """Whether nothing is damaged or missing."""
        return not self.damaged and not self.missing

    def refuse_damage(self) -> None:
        """Raise `DataLossError` where an answer could be wrong, for what is damaged or missing."""
        if self.damaged:
            raise damaged(self.gallery.id, sorted(self.damaged.values()))
        if self.missing:
            count = self.gallery.class_count
            raise DataLossError(
                "DATA_CORRUPT",
                f"gallery {self.gallery.id!r} has {count - self.missing:,} classes where {count:,} were stored; "
                "restore a copy of the data, or delete the gallery and enroll its classes again",
                {"gallery": self.gallery.id},
            )

    def after(self, changes: Changes) -> Filled:
        """Return the state after changes."""
        mended = {*changes.put.rows.tolist(), *changes.removed.tolist()}
        wrong = {row: name for row, name in self.damaged.items() if row not in mended} | dict(changes.put.damaged)
        return replace(self, gallery=changes.gallery, version=changes.version, damaged=wrong)


def apply(index: VectorIndex, gaps: Gaps | None, changes: Changes) -> None:
    """Make changes in an index and the gaps that go with it; to make them twice does no harm."""
    put = changes.put
    gone = np.concatenate([changes.removed, np.array(list(put.damaged), np.int64)])
    if len(gone):
        index.remove(gone)
    if len(put.rows):
        index.put(put.rows, put.vectors)
    if gaps is not None:
        gaps.removed(np.concatenate([gone, put.rows]))
        gaps.added(put.rows, put.vectors)


class Held:
    """What an index says that it holds."""

    def __init__(self, index: VectorIndex) -> None:
        rows, prints = index.fingerprints()
        order = np.argsort(rows, kind="stable")
        self.rows: Ints = rows[order]
        self._prints: Fingerprints = prints[order]

    def same(self, page: VectorPage) -> npt.NDArray[np.bool_]:
        """Return for each row of a page whether it is held once, with the same vector."""
        if not len(self.rows):
            return np.zeros(len(page.rows), np.bool_)
        first = np.searchsorted(self.rows, page.rows, "left")
        once = np.searchsorted(self.rows, page.rows, "right") - first == 1
        found = self._prints[np.minimum(first, len(self.rows) - 1)]
        return np.asarray(once & (found == fingerprint(page.rows, page.vectors)))
