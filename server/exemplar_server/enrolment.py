"""Enrolling: from exemplars' bytes to durable classes, and what is to be said about them.

The classes of one call are examined and committed together, one call at a time, so that each is compared with
everything that was committed before it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from exemplar_server.batcher import Embedded
from exemplar_server.classifier import Classifier
from exemplar_server.errors import DataLossError, FailedPreconditionError, ServiceError, invalid_field
from exemplar_server.exemplar_check import ExemplarWarning, compare, look
from exemplar_server.metrics import Metrics
from exemplar_server.store.gallery_store import (
    Candidate,
    ClassRecord,
    Exemplar,
    Floats,
    Gallery,
    NewClass,
    NewExemplar,
    Pair,
)

CHECK_NEIGHBOURS = 5
DEFAULT_EXEMPLARS = 1

# One neighbour is asked for to be compared, and one more because it may be the class itself.
_COMPARED = 2


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A class to be stored, with its encoded images."""

    class_id: str
    images: Sequence[bytes]
    display_name: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EnrolledClass:
    """A class as stored, and what may make it hard to recognise."""

    record: ClassRecord
    replaced: bool
    warnings: list[ExemplarWarning]


@dataclass(frozen=True, slots=True)
class Check:
    """What was found about an image that was not stored."""

    warnings: list[ExemplarWarning]
    nearest: list[Candidate]
    exemplar: Exemplar


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The nearest pairs of a gallery, nearest first, and how many are nearer than the threshold in all."""

    pairs: list[Pair]
    too_close_count: int
    threshold: float
    gallery_revision: int


@dataclass(frozen=True, slots=True)
class _Examined:
    new: NewClass
    warnings: list[ExemplarWarning]


class Enroller:
    """Changes the classes of galleries that are of the classifier's model."""

    def __init__(self, classifier: Classifier, metrics: Metrics) -> None:
        self._classifier = classifier
        self._store = classifier.store
        self._metrics = metrics
        self._writer = ThreadPoolExecutor(1, "writer")

    def close(self) -> None:
        """Finish what is being committed."""
        self._writer.shutdown()

    async def enrol(
        self, gallery_id: str, enrolments: Sequence[Enrolment], strict: bool = False
    ) -> tuple[list[EnrolledClass | ServiceError], int]:
        """Store some classes; the valid ones in one transaction, and of two with the same id the last.

        Args:
            gallery_id: the gallery.
            enrolments: what to store; ids, names and attributes are taken as valid.
            strict: refuse an exemplar that has warnings.

        Returns:
            One result for each, in order, and the gallery's revision that holds them.
        """
        gallery = self._classifier.gallery(gallery_id)
        results: list[EnrolledClass | ServiceError | None] = [
            _check_count(gallery, enrolment) for enrolment in enrolments
        ]
        open_indices = [index for index, result in enumerate(results) if result is None]
        images = [image for index in open_indices for image in enrolments[index].images]
        embedded = iter(await self._classifier.embed(images))
        valid: dict[int, NewClass] = {}
        looks: dict[int, list[ExemplarWarning]] = {}
        for index in open_indices:
            enrolment = enrolments[index]
            items = [next(embedded) for _ in enrolment.images]
            problem = _first_problem(items)
            if problem is not None:
                results[index] = problem
                continue
            good = [item for item in items if isinstance(item, Embedded)]
            exemplars = [_exemplar(*pair) for pair in zip(enrolment.images, good, strict=True)]
            valid[index] = NewClass(enrolment.class_id, exemplars, enrolment.display_name, enrolment.attributes)
            looks[index] = [warning for item in good for warning in look(item.image)]
        if not valid:
            return [result for result in results if result is not None], gallery.revision
        loop = asyncio.get_running_loop()
        commit = loop.run_in_executor(self._writer, self._commit, gallery, valid, looks, strict)
        # Shielded: a caller who goes away does not stop what the writer has begun.
        stored, revision = await asyncio.shield(commit)
        return [stored[index] if result is None else result for index, result in enumerate(results)], revision

    async def check(self, gallery_id: str | None, image: bytes, class_id: str = "") -> Check:
        """Look at an image as an exemplar is looked at, and store nothing.

        Args:
            gallery_id: the gallery to compare with; None for none.
            image: the encoded image.
            class_id: the class it is meant for, which is not held against it.
        """
        gallery = None if gallery_id is None else self._classifier.gallery(gallery_id)
        (embedded,) = await self._classifier.embed([image])
        if not isinstance(embedded, Embedded):
            raise embedded
        new = _exemplar(image, embedded)
        warnings = look(embedded.image)
        nearest: list[Candidate] = []
        if gallery is not None:
            found = await self._classifier.search(gallery, embedded.embedding[None, :], CHECK_NEIGHBOURS + 1)
            nearest = [near for near in found.results[0] if near.class_id != class_id][:CHECK_NEIGHBOURS]
            same = await asyncio.to_thread(self._store.classes_with_image, gallery.id, new.exemplar.sha256)
            neighbours = [(near.class_id, near.distance) for near in nearest]
            threshold = self._threshold(gallery, found.class_count, found.gaps)
            warnings += compare(set(same) - {class_id}, neighbours, threshold)
        return Check(warnings, nearest, new.exemplar)

    async def diagnose(self, gallery_id: str, max_pairs: int) -> Diagnosis:
        """Find the pairs of classes most easily confused."""
        gallery = self._classifier.gallery(gallery_id)
        gaps = await asyncio.to_thread(self._store.gaps, gallery_id)
        threshold = self._threshold(gallery, gallery.class_count, gaps)
        pairs, close, revision = await asyncio.to_thread(self._store.nearest_pairs, gallery_id, max_pairs, threshold)
        return Diagnosis(pairs, close, threshold, revision)

    def _threshold(self, gallery: Gallery, class_count: int, gaps: Floats | None) -> float:
        return self._classifier.decisions.threshold(self._classifier.rate(gallery), class_count, gaps)

    def _commit(
        self,
        gallery: Gallery,
        valid: Mapping[int, NewClass],
        looks: Mapping[int, list[ExemplarWarning]],
        strict: bool,
    ) -> tuple[dict[int, EnrolledClass | ServiceError], int]:
        """Runs in the writer's thread."""
        start = perf_counter()
        compared = self._compare(gallery, list(valid.values()))
        warnings = {index: looks[index] + found for index, found in zip(valid, compared, strict=True)}
        results: dict[int, EnrolledClass | ServiceError] = {}
        if strict:
            results = {index: _refused(valid[index].id, found) for index, found in warnings.items() if found}
        kept = {index: new for index, new in valid.items() if index not in results}
        if not kept:
            return results, self._store.get_gallery(gallery.id).revision
        stored, revision = self._store.put_classes(gallery.id, list(kept.values()))
        for index, item in zip(kept, stored, strict=True):
            results[index] = EnrolledClass(item.record, item.replaced, warnings[index])
        self._metrics.commit_seconds.observe(perf_counter() - start)
        return results, revision

    def _compare(self, gallery: Gallery, classes: Sequence[NewClass]) -> list[list[ExemplarWarning]]:
        """Compare each class with those stored, and with the others of the same call."""
        embeddings = np.stack([new.embedding() for new in classes])
        try:
            stored = self._store.search(gallery.id, embeddings, _COMPARED)
        except DataLossError:
            # A damaged gallery cannot be searched, and enrolling is how it is mended.
            return [[] for _ in classes]
        ids = {new.id for new in classes}
        threshold = self._threshold(gallery, stored.class_count + len(ids), stored.gaps)
        by_image: dict[str, set[str]] = {}
        for new in classes:
            for item in new.exemplars:
                by_image.setdefault(item.exemplar.sha256, set()).add(new.id)
        warnings = []
        for index, new in enumerate(classes):
            neighbours = {near.class_id: near.distance for near in stored.results[index] if near.class_id not in ids}
            distances = np.linalg.norm(embeddings - embeddings[index], axis=1)
            for other, distance in zip(classes, distances.tolist(), strict=True):
                neighbours[other.id] = distance  # of two with the same id the last counts
            neighbours.pop(new.id, None)
            same: set[str] = set()
            for item in new.exemplars:
                digest = item.exemplar.sha256
                same |= by_image[digest] | (set(self._store.classes_with_image(gallery.id, digest)) - ids)
            nearest = sorted(neighbours.items(), key=lambda near: (near[1], near[0]))
            warnings.append(compare(same - {new.id}, nearest, threshold))
        return warnings


