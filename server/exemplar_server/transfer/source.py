"""What galleries are carried from: a truth, or an archive."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Protocol

from exemplar_server.errors import DataLossError, FailedPreconditionError, gallery_not_found
from exemplar_server.store.records import ClassCopy, Gallery, KeptResponse
from exemplar_server.store.truth.sql_reading import SqlReading

# The model of a gallery that is being loaded. It is no server's, so none answers from half a gallery.
UNFINISHED = "unfinished"

# How much is held in memory, and written together.
BATCH_CLASSES = 1000
BATCH_BYTES = 32 * 1024 * 1024


class Source(Protocol):
    """Galleries in order of id, each with its classes in order of id."""

    name: str
    """What people call it by."""

    def galleries(self) -> Sequence[Gallery]:
        """Return the galleries. Raises `ServiceError` where one cannot be carried."""
        ...

    def classes(self, gallery: str) -> Iterator[ClassCopy]:
        """Yield a gallery's classes. Raises `DataLossError`."""
        ...

    def responses(self) -> Iterator[KeptResponse]:
        """Yield the kept responses; none where only some galleries are carried, since they are of all."""
        ...


class TruthSource:
    """The `Source` that a truth is, which nobody changes."""

    def __init__(self, truth: SqlReading, name: str, only: Collection[str] = ()) -> None:
        """Read some galleries, or all where `only` names none."""
        self.name = name
        self._truth = truth
        self._only = only

    def galleries(self) -> list[Gallery]:
        """See `Source`.

        Raises:
            NotFoundError: one that is asked for is not there.
            DataLossError: one is damaged.
            FailedPreconditionError: one was not loaded to its end.
        """
        found = [gallery for gallery in self._truth.all_galleries() if not self._only or gallery.id in self._only]
        damaged = [gallery for gallery in self._truth.damaged_galleries() if not self._only or gallery in self._only]
        if damaged:
            raise DataLossError(
                "DATA_CORRUPT",
                f"in {self.name} the row of gallery {damaged[0]!r} is damaged; take the others with --gallery",
                {"gallery": damaged[0]},
            )
        for name in sorted({*self._only} - {gallery.id for gallery in found}):
            raise gallery_not_found(name)
        for gallery in found:
            if gallery.model == UNFINISHED:
                raise FailedPreconditionError(
                    "GALLERY_UNFINISHED",
                    f"gallery {gallery.id!r} of {self.name} was not loaded to its end; run the command that loaded "
                    "it again, or delete it, or take the others with --gallery",
                    {"gallery": gallery.id},
                )
        return found

    def classes(self, gallery: str) -> Iterator[ClassCopy]:
        """See `Source`."""
        return all_classes(self._truth, gallery)

    def responses(self) -> Iterator[KeptResponse]:
        """See `Source`."""
        return iter(()) if self._only else all_responses(self._truth)


def all_classes(truth: SqlReading, gallery: str) -> Iterator[ClassCopy]:
    """Yield a gallery's classes in order of id; pages are as long as their images let them be."""
    after, limit = "", 16
    while page := truth.class_copies(gallery, after, limit):
        yield from page
        after = page[-1].id
        limit = max(1, min(BATCH_CLASSES, BATCH_BYTES * len(page) // max(1, sum(map(size, page))), 4 * limit))


def all_responses(truth: SqlReading) -> Iterator[KeptResponse]:
    """Yield the kept responses, in order of id."""
    after = ""
    while page := truth.kept_responses(after):
        yield from page
        after = page[-1].id


def batches(classes: Iterable[ClassCopy]) -> Iterator[list[ClassCopy]]:
    """Put classes together as they are written."""
    batch: list[ClassCopy] = []
    held = 0
    for each in classes:
        batch.append(each)
        held += size(each)
        if len(batch) == BATCH_CLASSES or held >= BATCH_BYTES:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def size(of: ClassCopy) -> int:
    """Return how many bytes a class's images and embeddings take."""
    return of.embedding.nbytes + sum(len(item.image) + item.embedding.nbytes for item in of.exemplars)
