"""Enrolling: from exemplars' bytes to durable classes, and what is to be said about them.

The exemplars of one call are examined and committed together, one call at a time, so that each is compared with
everything that was committed before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import perf_counter
from typing import TypeVar

from exemplar_encoder.arrays import Floats
from exemplar_server.advice import Advisor, Subject, described
from exemplar_server.batcher import Embedded
from exemplar_server.classifier import Classifier
from exemplar_server.errors import FailedPreconditionError, ServiceError, invalid_field
from exemplar_server.exemplar_check import ExemplarWarning, look
from exemplar_server.metrics import Metrics
from exemplar_server.store.gallery_store import ClassRecord, Gallery, NewClass, NewExemplar, class_embedding

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Enrollment:
    """A class to be stored, with its encoded images."""

    class_id: str
    images: Sequence[bytes]
    display_name: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EnrolledClass:
    """A class as stored, and what may make it hard to recognize."""

    record: ClassRecord
    replaced: bool
    warnings: list[ExemplarWarning]


@dataclass(frozen=True, slots=True)
class AddedExemplars:
    """A class with the exemplars added, what may make it hard to recognize, and the revision that holds it."""

    record: ClassRecord
    warnings: list[ExemplarWarning]
    gallery_revision: int


@dataclass(frozen=True, slots=True)
class _Seen:
    """A class's images as they would be stored, none of them twice, and what was found about each by itself."""

    exemplars: list[NewExemplar]
    warnings: list[ExemplarWarning]

    def subject(self, class_id: str, embedding: Floats) -> Subject:
        return Subject(class_id, embedding, [item.exemplar.sha256 for item in self.exemplars])


