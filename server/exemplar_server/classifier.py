"""Naming queries: the straight line from image bytes to a verdict.

Plain Python over arrays: it knows neither gRPC nor how galleries are kept. A batch answers each query on its own; one
that cannot be answered yields its error in its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from exemplar_encoder import Bundle, Encoder, ImageError
from exemplar_encoder.arrays import Floats
from exemplar_encoder.calibration import NEAREST_CONSIDERED
from exemplar_server.batcher import Batcher, Embedded, Result
from exemplar_server.decision import Decisions, Verdict
from exemplar_server.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    ServiceError,
    invalid_field,
)
from exemplar_server.metrics import Metrics
from exemplar_server.store.gallery_store import Candidate, Gallery, GalleryStore, Search

DEFAULT_TOP_K = 5
MAX_TOP_K = 100

# Searching costs about a nanosecond for each of these; up to a millisecond is less than handing it to a thread and
# waiting for the answer costs under load.
_INLINE_PRODUCTS = 1_000_000


@dataclass(frozen=True, slots=True)
class GivenEmbedding:
    """A query that is an embedding already: float32 `[dimension]`, and the model that made it (empty: unsaid)."""

    values: Floats
    model: str = ""


Query = bytes | GivenEmbedding


@dataclass(frozen=True, slots=True)
class Options:
    """How to answer; None and empty mean the default."""

    top_k: int | None = None
    false_accept_rate: float | None = None
    model: str = ""


@dataclass(frozen=True, slots=True)
class Classification:
    """The answer to a query; `matches` are classes with the probability that the query is of them."""

    verdict: Verdict
    probability: float
    matches: list[tuple[Candidate, float]]
    threshold: float
    false_accept_rate: float
    ambiguity_margin: float
    model: str
    gallery_revision: int


class Classifier:
    """Answers queries with one bundle over one store."""

    def __init__(self, encoder: Encoder, batcher: Batcher, store: GalleryStore, metrics: Metrics) -> None:
        self.encoder = encoder
        self.store = store
        self._batcher = batcher
        self._metrics = metrics

    @property
    def bundle(self) -> Bundle:
        """The bundle that answers."""
        return self.encoder.bundle

    async def classify(
        self, gallery_id: str, queries: Sequence[Query], options: Options
    ) -> list[Classification | ServiceError]:
        """Name some queries; one result for each, in order.

        Raises:
            ServiceError: nothing could be answered: no such gallery, another model, an option out of range.
        """
        top_k = DEFAULT_TOP_K if options.top_k is None else options.top_k
        if not 1 <= top_k <= MAX_TOP_K:
            raise invalid_field("options.top_k", f"it must be 1 to {MAX_TOP_K}, not {top_k}")
        check_rate("options.false_accept_rate", options.false_accept_rate)
        if options.model and options.model != self.bundle.id:
            raise FailedPreconditionError(
                "MODEL_MISMATCH",
                f"the caller expects model {options.model}, but this server runs {self.bundle.id}",
                {"expected": options.model, "actual": self.bundle.id},
            )
        gallery = self.gallery(gallery_id)
        if gallery.class_count == 0:
            raise FailedPreconditionError(
                "GALLERY_EMPTY", f"gallery {gallery_id!r} has no classes yet; enroll some", {"gallery": gallery_id}
            )
        embeddings = await self._embed_queries(queries)
        usable = [embedding for embedding in embeddings if not isinstance(embedding, ServiceError)]
        if not usable:
            return [embedding for embedding in embeddings if isinstance(embedding, ServiceError)]
        found = await self.search(gallery, np.stack(usable), max(top_k, NEAREST_CONSIDERED))
        asked = options.false_accept_rate or self.rate(gallery)
        rate = self.decisions(gallery).calibration.effective_rate(asked)
        nearest = iter(found.results)
        return [
            embedding
            if isinstance(embedding, ServiceError)
            else self._conclude(next(nearest), found, top_k, rate, gallery)
            for embedding in embeddings
        ]

    async def embed(self, images: Sequence[bytes], field: str = "image") -> list[Embedded | InvalidArgumentError]:
        """Embed some images; one result for each, in order."""
        return [image_result(result, field) for result in await self._batcher.embed(images)]

    def gallery(self, gallery_id: str) -> Gallery:
        """A gallery of this server's model.

        Raises:
            FailedPreconditionError: the gallery holds another model's embeddings.
        """
        gallery = self.store.get_gallery(gallery_id)
        if gallery.model != self.bundle.id:
            raise FailedPreconditionError(
                "MODEL_MISMATCH",
                f"gallery {gallery_id!r} was made with model {gallery.model}, but this server runs {self.bundle.id}",
                {"expected": gallery.model, "actual": self.bundle.id, "gallery": gallery_id},
            )
        return gallery

    def decisions(self, gallery: Gallery) -> Decisions:
        """What judges a gallery's queries: its own calibration, or else the bundle's."""
        return Decisions(gallery.calibration or self.bundle.calibration)

    def rate(self, gallery: Gallery) -> float:
        """The false-accept rate that holds where a request names none."""
        return gallery.false_accept_rate or self.decisions(gallery).calibration.default_false_accept_rate

    async def search(self, gallery: Gallery, queries: Floats, count: int) -> Search:
        """Search on the spot where that is quick, else in a thread."""
        start = perf_counter()
        if queries.size * gallery.class_count <= _INLINE_PRODUCTS:
            found = self.store.search(gallery.id, queries, count)
        else:
            found = await asyncio.to_thread(self.store.search, gallery.id, queries, count)
        self._metrics.search_seconds.observe(perf_counter() - start)
        return found

    async def _embed_queries(self, queries: Sequence[Query]) -> list[Floats | ServiceError]:
        images = [query for query in queries if isinstance(query, bytes)]
        embedded = iter(await self.embed(images, "query.image"))
        answers: list[Floats | ServiceError] = []
        for query in queries:
            if isinstance(query, GivenEmbedding):
                answers.append(self._check_given(query))
            else:
                result = next(embedded)
                answers.append(result.embedding if isinstance(result, Embedded) else result)
        return answers

    def _check_given(self, query: GivenEmbedding) -> Floats | ServiceError:
        if query.model and query.model != self.bundle.id:
            return FailedPreconditionError(
                "MODEL_MISMATCH",
                f"the embedding was made by model {query.model}, but the gallery's is {self.bundle.id}",
                {"expected": self.bundle.id, "actual": query.model},
            )
        expected, actual = self.encoder.dimension, query.values.size
        if actual != expected:
            return FailedPreconditionError(
                "DIMENSION_MISMATCH",
                f"the embedding has {actual} values; the gallery's have {expected}",
                {"expected": str(expected), "actual": str(actual)},
            )
        if not np.isfinite(query.values).all():
            return invalid_field("query.embedding.values", "they hold NaN or infinity")
        return query.values

    def _conclude(
        self, candidates: list[Candidate], found: Search, top_k: int, rate: float, gallery: Gallery
    ) -> Classification | ServiceError:
        if not candidates:  # the last class was deleted meanwhile
            return FailedPreconditionError("GALLERY_EMPTY", f"gallery {gallery.id!r} has no classes", {})
        distances = [candidate.distance for candidate in candidates]
        decision = self.decisions(gallery).decide(distances, rate, found.class_count, found.gaps)
        return Classification(
            decision.verdict,
            decision.probabilities[0],
            list(zip(candidates, decision.probabilities, strict=True))[:top_k],
            decision.threshold,
            rate,
            decision.margin,
            self.bundle.id,
            found.revision,
        )


def check_rate(field: str, rate: float | None) -> None:
    """Refuse a false-accept rate that is none; NaN too."""
    if rate is not None and not 0 < rate < 1:
        raise invalid_field(field, f"it must lie between 0 and 1 and be neither, not {rate}")


def image_result(result: Result, field: str) -> Embedded | InvalidArgumentError:
    """Turn an image's error into an answer that names the field."""
    if not isinstance(result, ImageError):
        return result
    reason = "IMAGE_" + result.reason.name
    return InvalidArgumentError(reason, f"{field}: {result}", {"field": field})