def _check_count(gallery: Gallery, enrolment: Enrolment) -> ServiceError | None:
    most = gallery.max_exemplars_per_class or DEFAULT_EXEMPLARS
    if not enrolment.images:
        return invalid_field("images", "a class needs at least one exemplar")
    if len(enrolment.images) > most:
        return invalid_field(
            "images",
            f"gallery {gallery.id!r} takes {most} exemplars a class, not {len(enrolment.images)}; "
            "its max_exemplars_per_class says how many",
        )
    return None


def _first_problem(items: Sequence[Embedded | ServiceError]) -> ServiceError | None:
    for index, item in enumerate(items):
        if not isinstance(item, Embedded):
            where = f"images[{index}]"
            message = item.message.removeprefix("image: ")
            return type(item)(item.reason, f"{where}: {message}", {"field": where})
    return None


def _exemplar(image: bytes, embedded: Embedded) -> NewExemplar:
    found = embedded.image
    digest = hashlib.sha256(image).hexdigest()
    described = Exemplar(digest, found.width, found.height, found.format, len(image))
    return NewExemplar(described, image, embedded.embedding)


def _refused(class_id: str, warnings: Sequence[ExemplarWarning]) -> FailedPreconditionError:
    kinds = ",".join(sorted({str(warning.kind) for warning in warnings}))
    reasons = "; ".join(warning.message for warning in warnings)
    return FailedPreconditionError(
        "EXEMPLAR_REFUSED", f"class {class_id!r} was not enrolled: {reasons}", {"class": class_id, "warnings": kinds}
    )
