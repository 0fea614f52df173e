"""The promises of a gallery store, as one interface over plain data.

An acknowledged change is durable and visible to the next search. The changes of one call are made together or not at
all. Each grows the gallery's revision. Distances are Euclidean, smaller is closer, and ties are ordered by class id.
Ids order by Unicode code point. Every method may be called from any thread; searches run beside each other and beside
a change. Errors are those of `exemplar_server.errors`; a method that needs another machine raises `UnavailableError`
while that does not answer.

Every change takes a `Request`. With one it has one effect, however often and from however many threads it is made:
the first leaves its response behind, together with the change, and every other raises `RepeatedRequest`. A change
that fails leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from exemplar_encoder.arrays import Floats
from exemplar_encoder.kinds_of_picture import Cloud
from exemplar_server.store.records import (
    ClassRecord,
    Exemplar,
    Gallery,
    GalleryChanges,
    NewClass,
    NewExemplar,
    Pair,
    Search,
    StoredClass,
)
from exemplar_server.store.request import Request


class Galleries(Protocol):
    """Keeps galleries; see the module for what holds for every method.

    A method that names a gallery or class raises `NotFoundError` when there is none, and `DataLossError` when what it
    needs is damaged; one that writes raises `ResourceExhaustedError` when there is no room. One that takes a request
    raises `RepeatedRequest` when it was made before, and `InvalidArgumentError` when its id was another request's.
    """

    @property
    def remote(self) -> bool:
        """Whether a call may have to wait for another machine."""
        ...

    def create_gallery(
        self,
        gallery: str,
        model: str,
        dimension: int,
        display_name: str = "",
        false_accept_rate: float | None = None,
        max_exemplars_per_class: int | None = None,
        request: Request[Gallery] | None = None,
    ) -> Gallery:
        """Create an empty gallery for the embeddings of one model. Raises `AlreadyExistsError`."""
        ...

    def get_gallery(self, gallery: str) -> Gallery:
        """Read a gallery."""
        ...

    def list_galleries(self, after: str = "", limit: int = 100) -> list[Gallery]:
        """List galleries in order of id, from the first id greater than `after`."""
        ...

    def update_gallery(
        self, gallery: str, changes: GalleryChanges, etag: str = "", request: Request[Gallery] | None = None
    ) -> Gallery:
        """Change a gallery's settings. Raises `AbortedError` when an etag is given and the gallery has another."""
        ...

    def delete_gallery(
        self, gallery: str, force: bool = False, allow_missing: bool = False, request: Request[None] | None = None
    ) -> None:
        """Delete a gallery, or with `allow_missing` see that there is none.

        Raises:
            FailedPreconditionError: it holds classes, and not `force`.
        """
        ...

    def put_classes(
        self, gallery: str, classes: Sequence[NewClass], request: Request[tuple[list[StoredClass], int]] | None = None
    ) -> tuple[list[StoredClass], int]:
        """Store classes together, in order: of two with one id the last stays. Of none, nothing changes.

        Returns:
            What was stored, one for each of `classes`, and the gallery's revision.

        Raises:
            FailedPreconditionError: an embedding's dimension is not the gallery's.
            InvalidArgumentError: an embedding is not `usable`.
        """
        ...

    def get_class(self, gallery: str, class_id: str) -> ClassRecord:
        """Read a class."""
        ...

    def list_classes(self, gallery: str, after: str = "", limit: int = 100) -> list[ClassRecord]:
        """List classes in order of id, from the first id greater than `after`; those that are damaged are marked."""
        ...

    def update_class(
        self,
        gallery: str,
        class_id: str,
        display_name: str | None = None,
        attributes: Mapping[str, str] | None = None,
        etag: str = "",
        request: Request[ClassRecord] | None = None,
    ) -> ClassRecord:
        """Change what is not None; the exemplars stay.

        Raises:
            AbortedError: an etag is given and the class has another.
        """
        ...

    def delete_class(
        self, gallery: str, class_id: str, allow_missing: bool = False, request: Request[int] | None = None
    ) -> int:
        """Delete a class, or with `allow_missing` see that there is none; return the gallery's revision."""
        ...

    def add_exemplars(
        self,
        gallery: str,
        class_id: str,
        exemplars: Sequence[NewExemplar],
        request: Request[tuple[ClassRecord, int]] | None = None,
    ) -> tuple[ClassRecord, int]:
        """Add exemplars after those that a class has; one that it has already is passed over.

        The class is then searched by the `class_embedding` of them all.

        Returns:
            The class as it is now, and the gallery's revision; where all were passed over nothing has changed.

        Raises:
            FailedPreconditionError: the class would hold more exemplars than the gallery allows; an embedding's
                dimension is not the gallery's.
            InvalidArgumentError: an embedding is not `usable`.
        """
        ...

    def remove_exemplar(
        self,
        gallery: str,
        class_id: str,
        sha256: str,
        allow_missing: bool = False,
        request: Request[tuple[ClassRecord, int]] | None = None,
    ) -> tuple[ClassRecord, int]:
        """Remove the exemplar of this name, and search the class by the others.

        Returns:
            The class as it is now, and the gallery's revision.

        Raises:
            NotFoundError: the class has no such exemplar, and not `allow_missing`.
            FailedPreconditionError: the class has no other.
        """
        ...

    def exemplar_embeddings(self, gallery: str, class_id: str) -> dict[str, Floats]:
        """Return the embeddings of a class's exemplars by their SHA-256, in order, each float32 `[dimension]`."""
        ...

    def exemplar_image(self, gallery: str, class_id: str, sha256: str) -> tuple[bytes, Exemplar]:
        """Return an exemplar's whole image as it was sent. Raises `NotFoundError` when there is no such exemplar."""
        ...

    def classes_with_exemplar(self, gallery: str, sha256: str) -> list[str]:
        """Return the ids of the classes that have the exemplar of this name, in order."""
        ...

    def response_to(self, request: Request[Any]) -> bytes | None:
        """Return the response that a request was given before; None where it is new.

        Raises:
            InvalidArgumentError: its id was another request's.
        """
        ...

    def close(self) -> None:
        """Finish what is being written and let go of the data."""
        ...


