"""The gallery store: a truth in a database, and an index of each gallery that follows it.

Commit to the truth, apply to the index, acknowledge. A search looks into the truth for the state that a gallery is
in, and is answered by an index that is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from exemplar_encoder.arrays import Floats
from exemplar_encoder.kinds_of_picture import Cloud
from exemplar_server.store.change_group import ChangeGroup
from exemplar_server.store.index.indexes import Indexes
from exemplar_server.store.index.kinds import IndexKind
from exemplar_server.store.records import Gallery, Pair, Search
from exemplar_server.store.truth.database import Database
from exemplar_server.store.truth.sql_truth import SqlTruth


class IndexedStore(SqlTruth):
    """The `GalleryStore`: its changes are the truth's, its searches the indexes'."""

    def __init__(self, database: Database, kind: IndexKind, folder: Path | None) -> None:
        """Load every gallery.

        Args:
            database: where the truth is.
            kind: how galleries are indexed.
            folder: where indexes are saved; None for nowhere.

        Raises:
            ServiceError: the database cannot be read.
        """
        super().__init__(database)
        self._kind = kind
        self._indexes = Indexes(self, kind, folder)
        self._indexes.load_all()
        database.watch(self._indexes.follow_loaded)

    def get_gallery(self, gallery: str) -> Gallery:
        """See `Galleries`; as its index knows it, where that is at its present state."""
        if (broken := self._indexes.broken(gallery)) is not None:
            raise broken
        held = self._indexes.find(gallery)
        if held is not None and held.version == self.version(gallery):
            return held.gallery
        return super().get_gallery(gallery)

    def list_galleries(self, after: str = "", limit: int = 100) -> list[Gallery]:
        """See `Galleries`. Galleries that are damaged as a whole are not listed."""
        found: list[Gallery] = []
        while len(found) < limit and (page := super().list_galleries(after, limit - len(found))):
            found += [gallery for gallery in page if self._indexes.broken(gallery.id) is None]
            after = page[-1].id
        return found

    def search(self, gallery: str, queries: Floats, count: int, considered: int = 0) -> Search:
        """See `GalleryStore`."""
        return self._indexes.get(gallery).search(queries, count, max(count, considered))

    @contextmanager
    def together(self, gallery: str | None = None, request_ids: Sequence[str] = ()) -> Iterator[ChangeGroup]:
        """See `GalleryStore`."""
        with self._database.transaction(*request_ids) as connection:
            group = ChangeGroup(self._database, connection, self.search)
            if gallery is not None:
                group.lock(gallery)
            yield group
        for each in group.changed:
            self._committed(each)

    def gaps(self, gallery: str, joining: Floats | None = None) -> Floats | None:
        """See `GalleryStore`."""
        return self._indexes.get(gallery).gaps(joining)

    def cloud(self, gallery: str) -> Cloud:
        """See `GalleryStore`."""
        return self._indexes.get(gallery).cloud()

    def nearest_pairs(
        self, gallery: str, count: int, threshold: float, go_on: Callable[[], None] = lambda: None
    ) -> tuple[list[Pair], int, int]:
        """See `GalleryStore`."""
        return self._indexes.get(gallery).nearest_pairs(count, threshold, go_on)

    def compare_indexes(self) -> None:
        """See `GalleryStore`."""
        self._indexes.compare()

    def damage(self) -> dict[str, str]:
        """See `GalleryStore`."""
        return self._indexes.damage()

    def release_reserve(self) -> bool:
        """See `GalleryStore`."""
        return self._database.release_reserve()

    def reclaim(self) -> bool:
        """See `GalleryStore`."""
        return self._database.reclaim()

    def on_availability(self, tell: Callable[[bool], None]) -> None:
        """See `GalleryStore`."""
        self._database.on_availability(tell)

    @property
    def remote(self) -> bool:
        """See `Galleries`."""
        return self._database.remote or self._kind.remote

    def close(self) -> None:
        """See `Galleries`."""
        self._database.unwatch()  # who follows a change needs the indexes
        self._indexes.close()
        self._kind.close()
        super().close()

    def _committed(self, gallery: str) -> None:
        self._indexes.follow(gallery)
