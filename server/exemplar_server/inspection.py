"""Inspecting exemplars before they mislead: one image, classes about to be stored, and a whole gallery.

Looks and compares, and changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from exemplar_encoder import EncodedImage
from exemplar_encoder.arrays import Floats
from exemplar_encoder.kinds_of_picture import Cloud
from exemplar_server.batcher import EmbeddedImage
from exemplar_server.classifier import Classifier
from exemplar_server.errors import DataLossError, NotFoundError, ServiceError
from exemplar_server.exemplar_warnings import ExemplarWarning, neighbor_warnings
from exemplar_server.recent_queries import OtherKindOfPicture
from exemplar_server.store.gallery_store import Galleries, SearchedGalleries
from exemplar_server.store.records import Candidate, Exemplar, Gallery, NewExemplar, Pair, Search

CHECK_NEIGHBORS = 5

# One neighbor is asked for to be compared, and one more because it may be the class itself.
_COMPARED = 2


@dataclass(frozen=True, slots=True)
class ExemplarCheck:
    """The findings about an image that was not stored."""

    warnings: list[ExemplarWarning]
    nearest: list[Candidate]
    exemplar: Exemplar


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The nearest pairs of a gallery, nearest first, and how many are nearer than the threshold in all.

    `other_kind` is there where the latest queries are another kind of picture than the exemplars.
    """

    pairs: list[Pair]
    too_close_count: int
    threshold: float
    gallery_revision: int
    other_kind: OtherKindOfPicture | None


@dataclass(frozen=True, slots=True)
class ComparedClass:
    """A class as it would be stored: its embedding float32 `[dimension]`, and the names of its new exemplars."""

    class_id: str
    embedding: Floats
    exemplars: Collection[str]


