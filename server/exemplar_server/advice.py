"""What is to be said of exemplars before they mislead: of one image, of classes to be stored, and of a whole gallery.

Looks and compares, and changes nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from exemplar_encoder.arrays import Floats
from exemplar_server.batcher import Embedded
from exemplar_server.classifier import Classifier
from exemplar_server.errors import DataLossError
from exemplar_server.exemplar_check import ExemplarWarning, compare, look
from exemplar_server.store.gallery_store import Candidate, Exemplar, Gallery, NewExemplar, Pair

CHECK_NEIGHBORS = 5

# One neighbor is asked for to be compared, and one more because it may be the class itself.
_COMPARED = 2


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
class Subject:
    """A class as it would be stored: what it is searched by, float32 `[dimension]`, and SHA-256 of its new images."""

    class_id: str
    embedding: Floats
    images: Collection[str]


class Advisor:
    """Looks at galleries that are of the classifier's model."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._store = classifier.store

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
        new = described(image, embedded)
        warnings = look(embedded.image)
        nearest: list[Candidate] = []
        if gallery is not None:
            found = await self._classifier.search(gallery, embedded.embedding[None, :], CHECK_NEIGHBORS + 1)
            nearest = [near for near in found.results[0] if near.class_id != class_id][:CHECK_NEIGHBORS]
            same = await asyncio.to_thread(self._store.classes_with_image, gallery.id, new.exemplar.sha256)
            neighbors = [(near.class_id, near.distance) for near in nearest]
            threshold = self._threshold(gallery, found.class_count, found.gaps)
            warnings += compare(set(same) - {class_id}, neighbors, threshold)
        return Check(warnings, nearest, new.exemplar)

    async def diagnose(self, gallery_id: str, max_pairs: int) -> Diagnosis:
        """Find the pairs of classes most easily confused."""
        gallery = self._classifier.gallery(gallery_id)
        gaps = await asyncio.to_thread(self._store.gaps, gallery_id)
        threshold = self._threshold(gallery, gallery.class_count, gaps)
        pairs, close, revision = await asyncio.to_thread(self._store.nearest_pairs, gallery_id, max_pairs, threshold)
        return Diagnosis(pairs, close, threshold, revision)

    def compare(self, gallery: Gallery, subjects: Sequence[Subject], joining: int) -> list[list[ExemplarWarning]]:
        """Compare each class with those stored, and with the others that would be stored with it.

        Args:
            gallery: where they would be stored.
            subjects: the classes; of two with the same id the last counts.
            joining: how many classes the gallery would hold more.
        """
        embeddings = np.stack([subject.embedding for subject in subjects])
        try:
            stored = self._store.search(gallery.id, embeddings, _COMPARED)
        except DataLossError:
            # A damaged gallery cannot be searched, and enrolling is how it is mended.
            return [[] for _ in subjects]
        ids = {subject.class_id for subject in subjects}
        threshold = self._threshold(gallery, stored.class_count + joining, stored.gaps)
        by_image: dict[str, set[str]] = {}
        for subject in subjects:
            for digest in subject.images:
                by_image.setdefault(digest, set()).add(subject.class_id)
        warnings = []
        for index, subject in enumerate(subjects):
            neighbors = {near.class_id: near.distance for near in stored.results[index] if near.class_id not in ids}
            distances = np.linalg.norm(embeddings - embeddings[index], axis=1)
            for other, distance in zip(subjects, distances.tolist(), strict=True):
                neighbors[other.class_id] = distance
            neighbors.pop(subject.class_id, None)
            same: set[str] = set()
            for digest in subject.images:
                same |= by_image[digest] | (set(self._store.classes_with_image(gallery.id, digest)) - ids)
            nearest = sorted(neighbors.items(), key=lambda near: (near[1], near[0]))
            warnings.append(compare(same - {subject.class_id}, nearest, threshold))
        return warnings

    def _threshold(self, gallery: Gallery, class_count: int, gaps: Floats | None) -> float:
        decisions = self._classifier.decisions(gallery)
        return decisions.threshold(self._classifier.rate(gallery), class_count, gaps)


def described(image: bytes, embedded: Embedded) -> NewExemplar:
    """An embedded image as it would be stored."""
    found = embedded.image
    digest = hashlib.sha256(image).hexdigest()
    about = Exemplar(digest, found.width, found.height, found.format, len(image))
    return NewExemplar(about, image, embedded.embedding)