class SearchedGalleries(Galleries, Protocol):
    """Keeps galleries and searches them; see `Galleries`."""

    def search(self, gallery: str, queries: Floats, count: int, considered: int = 0) -> Search:
        """Find the nearest classes of some queries.

        Args:
            gallery: the gallery.
            queries: float32 `[n, dimension]`.
            count: how many classes to tell of, nearest first.
            considered: of how many classes to tell the distance, where that is more than `count`.

        Raises:
            FailedPreconditionError: the queries' dimension is not the gallery's.
            InvalidArgumentError: a query is not `usable`.
        """
        ...


class GalleryStore(SearchedGalleries, Protocol):
    """Keeps galleries and answers queries; see `Galleries`."""

    def together(
        self, gallery: str | None = None, request_ids: Sequence[str] = ()
    ) -> AbstractContextManager[SearchedGalleries]:
        """Commit changes together: lend the store as the changes of the block, which go through it, leave it.

        When the block has ended all of them are durable and visible; before that nobody else sees any of them. One
        that raises costs only itself. An error that the block lets through, or that the end raises, undoes them all;
        but where it is an `UnavailableError` of the end they may have been made.

        Args:
            gallery: the gallery that they change; None for more than one, where only one process changes the store.
            request_ids: those of their requests.
        """
        ...

    def gaps(self, gallery: str, joining: Floats | None = None) -> Floats | None:
        """Return a gallery's gaps, see `Search`; as they would be if classes float32 `[n, dimension]` joined it."""
        ...

    def cloud(self, gallery: str) -> Cloud:
        """Return a gallery's classes as a whole, see `Search`."""
        ...

    def nearest_pairs(
        self, gallery: str, count: int, threshold: float, go_on: Callable[[], None] = lambda: None
    ) -> tuple[list[Pair], int, int]:
        """Find the `count` nearest pairs of classes, how many pairs are nearer than `threshold`, and the revision.

        `go_on` is called now and then; what it raises ends the search.
        """
        ...

    def on_availability(self, tell: Callable[[bool], None]) -> None:
        """Call `tell`, from another thread, when what the store needs stops answering and when it answers again."""
        ...

    def damage(self) -> dict[str, str]:
        """Return why galleries cannot be searched for damage, by id; those that can are not in it."""
        ...

    def release_reserve(self) -> bool:
        """Let go of space that is held for deletions on a full disk; whether there was any."""
        ...

    def reclaim(self) -> bool:
        """Give a little of what deletions left free back to the disk; whether there is more. For an idle moment."""
        ...

    def compare_indexes(self) -> None:
        """Compare what is searched with what is stored, put right what differs, and tell of it in the log."""
        ...