class Inspector:
    """Inspects galleries that are of the classifier's model."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._store = classifier.store

    async def check_exemplar(self, gallery_id: str | None, image: EncodedImage, class_id: str = "") -> ExemplarCheck:
        """Look at an image as enrolling would, and store nothing.

        Args:
            gallery_id: the gallery to compare with; None for none.
            image: the image.
            class_id: the class it is meant for, which is not held against it.
        """
        gallery = None if gallery_id is None else await self._classifier.gallery(gallery_id)
        (embedded,) = await self._classifier.embed([image], inspected=True)
        if isinstance(embedded, ServiceError):
            raise embedded
        exemplar = described(image, embedded).exemplar
        warnings = embedded.warnings
        nearest: list[Candidate] = []
        if gallery is not None:
            found = await self._classifier.search(gallery, embedded.embedding[None, :], CHECK_NEIGHBORS + 1)
            nearest = [near for near in found.results[0] if near.class_id != class_id][:CHECK_NEIGHBORS]
            same = await asyncio.to_thread(self._store.classes_with_exemplar, gallery.id, exemplar.sha256)
            neighbors = {near.class_id: near.distance for near in nearest}
            others = set(same) - {class_id}
            twin = await asyncio.to_thread(_twin, self._store, gallery.id, others, embedded.embedding, neighbors)
            threshold = self._classifier.rules.rule(found.gallery, found.gaps).threshold
            warnings = warnings + neighbor_warnings(twin, list(neighbors.items()), threshold)
        return ExemplarCheck(warnings, nearest, exemplar)

    async def diagnose_gallery(self, gallery_id: str, max_pairs: int) -> Diagnosis:
        """Find the pairs of classes most easily confused, and whether queries are another kind of picture."""
        gallery = await self._classifier.gallery(gallery_id)

        def diagnose(go_on: Callable[[], None]) -> tuple[list[Pair], int, float, int, Cloud]:
            gaps = self._store.gaps(gallery_id)
            threshold = self._classifier.rules.make(gallery, gallery.class_count, gaps).threshold
            pairs, close, revision = self._store.nearest_pairs(gallery_id, max_pairs, threshold, go_on)
            return pairs, close, threshold, revision, self._store.cloud(gallery_id)

        pairs, close, threshold, revision, classes = await self._classifier.threads.read_long(diagnose)
        return Diagnosis(pairs, close, threshold, revision, self._classifier.recent.finding(gallery, classes))

    def compare(
        self, store: SearchedGalleries, gallery: Gallery, classes: Sequence[ComparedClass]
    ) -> list[list[ExemplarWarning]]:
        """Compare each class with those stored, and with the others that would be stored with it.

        Near is what is near in the gallery as it would be then: of as many classes, and as far apart.

        Args:
            store: the store, as it is when they are stored.
            gallery: where they would be stored.
            classes: the classes; of two with the same id the last counts.
        """
        embeddings = np.stack([each.embedding for each in classes])
        ids = {each.class_id for each in classes}
        try:
            stored = _search_others(store, gallery.id, embeddings, ids)
            # A class that is there already changes, and does not join. One whose new exemplars are far from its old
            # ones may be missed: then it counts as one more.
            there = {near.class_id for found in stored.results for near in found}
            joining = {each.class_id: each.embedding for each in classes if each.class_id not in there}
            together = np.reshape(list(joining.values()), (-1, embeddings.shape[1])).astype(np.float32)
            gaps = self._store.gaps(gallery.id, together)
        except DataLossError:
            # A damaged gallery cannot be searched, and enrolling is how it is mended.
            return [[] for _ in classes]
        count = stored.gallery.class_count + len(joining)
        threshold = self._classifier.rules.make(stored.gallery, count, gaps).threshold
        by_exemplar: dict[str, set[str]] = {}
        for each in classes:
            for sha256 in each.exemplars:
                by_exemplar.setdefault(sha256, set()).add(each.class_id)
        warnings = []
        for index, each in enumerate(classes):
            neighbors = {near.class_id: near.distance for near in stored.results[index] if near.class_id not in ids}
            distances = np.linalg.norm(embeddings - embeddings[index], axis=1)
            for other, distance in zip(classes, distances.tolist(), strict=True):
                neighbors[other.class_id] = distance
            neighbors.pop(each.class_id, None)
            same: set[str] = set()
            for sha256 in each.exemplars:
                same |= by_exemplar[sha256] | (set(store.classes_with_exemplar(gallery.id, sha256)) - ids)
            twin = _twin(store, gallery.id, same - {each.class_id}, each.embedding, neighbors)
            nearest = sorted(neighbors.items(), key=lambda near: (near[1], near[0]))
            warnings.append(neighbor_warnings(twin, nearest, threshold))
        return warnings


def _search_others(store: SearchedGalleries, gallery_id: str, embeddings: Floats, ids: Collection[str]) -> Search:
    """Find for each embedding the nearest stored class that is none of `ids`, with others."""
    found = store.search(gallery_id, embeddings, _COMPARED)
    if any(len(near) == _COMPARED and all(each.class_id in ids for each in near) for near in found.results):
        found = store.search(gallery_id, embeddings, len(ids) + 1)
    return found


def _twin(
    store: Galleries, gallery_id: str, same: Collection[str], embedding: Floats, neighbors: Mapping[str, float]
) -> tuple[str, float] | None:
    """Choose one of the classes that have the `same` exemplar, and tell how far it is.

    It may be farther than the `neighbors`: it is searched by the mean of all its exemplars.
    """
    twin = min(same, default=None)
    if twin is None:
        return None
    if twin in neighbors:
        return twin, neighbors[twin]
    try:
        return twin, float(np.linalg.norm(store.get_class(gallery_id, twin).embedding - embedding))
    except NotFoundError:  # it was deleted meanwhile
        return None


def described(image: EncodedImage, embedded: EmbeddedImage) -> NewExemplar:
    """Return an embedded image as it would be stored."""
    of = embedded
    about = Exemplar(of.sha256, of.width, of.height, of.format, len(image.content), image.region)
    return NewExemplar(about, image.content, embedded.embedding)
