"""What a gallery store promises, as one interface over plain data.

An acknowledged change is durable and visible to the next search. The changes of one call are made together or not at
all. Each grows the gallery's revision. Distances are Euclidean, smaller is closer, and ties are ordered by class id.
Ids order by Unicode code point. Every method may be called from any thread; searches run beside each other and beside
a change. Errors are those of `exemplar_server.errors`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

import numpy as np

from exemplar_encoder import Calibration
from exemplar_encoder.arrays import Floats

DEFAULT_EXEMPLARS = 1


@dataclass(frozen=True, slots=True)
class Gallery:
    """A gallery as it stands.

    `false_accept_rate`, `max_exemplars_per_class` and `calibration` are None where nobody set them.
    """

    id: str
    display_name: str
    model: str
    dimension: int
    revision: int
    class_count: int
    false_accept_rate: float | None
    max_exemplars_per_class: int | None
    create_time: datetime
    update_time: datetime
    calibration: Calibration | None = None

    @property
    def most_exemplars(self) -> int:
        """How many exemplars a class may hold."""
        return self.max_exemplars_per_class or DEFAULT_EXEMPLARS


@dataclass(frozen=True, slots=True)
class GalleryChanges:
    """New values for the fields that `fields` names; the others are left as they are."""

    fields: frozenset[Literal["display_name", "false_accept_rate", "max_exemplars_per_class", "calibration"]]
    display_name: str = ""
    false_accept_rate: float | None = None
    max_exemplars_per_class: int | None = None
    calibration: Calibration | None = None


@dataclass(frozen=True, slots=True)
class Exemplar:
    """What is known of a stored image; sizes in pixels after EXIF orientation. `sha256` is its id in its class."""

    sha256: str
    width: int
    height: int
    format: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class NewExemplar:
    """An exemplar to be stored: what is known of it, the image as sent, and its embedding float32 `[dimension]`."""

    exemplar: Exemplar
    image: bytes
    embedding: Floats


@dataclass(frozen=True, slots=True)
class NewClass:
    """A class to be stored, replacing one of the same id whole; at least one exemplar, and no image twice."""

    id: str
    exemplars: Sequence[NewExemplar]
    display_name: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)

    def embedding(self) -> Floats:
        """The one embedding that is searched, see `class_embedding`."""
        return class_embedding([exemplar.embedding for exemplar in self.exemplars])


def class_embedding(embeddings: Sequence[Floats]) -> Floats:
    """The one embedding that a class is searched by, float32 `[dimension]`: its exemplars' mean, renormalized.

    A lone exemplar's embedding is taken as it is, so that models which do not normalize keep their lengths; so is a
    mean of length zero, which has no direction.

    Args:
        embeddings: of the exemplars, each float32 `[dimension]`; at least one.
    """
    if len(embeddings) == 1:
        return embeddings[0]
    mean = np.mean(embeddings, axis=0, dtype=np.float64)
    length = float(np.linalg.norm(mean))
    return np.asarray(mean / length if length > 0 else mean, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class ClassRecord:
    """A class as it stands."""

    id: str
    display_name: str
    attributes: Mapping[str, str]
    exemplars: tuple[Exemplar, ...]
    create_time: datetime
    update_time: datetime


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A stored class, and whether it replaced one."""

    record: ClassRecord
    replaced: bool


@dataclass(frozen=True, slots=True)
class Candidate:
    """A class near a query."""

    class_id: str
    display_name: str
    attributes: Mapping[str, str]
    distance: float


