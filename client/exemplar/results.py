"""The client's results: frozen dataclasses, free of protobuf.

Ids are bare (`stamps`, not `galleries/stamps`). A distance is Euclidean and smaller is closer; a probability lies
in [0, 1]; times are aware datetimes in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from exemplar.region import Region

if TYPE_CHECKING:
    from exemplar.images import Image


class Verdict(StrEnum):
    """The server's conclusion about a query."""

    MATCH = "MATCH"
    AMBIGUOUS = "AMBIGUOUS"
    UNKNOWN = "UNKNOWN"


class WarningKind(StrEnum):
    """A reason why a class with an exemplar may be hard to recognize."""

    BLANK = "BLANK"
    TINY = "TINY"
    BLURRED = "BLURRED"
    DUPLICATE = "DUPLICATE"
    TOO_CLOSE = "TOO_CLOSE"
    OTHER = "OTHER"


class HintKind(StrEnum):
    """What a hint is about."""

    OTHER_KIND_OF_PICTURE = "OTHER_KIND_OF_PICTURE"
    OTHER = "OTHER"


@dataclass(frozen=True)
class Gallery:
    """A named set of classes; `false_accept_rate` and `calibration` are None where the model's hold.

    In a list of galleries, a calibration comes without its `data`. `etag` changes with every update of the gallery
    itself.
    """

    id: str
    display_name: str
    model: str
    revision: int
    class_count: int
    false_accept_rate: float | None
    max_exemplars_per_class: int
    create_time: datetime
    update_time: datetime
    etag: str
    calibration: Calibration | None


@dataclass(frozen=True)
class Exemplar:
    """An image, or a part of one, that stands for a class: size in pixels after EXIF orientation, and in bytes.

    A class has each once, so that the SHA-256, of the image as it was sent and of its region if it has one, names
    the exemplar in its class. `region` is None for a whole image.
    """

    sha256: str
    width: int
    height: int
    format: str
    size_bytes: int
    region: Region | None = None


@dataclass(frozen=True)
class ImageClass:
    """One entry of a gallery, with its exemplars in the order in which they were given.

    `etag` changes with every change of the class. `embedding`, the exemplars' mean, is there where it was asked for.
    Of a class that is `damaged` in the server's store, only the id is known: enroll it again, or delete it.
    """

    id: str
    gallery: str
    display_name: str
    attributes: Mapping[str, str]
    exemplars: tuple[Exemplar, ...]
    create_time: datetime
    update_time: datetime
    etag: str
    embedding: Embedding | None = None
    damaged: bool = False


@dataclass(frozen=True)
class Match:
    """A class, its distance to the query, and the calibrated probability that the query is of it."""

    class_id: str
    display_name: str
    attributes: Mapping[str, str]
    distance: float
    probability: float


@dataclass(frozen=True)
class Hint:
    """Something that a gallery's latest queries tell of it: in words, and the evidence as numbers.

    It rests on `recent_queries`, of which `unknown_queries` were UNKNOWN. `shift` says how far they lie from the
    classes as a whole: about 0 for queries of the exemplars' kind, 1 at most.
    """

    kind: HintKind
    message: str
    recent_queries: int
    unknown_queries: int
    shift: float


@dataclass(frozen=True)
class Classification:
    """The answer to one query: the verdict, the nearest classes (nearest first), and what decided it.

    `threshold` is the distance beyond which the nearest class is not accepted at `false_accept_rate`; the two
    nearest must differ by `ambiguity_margin` for MATCH. `hints` say why the query may be UNKNOWN, where there is
    evidence.
    """

    verdict: Verdict
    probability: float
    matches: tuple[Match, ...]
    threshold: float
    false_accept_rate: float
    ambiguity_margin: float
    model: str
    gallery_revision: int
    hints: tuple[Hint, ...] = ()

    @property
    def class_id(self) -> str | None:
        """The name to act on: the nearest class's id when the verdict is MATCH, else None."""
        return self.matches[0].class_id if self.verdict is Verdict.MATCH and self.matches else None


@dataclass(frozen=True)
class Embedding:
    """The base network's output for an image: `dimension` float32 values, and the model that made it."""

    values: tuple[float, ...]
    model: str


@dataclass(frozen=True)
class ExemplarWarning:
    """Something to mend about an exemplar; the other class and its distance where the trouble is with two."""

    kind: WarningKind
    message: str
    other_class_id: str
    distance: float | None


@dataclass(frozen=True)
class Enrollment:
    """A class to be stored: its id, one image (or as many as the gallery allows), a name and facts about it."""

    class_id: str
    images: Image | Sequence[Image]
    display_name: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Enrolled:
    """A class as stored, whether it replaced one of the same id, and what may make it hard to recognize."""

    image_class: ImageClass
    replaced: bool
    warnings: tuple[ExemplarWarning, ...]
    gallery_revision: int


@dataclass(frozen=True)
class ExemplarsAdded:
    """A class with the exemplars that were added, and what may make it hard to recognize."""

    image_class: ImageClass
    warnings: tuple[ExemplarWarning, ...]
    gallery_revision: int


@dataclass(frozen=True)
class ExemplarRemoved:
    """A class without the exemplar that was removed."""

    image_class: ImageClass
    gallery_revision: int


@dataclass(frozen=True)
class NearestClass:
    """A class near an exemplar."""

    class_id: str
    display_name: str
    distance: float


@dataclass(frozen=True)
class ExemplarCheck:
    """An image judged as an exemplar: warnings, if any, the nearest classes, and what is known of the image."""

    warnings: tuple[ExemplarWarning, ...]
    nearest: tuple[NearestClass, ...]
    exemplar: Exemplar


@dataclass(frozen=True)
class ConfusablePair:
    """Two classes of a gallery near each other; `too_close` when below the diagnosis's threshold."""

    first_class_id: str
    second_class_id: str
    distance: float
    too_close: bool


@dataclass(frozen=True)
class Diagnosis:
    """The nearest pairs of a gallery, nearest first, how many in all are below the threshold, and hints."""

    pairs: tuple[ConfusablePair, ...]
    too_close_count: int
    threshold: float
    gallery_revision: int
    hints: tuple[Hint, ...] = ()


@dataclass(frozen=True)
class Figure:
    """A figure that the trainer measured, with its 95 % interval where one was computed."""

    name: str
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Calibration:
    """How distances become probabilities and verdicts: a summary for people, and the fitted numbers.

    Attributes:
        method: The method that was fitted, with its version.
        fitted_on: The data it was fitted on, in words.
        default_false_accept_rate: The rate that holds where a gallery and a request name none.
        ambiguity_error_rate: The share of wrong names, among accepted ones, that AMBIGUOUS was set for.
        data: The fitted numbers, opaque: to be stored, and sent back to a gallery of the same model.
    """

    method: str
    fitted_on: str
    default_false_accept_rate: float
    ambiguity_error_rate: float
    data: bytes


@dataclass(frozen=True)
class Model:
    """A bundle that the server has loaded; sizes in pixels."""

    id: str
    display_name: str
    recipe: str
    dimension: int
    input_width: int
    input_height: int
    input_channels: int
    engine: str
    calibration: Calibration
    figures: tuple[Figure, ...]
    create_time: datetime
