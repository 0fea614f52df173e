"""The reading half of the embedded store: rows from the database, searches from memory."""

from __future__ import annotations

from typing import Any

from exemplar_encoder.arrays import Floats
from exemplar_server.errors import exemplar_not_found
from exemplar_server.store import class_rows, exemplar_rows, request_rows
from exemplar_server.store.database import Database
from exemplar_server.store.loaded_galleries import LoadedGalleries
from exemplar_server.store.moments import now_micros
from exemplar_server.store.records import ClassRecord, Exemplar, Gallery, Pair, Search
from exemplar_server.store.request import Request


class ReadingStore:
    """The methods of `GalleryStore` that change nothing."""

    def __init__(self, database: Database) -> None:
        """Load every gallery of a database."""
        self._database = database
        self._galleries = LoadedGalleries(database)

    def get_gallery(self, gallery: str) -> Gallery:
        """See `GalleryStore`."""
        return self._galleries.get(gallery).gallery

    def list_galleries(self, after: str = "", limit: int = 100) -> list[Gallery]:
        """See `GalleryStore`. Galleries whose own row is damaged are not listed."""
        return self._galleries.page(after, limit)

    def get_class(self, gallery: str, class_id: str) -> ClassRecord:
        """See `GalleryStore`."""
        row = self._galleries.row(gallery, class_id)
        with self._database.reading() as reader:
            return class_rows.read(reader, gallery, row, class_id)

    def list_classes(self, gallery: str, after: str = "", limit: int = 100) -> list[ClassRecord]:
        """See `GalleryStore`."""
        self._galleries.get(gallery)
        with self._database.reading() as reader:
            return class_rows.page(reader, gallery, after, limit)

    def exemplar_embeddings(self, gallery: str, class_id: str) -> dict[str, Floats]:
        """See `GalleryStore`."""
        row = self._galleries.row(gallery, class_id)
        with self._database.reading() as reader:
            return exemplar_rows.embeddings(reader, gallery, class_id, row)

    def exemplar_image(self, gallery: str, class_id: str, sha256: str) -> tuple[bytes, Exemplar]:
        """See `GalleryStore`."""
        row = self._galleries.row(gallery, class_id)
        with self._database.reading() as reader:
            found = exemplar_rows.with_image(reader, gallery, class_id, row, sha256)
        if found is None:
            raise exemplar_not_found(gallery, class_id, sha256)
        return found

    def classes_with_exemplar(self, gallery: str, sha256: str) -> list[str]:
        """See `GalleryStore`."""
        self._galleries.get(gallery)
        with self._database.reading() as reader:
            return class_rows.ids_with_exemplar(reader, gallery, sha256)

    def search(self, gallery: str, queries: Floats, count: int) -> Search:
        """See `GalleryStore`."""
        held = self._galleries.get(gallery)
        held.check(queries)
        return held.search(queries, count)

    def gaps(self, gallery: str) -> Floats | None:
        """See `GalleryStore`."""
        return self._galleries.get(gallery).gaps()

    def nearest_pairs(self, gallery: str, count: int, threshold: float) -> tuple[list[Pair], int, int]:
        """See `GalleryStore`."""
        return self._galleries.get(gallery).nearest_pairs(count, threshold)

    def response_to(self, request: Request[Any]) -> bytes | None:
        """See `GalleryStore`."""
        with self._database.reading() as reader:
            return request_rows.answered(reader, request, now_micros())
