"""The latest queries of each gallery as a whole, and whether they are another kind of picture than its exemplars.

Counts and sums alone are kept, in memory: each server knows the queries that it answered itself, and none of those
from before it started. They begin anew when the gallery gets another calibration, or is another one by the same id.
They are held against the classes as those are at the time, so a hint ends as soon as the exemplars are mended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from exemplar_encoder.arrays import Floats
from exemplar_encoder.kinds_of_picture import OTHER_KIND, Cloud, shift
from exemplar_server.store.records import Gallery

# Of fewer queries the shift is too much a matter of chance.
_LEAST = 20

# Latest queries are those of two blocks, the older of them full.
_BLOCK = 64

# Where more queries than this are near enough to a class, the exemplars do their work.
_MOST_ACCEPTED = 0.1

# Where fewer classes lie as a whole is too much a matter of chance.
_LEAST_CLASSES = 5

# One thing asked over and over lies to one side too, but has few nearest classes. Queries of many things have as many
# in effect as the root of twice the gallery's classes, or this many.
_MANY_NEAREST = 12.0

# That the advice can be followed.
_ENOUGH_EXEMPLARS = 5

# Some kilobytes each.
_MOST_GALLERIES = 1024


@dataclass(frozen=True, slots=True)
class OtherKindOfPicture:
    """The evidence that the latest queries are another kind of picture than the exemplars.

    Attributes:
        recent_queries: how many queries it rests on.
        unknown_queries: how many of them were UNKNOWN.
        shift: how far they lie from the classes as a whole, see `exemplar_encoder.kinds_of_picture`.
        most_exemplars: how many exemplars the gallery allows a class.
    """

    recent_queries: int
    unknown_queries: int
    shift: float
    most_exemplars: int

    @property
    def message(self) -> str:
        """Say it, and what to do."""
        said = (
            f"queries are another kind of picture than the exemplars: {self.unknown_queries} of the latest "
            f"{self.recent_queries} were UNKNOWN, and as a whole they lie to one side of the classes; if they show "
            "enrolled classes, enroll 3 to 5 pictures of each class that were taken as the queries are"
        )
        if self.most_exemplars < _ENOUGH_EXEMPLARS:
            said += f" (max_exemplars_per_class of the gallery is {self.most_exemplars} so far)"
        return said


@dataclass(slots=True)
class _Block:
    cloud: Cloud
    unknown: int = 0
    nearest: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class _Kept:
    """The blocks of a gallery, oldest first, which hold for the gallery as it is named here."""

    gallery: Gallery
    blocks: list[_Block]


class RecentQueries:
    """See the module. All of it is called from one thread."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    def add(self, gallery: Gallery, embeddings: Floats, nearest: Iterable[str], unknown: int) -> None:
        """Take note of queries that were answered.

        Args:
            gallery: the state that was searched.
            embeddings: of the queries, float32 `[n, dimension]`.
            nearest: the id of each one's nearest class.
            unknown: how many were UNKNOWN.
        """
        kept = self._kept.get(gallery.id)
        if kept is None or not _same(kept.gallery, gallery):
            if len(self._kept) >= _MOST_GALLERIES:
                self._kept.clear()
            kept = self._kept[gallery.id] = _Kept(gallery, [])
        kept.gallery = gallery  # the same calibration again is then the same object, and quick to compare
        cloud = Cloud.of(embeddings)
        if kept.blocks and kept.blocks[-1].cloud.count < _BLOCK:
            kept.blocks[-1].cloud += cloud
        else:
            kept.blocks = [*kept.blocks[-1:], _Block(cloud)]
        kept.blocks[-1].unknown += unknown
        kept.blocks[-1].nearest.update(nearest)

    def finding(self, gallery: Gallery, classes: Cloud) -> OtherKindOfPicture | None:
        """Tell whether the latest queries are another kind of picture than the exemplars; None where they are not.

        Args:
            gallery: its present state.
            classes: the vectors that it is searched by, or a sample of them.
        """
        kept = self._kept.get(gallery.id)
        if kept is None or not _same(kept.gallery, gallery):
            return None
        unknown = sum(block.unknown for block in kept.blocks)
        count = sum(block.cloud.count for block in kept.blocks)
        if count < _LEAST or classes.count < _LEAST_CLASSES or count - unknown > _MOST_ACCEPTED * count:
            return None
        if _in_effect(kept.blocks) < min(_MANY_NEAREST, (2 * gallery.class_count) ** 0.5):
            return None
        found = shift(sum((block.cloud for block in kept.blocks[1:]), kept.blocks[0].cloud), classes)
        return OtherKindOfPicture(count, unknown, found, gallery.most_exemplars) if found >= OTHER_KIND else None


def _in_effect(blocks: Iterable[_Block]) -> float:
    """Return among how many classes, if all came alike often, two queries would have the same nearest as often."""
    nearest: Counter[str] = Counter()
    for block in blocks:
        nearest.update(block.nearest)
    count = nearest.total()
    alike = sum(each * (each - 1) for each in nearest.values())
    return count * (count - 1) / alike if alike else float("inf")


def _same(one: Gallery, other: Gallery) -> bool:
    """Return whether both are states of one gallery, judged by one calibration."""
    return one.create_time == other.create_time and one.calibration == other.calibration
