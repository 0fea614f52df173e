"""The promises of the truth: galleries, classes and exemplars, on disk, in transactions.

What is acknowledged is durable. The changes of one call are made together or not at all, and each grows its gallery's
revision; changes of one gallery come one after the other, whoever makes them. Every row carries a checksum, and one
that does not match it is never handed out. Ids order by Unicode code point. Every method may be called from any thread
and, where the truth is a server's, from any number of processes.

Nothing here searches: `changes` and `vectors` are what an index follows it by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from exemplar_encoder.arrays import Floats, Ints
from exemplar_server.store.records import (
    Changes,
    ClassCopy,
    ClassRecord,
    ClassRow,
    Exemplar,
    Gallery,
    GalleryChanges,
    KeptResponse,
    NewClass,
    NewExemplar,
    StoredClass,
    VectorPage,
    Version,
)
from exemplar_server.store.request import Request


class Truth(Protocol):
    """See the module, and `GalleryStore` for the methods of the same names and all errors.

    A truth on another machine raises `UnavailableError` while that does not answer.
    """

    remote: bool
    """Whether a call may have to wait for another machine."""

    # What a `GalleryStore` changes, with the same meaning.

    def create_gallery(
        self,
        gallery: str,
        model: str,
        dimension: int,
        display_name: str = "",
        false_accept_rate: float | None = None,
        max_exemplars_per_class: int | None = None,
        request: Request[Gallery] | None = None,
    ) -> Gallery: ...

    def update_gallery(
        self, gallery: str, changes: GalleryChanges, etag: str = "", request: Request[Gallery] | None = None
    ) -> Gallery: ...

    def delete_gallery(
        self, gallery: str, force: bool = False, allow_missing: bool = False, request: Request[None] | None = None
    ) -> None: ...

    def put_classes(
        self, gallery: str, classes: Sequence[NewClass], request: Request[tuple[list[StoredClass], int]] | None = None
    ) -> tuple[list[StoredClass], int]: ...

    def update_class(
        self,
        gallery: str,
        class_id: str,
        display_name: str | None = None,
        attributes: Mapping[str, str] | None = None,
        etag: str = "",
        request: Request[ClassRecord] | None = None,
    ) -> ClassRecord: ...

    def delete_class(
        self, gallery: str, class_id: str, allow_missing: bool = False, request: Request[int] | None = None
    ) -> int: ...

    def add_exemplars(
        self,
        gallery: str,
        class_id: str,
        exemplars: Sequence[NewExemplar],
        request: Request[tuple[ClassRecord, int]] | None = None,
    ) -> tuple[ClassRecord, int]: ...

    def remove_exemplar(
        self,
        gallery: str,
        class_id: str,
        sha256: str,
        allow_missing: bool = False,
        request: Request[tuple[ClassRecord, int]] | None = None,
    ) -> tuple[ClassRecord, int]: ...

    # What a `GalleryStore` reads, with the same meaning.

    def get_gallery(self, gallery: str) -> Gallery: ...

    def list_galleries(self, after: str = "", limit: int = 100) -> list[Gallery]: ...

    def damaged_galleries(self) -> list[str]:
        """Return the ids of galleries whose own row is damaged; they are not listed, and can be deleted by force."""
        ...

    def get_class(self, gallery: str, class_id: str) -> ClassRecord: ...

    def list_classes(self, gallery: str, after: str = "", limit: int = 100) -> list[ClassRecord]: ...

    def exemplar_embeddings(self, gallery: str, class_id: str) -> dict[str, Floats]: ...

    def exemplar_image(self, gallery: str, class_id: str, sha256: str) -> tuple[bytes, Exemplar]: ...

    def classes_with_exemplar(self, gallery: str, sha256: str) -> list[str]: ...

    def response_to(self, request: Request[Any]) -> bytes | None: ...

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

    def class_rows(self, gallery: str, rows: Ints) -> tuple[dict[int, ClassRow], Version]:
        """Return those of `rows` int64 `[n]` that are the gallery's, and the state in which they are so.

        Raises:
            DataLossError: one of them is damaged.
        """
        ...

    def watch(self, changed: Callable[[str], None], available: Callable[[bool], None]) -> None:
        """Call `changed` soon after another process changed a gallery, and `available` when that becomes another.

        Both are called from a thread of the truth's own. A truth of one process calls neither.
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

    def close(self) -> None:
        """Finish what is being written and let go of the data."""
        ...
