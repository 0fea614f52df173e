"""The promises of the truth: galleries, classes and exemplars, on disk, in transactions.

What is acknowledged is durable. The changes of one call are made together or not at all, and each grows its gallery's
revision; changes of one gallery come one after the other, whoever makes them. Every row carries a checksum, and one
that does not match it is never handed out. Every method may be called from any thread and, where the truth is a
server's, from any number of processes.

Nothing here searches: `changes` and `vectors` are what an index follows it by.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from exemplar_encoder.arrays import Ints
from exemplar_server.store.gallery_store import Galleries
from exemplar_server.store.records import (
    Changes,
    ClassCopy,
    ClassRow,
    Gallery,
    KeptResponse,
    VectorPage,
    Version,
)


class Truth(Galleries, Protocol):
    """Keeps galleries on disk; see the module, and `Galleries` for all but what is here."""

    def damaged_galleries(self) -> list[str]:
        """Return the ids of galleries whose own row is damaged; they are not listed, and can be deleted by force."""
        ...

    # What an index follows.

    def version(self, gallery: str) -> Version:
        """Return which state a gallery is in: one quick look. Raises `NotFoundError`."""
        ...

    def changes(self, gallery: str, since: Version) -> Changes | None:
        """Return what became of the rows that changed since a state; None where that is not known any more.

        It is not known when too many changes were made since, or when the gallery was never in that state: it was
        made anew, or a copy from before was put in its place.
        """
        ...

    def vectors(self, gallery: str, after: int = 0, limit: int = 10_000) -> VectorPage:
        """Return the rows and vectors of a gallery in order of row, from the first row greater than `after`."""
        ...

    def last_row(self, gallery: str) -> int:
        """Return the greatest row of a gallery, 0 where it has none."""
        ...

    def missing_classes(self, gallery: str) -> int:
        """Return how many classes there are fewer than were stored; 0 unless the database was damaged."""
        ...

    def vectors_of(self, gallery: str, rows: Ints) -> VectorPage:
        """Return those of `rows` int64 `[n]` that are the gallery's, with their vectors."""
        ...

    def class_rows(self, gallery: str, rows: Ints) -> tuple[dict[int, ClassRow], Version]:
        """Return those of `rows` int64 `[n]` that are the gallery's, and the state in which they are so.

        Raises:
            DataLossError: one of them is damaged.
        """
        ...

    # What carries galleries elsewhere.

    def class_copies(self, gallery: str, after: str = "", limit: int = 100) -> list[ClassCopy]:
        """Return classes whole, in order of id, from the first id greater than `after`.

        Raises:
            DataLossError: one of them is damaged, an image too.
        """
        ...

    def kept_responses(self, after: str = "", limit: int = 1000) -> list[KeptResponse]:
        """Return the responses that are kept, in order of id, from the first id greater than `after`."""
        ...

    def load_gallery(self, gallery: Gallery) -> None:
        """Take a gallery over with its settings, times and revision, and as yet without classes.

        Raises:
            AlreadyExistsError: there is one of this id.
        """
        ...

    def load_classes(self, gallery: str, classes: Sequence[ClassCopy]) -> int:
        """Store classes that are new to a gallery, in bulk and together, with the times that they have.

        Returns:
            The gallery's revision, which grows by one for each call.

        Raises:
            AlreadyExistsError: the gallery has one of them.
        """
        ...

    def finish_load(self, gallery: Gallery) -> None:
        """End what `load_gallery` began: the gallery's row becomes what it was where it comes from."""
        ...

    def load_responses(self, responses: Iterable[KeptResponse]) -> None:
        """Take kept responses over; one that is there already stays."""
        ...