class Enroller:
    """Changes the classes of galleries that are of the classifier's model."""

    def __init__(self, classifier: Classifier, advisor: Advisor, metrics: Metrics) -> None:
        self._classifier = classifier
        self._advisor = advisor
        self._store = classifier.store
        self._metrics = metrics
        self._writer = ThreadPoolExecutor(1, "writer")

    def close(self) -> None:
        """Finish what is being committed."""
        self._writer.shutdown()

    async def enroll(
        self, gallery_id: str, enrollments: Sequence[Enrollment], strict: bool = False
    ) -> tuple[list[EnrolledClass | ServiceError], int]:
        """Store some classes; the valid ones in one transaction, and of two with the same id the last.

        Args:
            gallery_id: the gallery.
            enrollments: what to store; ids, names and attributes are taken as valid. Of an image given twice for a
                class one is stored.
            strict: refuse an exemplar that has warnings.

        Returns:
            One result for each, in order, and the gallery's revision that holds them.
        """
        gallery = self._classifier.gallery(gallery_id)
        results: list[EnrolledClass | ServiceError | None] = [
            _check_count(gallery, enrollment.images) for enrollment in enrollments
        ]
        open_indices = [index for index, result in enumerate(results) if result is None]
        images = [image for index in open_indices for image in enrollments[index].images]
        embedded = iter(await self._classifier.embed(images))
        valid: dict[int, tuple[NewClass, _Seen]] = {}
        for index in open_indices:
            enrollment = enrollments[index]
            seen = _see(enrollment.images, [next(embedded) for _ in enrollment.images])
            if isinstance(seen, ServiceError):
                results[index] = seen
                continue
            new = NewClass(enrollment.class_id, seen.exemplars, enrollment.display_name, enrollment.attributes)
            valid[index] = new, seen
        if not valid:
            return [result for result in results if result is not None], gallery.revision
        stored, revision = await self._write(lambda: self._commit(gallery, valid, strict))
        return [stored[index] if result is None else result for index, result in enumerate(results)], revision

    async def add_exemplars(
        self, gallery_id: str, class_id: str, images: Sequence[bytes], strict: bool = False
    ) -> AddedExemplars:
        """Add exemplars to a class, all of them or none; an image that it has already stays as it is.

        Args:
            gallery_id: the gallery.
            class_id: the class.
            images: encoded images.
            strict: refuse exemplars that have warnings.

        Raises:
            ServiceError: there is no such class, an image cannot be used, the class would hold too many, or `strict`
                and warnings; nothing was changed.
        """
        gallery = self._classifier.gallery(gallery_id)
        problem = _check_count(gallery, images)
        if problem is not None:
            raise problem
        seen = _see(images, await self._classifier.embed(images))
        if isinstance(seen, ServiceError):
            raise seen
        return await self._write(lambda: self._add(gallery, class_id, seen, strict))

    async def _write(self, change: Callable[[], Result]) -> Result:
        # Shielded: a caller who goes away does not stop what the writer has begun.
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._writer, change))

    def _commit(
        self, gallery: Gallery, valid: Mapping[int, tuple[NewClass, _Seen]], strict: bool
    ) -> tuple[dict[int, EnrolledClass | ServiceError], int]:
        """Runs in the writer's thread."""
        start = perf_counter()
        subjects = [seen.subject(new.id, new.embedding()) for new, seen in valid.values()]
        compared = self._advisor.compare(gallery, subjects, len({subject.class_id for subject in subjects}))
        warnings = {
            index: seen.warnings + found for (index, (_, seen)), found in zip(valid.items(), compared, strict=True)
        }
        results: dict[int, EnrolledClass | ServiceError] = {}
        if strict:
            results = {
                index: _refused(f"class {valid[index][0].id!r} was not enrolled", valid[index][0].id, found)
                for index, found in warnings.items()
                if found
            }
        kept = {index: new for index, (new, _) in valid.items() if index not in results}
        if not kept:
            return results, self._store.get_gallery(gallery.id).revision
        stored, revision = self._store.put_classes(gallery.id, list(kept.values()))
        for index, item in zip(kept, stored, strict=True):
            results[index] = EnrolledClass(item.record, item.replaced, warnings[index])
        self._metrics.commit_seconds.observe(perf_counter() - start)
        return results, revision

    def _add(self, gallery: Gallery, class_id: str, seen: _Seen, strict: bool) -> AddedExemplars:
        """Runs in the writer's thread."""
        start = perf_counter()
        together = self._store.exemplar_embeddings(gallery.id, class_id)
        for item in seen.exemplars:
            together.setdefault(item.exemplar.sha256, item.embedding)
        subject = seen.subject(class_id, class_embedding(list(together.values())))
        (compared,) = self._advisor.compare(gallery, [subject], 0)
        warnings = seen.warnings + compared
        if strict and warnings:
            raise _refused(f"class {class_id!r} was not changed", class_id, warnings)
        record, revision = self._store.add_exemplars(gallery.id, class_id, seen.exemplars)
        self._metrics.commit_seconds.observe(perf_counter() - start)
        return AddedExemplars(record, warnings, revision)


def _check_count(gallery: Gallery, images: Sequence[bytes]) -> ServiceError | None:
    most = gallery.most_exemplars
    if not images:
        return invalid_field("images", "at least one is needed")
    if len(images) > most:
        return invalid_field(
            "images",
            f"gallery {gallery.id!r} takes {most} exemplars a class, not {len(images)}; "
            "give fewer, or raise its max_exemplars_per_class",
        )
    return None


def _see(images: Sequence[bytes], items: Sequence[Embedded | ServiceError]) -> _Seen | ServiceError:
    """A class's images, looked at; or what is wrong with the first bad one."""
    exemplars: dict[str, NewExemplar] = {}
    warnings: list[ExemplarWarning] = []
    for index, (image, item) in enumerate(zip(images, items, strict=True)):
        if not isinstance(item, Embedded):
            where = f"images[{index}]"
            message = item.message.removeprefix("image: ")
            return type(item)(item.reason, f"{where}: {message}", {"field": where})
        new = described(image, item)
        if new.exemplar.sha256 not in exemplars:
            exemplars[new.exemplar.sha256] = new
            warnings += look(item.image)
    return _Seen(list(exemplars.values()), warnings)


def _refused(what: str, class_id: str, warnings: Sequence[ExemplarWarning]) -> FailedPreconditionError:
    kinds = ",".join(sorted({str(warning.kind) for warning in warnings}))
    reasons = "; ".join(warning.message for warning in warnings)
    return FailedPreconditionError("EXEMPLAR_REFUSED", f"{what}: {reasons}", {"class": class_id, "warnings": kinds})
