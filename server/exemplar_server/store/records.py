"""Galleries, classes and exemplars as plain data: how they are given to a store, and how it gives them back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import numpy as np

from exemplar_encoder import Calibration, Region, class_embedding
from exemplar_encoder.arrays import Floats, Ints
from exemplar_encoder.kinds_of_picture import Cloud
from exemplar_server.errors import FailedPreconditionError, InvalidArgumentError

DEFAULT_EXEMPLARS = 1
LARGEST_VALUE = 1e6


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

    @property
    def etag(self) -> str:
        """Another text for other settings, see `GalleryChanges`."""
        calibration = None if self.calibration is None else self.calibration.to_json()
        return _etag(self.display_name, self.false_accept_rate, self.max_exemplars_per_class, calibration)


@dataclass(frozen=True, slots=True)
class GalleryChanges:
    """New values for the settings that `fields` names; the others are left as they are."""

    fields: frozenset[Literal["display_name", "false_accept_rate", "max_exemplars_per_class", "calibration"]]
    display_name: str = ""
    false_accept_rate: float | None = None
    max_exemplars_per_class: int | None = None
    calibration: Calibration | None = None


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A stored image, described; sizes are the whole image's, in pixels after EXIF orientation.

    `sha256` names it in its class, see `EncodedImage.sha256`; `region` is the part that is meant, None for the whole.
    """

    sha256: str
    width: int
    height: int
    format: str
    size_bytes: int
    region: Region | None = None


@dataclass(frozen=True, slots=True)
class NewExemplar:
    """An exemplar to be stored: its description, the whole image as sent, and its embedding float32 `[dimension]`."""

    exemplar: Exemplar
    image: bytes
    embedding: Floats


@dataclass(frozen=True, slots=True)
class NewClass:
    """A class to be stored, replacing one of the same id whole; at least one exemplar, and none twice."""

    id: str
    exemplars: Sequence[NewExemplar]
    display_name: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)

    def embedding(self) -> Floats:
        """Return the one embedding that is searched, float32 `[dimension]`."""
        return class_embedding(np.stack([exemplar.embedding for exemplar in self.exemplars]))


@dataclass(frozen=True, slots=True)
class ClassRecord:
    """A class as it stands; `embedding` float32 `[dimension]` is the one that is searched.

    Of a class that is `damaged`, in a list, only the id is told, and all else is empty.
    """

    id: str
    display_name: str
    attributes: Mapping[str, str]
    exemplars: tuple[Exemplar, ...]
    create_time: datetime
    update_time: datetime
    embedding: Floats = field(compare=False, repr=False)
    damaged: bool = False

    @property
    def etag(self) -> str:
        """Another text after any change of the class."""
        digests = [exemplar.sha256 for exemplar in self.exemplars]
        return _etag(self.display_name, sorted(self.attributes.items()), digests, self.update_time.isoformat())


@dataclass(frozen=True, slots=True)
class StoredClass:
    """A class that was just stored, and whether it replaced one."""

    record: ClassRecord
    replaced: bool


@dataclass(frozen=True, slots=True)
class Version:
    """Which state a gallery is in: its revision, and a number that no other state has.

    The mark tells two states of one revision apart, such as those before and after a copy was put in place.
    """

    revision: int
    mark: int


@dataclass(frozen=True, slots=True)
class ClassRow:
    """What an answer says of a class."""

    class_id: str
    display_name: str
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class VectorPage:
    """Some classes of a gallery as an index holds them, with the ids of damaged ones by row.

    `rows` is int64 `[n]`, `vectors` float32 `[n, dimension]`; `last` is the last row that was read, damaged or not,
    and None where there is none.
    """

    rows: Ints
    vectors: Floats
    damaged: Mapping[int, str]
    last: int | None


@dataclass(frozen=True, slots=True)
class Changes:
    """What became of the rows that changed between two states of a gallery, and the gallery in the later one.

    `put` are those that are there now, and `names` what an answer says of them; `removed` int64 `[n]` are those that
    are not.
    """

    gallery: Gallery
    version: Version
    put: VectorPage
    names: Mapping[int, ClassRow]
    removed: Ints


@dataclass(frozen=True, slots=True)
class ClassCopy:
    """A class whole, to be stored elsewhere as it is; `embedding` float32 `[dimension]`, exemplars in order."""

    id: str
    display_name: str
    attributes: Mapping[str, str]
    create_time: datetime
    update_time: datetime
    embedding: Floats
    exemplars: Sequence[NewExemplar]


@dataclass(frozen=True, slots=True)
class KeptResponse:
    """The response to a request that was answered, and when, in microseconds since the epoch."""

    id: str
    method: str
    digest: bytes
    response: bytes
    time: int


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

    `distances` are those of all classes that were considered, ascending; `results` tell of the first of them.
    `gaps` are the distances from each class to its nearest other class, ascending, None below two classes; of a large
    gallery they may be those of a sample, which depends on the gallery's content alone. `classes` are the classes, or
    the same sample of them, as a whole.
    """

    results: list[list[Candidate]]
    distances: list[list[float]]
    gallery: Gallery
    gaps: Floats | None
    classes: Cloud


@dataclass(frozen=True, slots=True)
class Pair:
    """Two classes near each other; the first id is the lesser."""

    first: str
    second: str
    distance: float


def usable(embeddings: Floats) -> bool:
    """Return whether distances can be computed: no embedding holds NaN, infinity or more than `LARGEST_VALUE`."""
    return bool((np.abs(embeddings) <= LARGEST_VALUE).all())


def check_vectors(gallery: Gallery, vectors: Floats) -> None:
    """Refuse vectors that are none of a gallery's: not float32 `[n, dimension]`, or not `usable`."""
    # FAISS answers a NaN, and a square that overflows, with row -1, and reads past a short vector.
    if vectors.ndim != 2 or vectors.shape[1] != gallery.dimension:
        actual = vectors.shape[-1] if vectors.ndim else 0
        raise FailedPreconditionError(
            "DIMENSION_MISMATCH",
            f"gallery {gallery.id!r} holds embeddings of {gallery.dimension} values, not {actual}",
            {"gallery": gallery.id, "expected": str(gallery.dimension), "actual": str(actual)},
        )
    if not usable(vectors):
        raise InvalidArgumentError(
            "FIELD_INVALID",
            f"embedding: it holds NaN, or a value beyond {LARGEST_VALUE:,.0f}",
            {"field": "embedding", "gallery": gallery.id},
        )


def _etag(*values: object) -> str:
    content = json.dumps(values, ensure_ascii=True).encode()
    return hashlib.blake2b(content, digest_size=8).hexdigest()
