"""The galleries of a database in memory, and those that are too damaged to be.

A damaged class costs its own gallery's searches only; a gallery whose own row is damaged is refused whole, by name.
"""

from __future__ import annotations

from exemplar_server.errors import DataLossError, class_not_found, gallery_not_found
from exemplar_server.store import class_rows, gallery_rows
from exemplar_server.store.database import Database
from exemplar_server.store.gallery_index import GalleryIndex, load_index
from exemplar_server.store.records import Gallery
from exemplar_server.store.schema import damaged, typed_errors


class LoadedGalleries:
    """Galleries by id; `broken` are the errors of those that cannot be loaded. One thread at a time changes it."""

    def __init__(self, database: Database) -> None:
        """Load every gallery."""
        self.broken: dict[str, DataLossError] = {}
        self._held: dict[str, GalleryIndex] = {}
        with database.reading() as reader:
            for gallery_id, gallery in gallery_rows.every(reader):
                problem = "its own row does not match its checksum"
                try:
                    if gallery is not None:
                        with typed_errors():
                            self._held[gallery_id] = load_index(gallery, class_rows.every(reader, gallery_id))
                        continue
                except DataLossError as error:
                    problem = error.message
                self.broken[gallery_id] = _broken(gallery_id, problem)

    def __contains__(self, gallery: str) -> bool:
        """Return whether there is such a gallery, broken or not."""
        return gallery in self._held or gallery in self.broken

    def get(self, gallery: str) -> GalleryIndex:
        """Return a gallery, or raise what is wrong with it."""
        held = self._held.get(gallery)
        if held is None:
            raise self.broken.get(gallery) or gallery_not_found(gallery)
        return held

    def row(self, gallery: str, class_id: str) -> int:
        """Return the row of a class, damaged or not; raise where there is none."""
        row = self.get(gallery).row_of(class_id)
        if row is None:
            raise class_not_found(gallery, class_id)
        return row

    def intact_row(self, gallery: str, class_id: str) -> int:
        """Return the row of a class; raise where there is none or it is damaged."""
        row = self.row(gallery, class_id)
        if class_id in self.get(gallery).damaged:
            raise damaged(gallery, [class_id])
        return row

    def page(self, after: str, limit: int) -> list[Gallery]:
        """List galleries that are not broken, in order of id."""
        held = dict(self._held)
        return [held[gallery].gallery for gallery in sorted(held) if gallery > after][:limit]

    def add(self, gallery: Gallery) -> None:
        """Hold a new, empty gallery."""
        self._held[gallery.id] = load_index(gallery, [])

    def drop(self, gallery: str) -> None:
        """Hold a gallery no longer."""
        self._held.pop(gallery, None)
        self.broken.pop(gallery, None)


def _broken(gallery: str, problem: str) -> DataLossError:
    return DataLossError(
        "DATA_CORRUPT",
        f"gallery {gallery!r} is damaged: {problem}; restore a copy of the data directory or delete the gallery",
        {"gallery": gallery},
    )
