"""What a truth in a database tells without changing anything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from exemplar_encoder.arrays import Floats, Ints
from exemplar_server.errors import class_not_found, exemplar_not_found
from exemplar_server.store.records import (
    Changes,
    ClassCopy,
    ClassRecord,
    ClassRow,
    Exemplar,
    Gallery,
    KeptResponse,
    VectorPage,
    Version,
)
from exemplar_server.store.request import Request
from exemplar_server.store.truth import change_rows, class_rows, exemplar_rows, gallery_rows, request_rows
from exemplar_server.store.truth.database import Connection, Readable
from exemplar_server.store.truth.moments import now_micros

# With so many changes at once, few are asked for before the names of the others are looked up anyway.
_NAMES_TOLD = 1000

_NO_ROWS: Ints = np.empty(0, np.int64)


class SqlReading:
    """The methods of `Truth` that change nothing."""

    def __init__(self, database: Readable) -> None:
        self._database = database
        self._versions: dict[str, tuple[int, Version]] = {}

    @property
    def remote(self) -> bool:
        """See `Truth`."""
        return self._database.remote

    def get_gallery(self, gallery: str) -> Gallery:
        """See `Truth`."""
        with self._database.reading() as reader:
            return gallery_rows.read(reader, gallery)

    def list_galleries(self, after: str = "", limit: int = 100) -> list[Gallery]:
        """See `Truth`. Galleries whose own row is damaged are not listed."""
        found: list[Gallery] = []
        with self._database.reading() as reader:
            while len(found) < limit and (page := gallery_rows.page(reader, after, limit - len(found))):
                found += [gallery for _, gallery in page if gallery is not None]
                after = page[-1][0]
        return found

    def all_galleries(self) -> Iterator[Gallery]:
        """Yield the galleries that are not damaged, in order of id."""
        after = ""
        while page := self.list_galleries(after):
            yield from page
            after = page[-1].id

    def damaged_galleries(self) -> list[str]:
        """See `Truth`."""
        found: list[str] = []
        after = ""
        with self._database.reading() as reader:
            while page := gallery_rows.page(reader, after, 1000):
                found += [gallery_id for gallery_id, gallery in page if gallery is None]
                after = page[-1][0]
        return found

    def get_class(self, gallery: str, class_id: str) -> ClassRecord:
        """See `Truth`."""
        with self._database.snapshot() as reader:
            return class_rows.read(reader, gallery, self._row(reader, gallery, class_id))

    def list_classes(self, gallery: str, after: str = "", limit: int = 100) -> list[ClassRecord]:
        """See `Truth`."""
        with self._database.snapshot() as reader:
            gallery_rows.version(reader, gallery)
            return class_rows.page(reader, gallery, after, limit)

    def exemplar_embeddings(self, gallery: str, class_id: str) -> dict[str, Floats]:
        """See `Truth`."""
        with self._database.snapshot() as reader:
            return exemplar_rows.embeddings(reader, gallery, class_id, self._row(reader, gallery, class_id))

    def exemplar_image(self, gallery: str, class_id: str, sha256: str) -> tuple[bytes, Exemplar]:
        """See `Truth`."""
        with self._database.snapshot() as reader:
            row = self._row(reader, gallery, class_id)
            found = exemplar_rows.with_image(reader, gallery, class_id, row, sha256)
        if found is None:
            raise exemplar_not_found(gallery, class_id, sha256)
        return found

    def classes_with_exemplar(self, gallery: str, sha256: str) -> list[str]:
        """See `Truth`."""
        with self._database.snapshot() as reader:
            gallery_rows.version(reader, gallery)
            return class_rows.ids_with_exemplar(reader, gallery, sha256)

    def response_to(self, request: Request[Any]) -> bytes | None:
        """See `Truth`."""
        with self._database.reading() as reader:
            return request_rows.answered(reader, request, now_micros())

    def version(self, gallery: str) -> Version:
        """See `Truth`. Where nobody else commits, it is read once after each commit."""
        commits = self._database.commits
        if commits is not None:
            at, known = self._versions.get(gallery, (None, None))
            if at == commits and known is not None:
                return known
        with self._database.reading() as reader:
            version = gallery_rows.version(reader, gallery)
        if commits is not None:  # as it was before reading: a commit since is noticed by the next who asks
            self._versions[gallery] = commits, version
        return version

    def changes(self, gallery: str, since: Version) -> Changes | None:
        """See `Truth`."""
        with self._database.snapshot() as reader:
            present, version = gallery_rows.read(reader, gallery), gallery_rows.version(reader, gallery)
            rows = _NO_ROWS if since == version else change_rows.since(reader, gallery, since)
            if rows is None:
                return None
            put = class_rows.vectors_of(reader, present, rows)
            names = class_rows.names(reader, gallery, put.rows[:_NAMES_TOLD])
        there = {*put.rows.tolist(), *put.damaged}
        removed = [row for row in rows.tolist() if row not in there]
        return Changes(present, version, put, names, np.array(removed, np.int64))

    def vectors(self, gallery: str, after: int = 0, limit: int = 10_000) -> VectorPage:
        """See `Truth`."""
        with self._database.snapshot() as reader:
            return class_rows.vectors(reader, gallery_rows.read(reader, gallery), after, limit)

    def last_row(self, gallery: str) -> int:
        """See `Truth`."""
        with self._database.reading() as reader:
            return class_rows.last(reader, gallery)

    def missing_classes(self, gallery: str) -> int:
        """See `Truth`."""
        with self._database.snapshot() as reader:
            return gallery_rows.read(reader, gallery).class_count - class_rows.count(reader, gallery)

    def vectors_of(self, gallery: str, rows: Ints) -> VectorPage:
        """See `Truth`."""
        with self._database.snapshot() as reader:
            return class_rows.vectors_of(reader, gallery_rows.read(reader, gallery), rows)

    def class_rows(self, gallery: str, rows: Ints) -> tuple[dict[int, ClassRow], Version]:
        """See `Truth`. Single statements cost less than a snapshot, and nearly always see one state."""
        with self._database.reading() as reader:
            before = gallery_rows.version(reader, gallery)
            while True:
                found = class_rows.names(reader, gallery, rows)
                version = gallery_rows.version(reader, gallery)
                if version == before:
                    return found, version
                before = version

    def class_copies(self, gallery: str, after: str = "", limit: int = 100) -> list[ClassCopy]:
        """See `Truth`."""
        with self._database.snapshot() as reader:
            gallery_rows.version(reader, gallery)
            return class_rows.copies(reader, gallery, after, limit)

    def kept_responses(self, after: str = "", limit: int = 1000) -> list[KeptResponse]:
        """See `Truth`."""
        with self._database.reading() as reader:
            return request_rows.page(reader, after, limit, now_micros())

    def _row(self, reader: Connection, gallery: str, class_id: str) -> int:
        """Return the row of a class, damaged or not; raise where there is none."""
        found = class_rows.find(reader, gallery, [class_id])
        if not found:
            gallery_rows.version(reader, gallery)
            raise class_not_found(gallery, class_id)
        return found[class_id][0]