@dataclass(frozen=True, slots=True)
class Search:
    """The answer to some queries: for each its nearest classes, and the state of the gallery that was searched.

    `gaps` are the distances from each class to its nearest other class, ascending, None below two classes; of a large
    gallery they may be those of a sample, which depends on what the gallery holds and on nothing else.
    """

    results: list[list[Candidate]]
    revision: int
    class_count: int
    gaps: Floats | None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two classes near each other; the first id is the lesser."""

    first: str
    second: str
    distance: float


class GalleryStore(Protocol):
    """Keeps galleries; see the module for what holds for every method.

    A method that names a gallery or class raises `NotFoundError` when there is none, and `DataLossError` when what it
    needs is damaged; one that writes raises `ResourceExhaustedError` when there is no room.
    """

    def create_gallery(
        self,
        gallery: str,
        model: str,
        dimension: int,
        display_name: str = "",
        false_accept_rate: float | None = None,
        max_exemplars_per_class: int | None = None,
    ) -> Gallery:
        """Create an empty gallery for the embeddings of one model. Raises `AlreadyExistsError`."""
        ...

    def get_gallery(self, gallery: str) -> Gallery:
        """Read a gallery."""
        ...

    def list_galleries(self, after: str = "", limit: int = 100) -> list[Gallery]:
        """Galleries in order of id, from the first id greater than `after`."""
        ...

    def update_gallery(self, gallery: str, changes: GalleryChanges) -> Gallery:
        """Change a gallery's settings."""
        ...

    def delete_gallery(self, gallery: str, force: bool = False) -> None:
        """Delete a gallery. Raises `FailedPreconditionError` when it holds classes and not `force`."""
        ...

    def put_classes(self, gallery: str, classes: Sequence[NewClass]) -> tuple[list[Enrolled], int]:
        """Store classes together, in order: of two with one id the last stays.

        Returns:
            What was stored, one for each of `classes`, and the gallery's revision.

        Raises:
            FailedPreconditionError: an embedding's dimension is not the gallery's.
            InvalidArgumentError: an embedding holds NaN or infinity.
        """
        ...

    def get_class(self, gallery: str, class_id: str) -> ClassRecord:
        """Read a class."""
        ...

    def list_classes(self, gallery: str, after: str = "", limit: int = 100) -> list[ClassRecord]:
        """Classes in order of id, from the first id greater than `after`."""
        ...

    def update_class(
        self,
        gallery: str,
        class_id: str,
        display_name: str | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> ClassRecord:
        """Change what is not None; the exemplars stay."""
        ...

    def delete_class(self, gallery: str, class_id: str) -> int:
        """Delete a class; returns the gallery's revision."""
        ...

    def add_exemplars(self, gallery: str, class_id: str, exemplars: Sequence[NewExemplar]) -> tuple[ClassRecord, int]:
        """Add exemplars after those that a class has; an image that it has already is passed over.

        The class is then searched by the `class_embedding` of them all.

        Returns:
            The class as it is now, and the gallery's revision; where all were passed over nothing has changed.

        Raises:
            FailedPreconditionError: the class would hold more exemplars than the gallery allows; an embedding's
                dimension is not the gallery's.
            InvalidArgumentError: an embedding holds NaN or infinity.
        """
        ...

    def remove_exemplar(self, gallery: str, class_id: str, sha256: str) -> tuple[ClassRecord, int]:
        """Remove the exemplar with these bytes, and search the class by the others.

        Returns:
            The class as it is now, and the gallery's revision.

        Raises:
            NotFoundError: the class has no such exemplar.
            FailedPreconditionError: the class has no other.
        """
        ...

    def exemplar_embeddings(self, gallery: str, class_id: str) -> dict[str, Floats]:
        """The embeddings of a class's exemplars by their SHA-256, in order, each float32 `[dimension]`."""
        ...

    def exemplar_image(self, gallery: str, class_id: str, index: int) -> tuple[bytes, Exemplar]:
        """An exemplar's image as it was sent. Raises `NotFoundError` when there is no such index."""
        ...

    def classes_with_image(self, gallery: str, sha256: str) -> list[str]:
        """Ids of the classes that have an exemplar with these very bytes, in order."""
        ...

    def search(self, gallery: str, queries: Floats, count: int) -> Search:
        """The `count` nearest classes, nearest first, of each query in float32 `[n, dimension]`.

        Raises:
            FailedPreconditionError: the queries' dimension is not the gallery's.
            InvalidArgumentError: a query holds NaN or infinity.
        """
        ...

    def gaps(self, gallery: str) -> Floats | None:
        """A gallery's gaps, see `Search`."""
        ...

    def nearest_pairs(self, gallery: str, count: int, threshold: float) -> tuple[list[Pair], int, int]:
        """The `count` nearest pairs of classes, how many pairs are nearer than `threshold`, and the revision."""
        ...

    def close(self) -> None:
        """Finish what is being written and let go of the data."""
        ...
