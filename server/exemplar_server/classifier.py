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

from exemplar_encoder import Bundle, Decision, DecisionRule, EncodedImage, Encoder, ImageError, ImageProblem, Verdict
from exemplar_encoder.arrays import Floats
from exemplar_encoder.bundle import LENGTH_TOLERANCE
from exemplar_encoder.calibration import NEAREST_CONSIDERED
from exemplar_server.batcher import Batcher, EmbeddedImage
from exemplar_server.batches import answer_each, failed_item
from exemplar_server.decision_rules import DecisionRules
from exemplar_server.errors import FailedPreconditionError, InvalidArgumentError, ServiceError, invalid_field
from exemplar_server.metrics import Metrics
from exemplar_server.reading_threads import ReadingThreads
from exemplar_server.recent_queries import OtherKindOfPicture, RecentQueries
from exemplar_server.store.gallery_store import GalleryStore
from exemplar_server.store.records import LARGEST_VALUE, Candidate, Gallery, Search, usable

DEFAULT_TOP_K = 5
MAX_TOP_K = 100

# Searching costs about a nanosecond for each of these; up to a millisecond is less than handing it to a thread and
# waiting for the answer costs under load.
_INLINE_PRODUCTS = 1_000_000

# So many queries of a batch are searched and decided at a time. Between them others have their turn: a batch keeps a
# single caller waiting for a few milliseconds, holds the index as long, and little memory, however many classes tie.
SLICE = 32


@dataclass(frozen=True, slots=True)
class GivenEmbedding:
    """A query that is an embedding already: float32 `[dimension]`, and the model that made it (empty: unsaid)."""

    values: Floats
    model: str = ""


Query = EncodedImage | GivenEmbedding


@dataclass(frozen=True, slots=True)
class Options:
    """How to answer; None and empty mean the default."""

    top_k: int | None = None
    false_accept_rate: float | None = None
    model: str = ""


@dataclass(frozen=True, slots=True)
class Classification:
    """The answer to a query; `matches` are classes with the probability that the query is of them.

    `other_kind` says why it may be UNKNOWN, where there is evidence; it is None for every other verdict.
    """

    verdict: Verdict
    probability: float
    matches: list[tuple[Candidate, float]]
    threshold: float
    false_accept_rate: float
    ambiguity_margin: float
    model: str
    gallery_revision: int
    other_kind: OtherKindOfPicture | None


class Classifier:
    """Answers queries with one bundle over one store."""

    def __init__(self, encoder: Encoder, batcher: Batcher, store: GalleryStore, metrics: Metrics) -> None:
        self.encoder = encoder
        self.store = store
        self.rules = DecisionRules(encoder.bundle.calibration)
        self.recent = RecentQueries()
        self.threads = ReadingThreads()
        self._unit_length = encoder.bundle.has_unit_length
        self._batcher = batcher
        self._metrics = metrics

    @property
    def bundle(self) -> Bundle:
        """The bundle that answers."""
        return self.encoder.bundle

    async def classify(
        self, gallery_id: str, queries: Sequence[Query | ServiceError], options: Options
    ) -> list[Classification | ServiceError]:
        """Name some queries; one result for each, in order.

        Args:
            gallery_id: the gallery to search.
            queries: images and embeddings; errors among them stay in their places.
            options: how to answer.

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
        gallery = await self.gallery(gallery_id)
        if gallery.class_count == 0:
            raise _empty(gallery_id)

        async def conclude(given: list[GivenEmbedding]) -> list[Classification | ServiceError]:
            concluded: list[Classification | ServiceError] = []
            for start in range(0, len(given), SLICE):
                if start:
                    await asyncio.sleep(0)
                concluded += await conclude_slice(given[start : start + SLICE])
            return concluded

        async def conclude_slice(given: list[GivenEmbedding]) -> Sequence[Classification | ServiceError]:
            try:
                return await conclude_together(given)
            except ServiceError:
                raise
            except Exception as error:  # noqa: BLE001 - it is logged
                if len(given) == 1:
                    return [failed_item(error, "query")]
                return [
                    answer for query in given for answer in await conclude_slice([query])
                ]  # it may be one's fault

        async def conclude_together(given: list[GivenEmbedding]) -> Sequence[Classification | ServiceError]:
            embeddings = np.stack([query.values for query in given])
            found = await self.search(gallery, embeddings, top_k, NEAREST_CONSIDERED)
            if not found.gallery.class_count:  # the last class was deleted meanwhile
                return [_empty(gallery_id)] * len(given)
            rule = self.rules.rule(found.gallery, found.gaps, options.false_accept_rate)
            decisions = [rule.decide(distances) for distances in found.distances]
            nearest = [near[0].class_id for near in found.results]
            unknown = sum(decision.verdict is Verdict.UNKNOWN for decision in decisions)
            self.recent.add(found.gallery, embeddings, nearest, unknown)
            other_kind = self.recent.finding(found.gallery, found.classes) if unknown else None
            revision = found.gallery.revision
            return [
                self._conclude(rule, *each, revision, other_kind)
                for each in zip(decisions, found.results, strict=True)
            ]

        checked: list[Query | ServiceError] = [
            self._check_given(query) if isinstance(query, GivenEmbedding) else query for query in queries
        ]
        embedded: list[GivenEmbedding | ServiceError] = await answer_each(EncodedImage, checked, self._embed_queries)
        return await answer_each(GivenEmbedding, embedded, conclude)

    async def embed(
        self, images: Sequence[EncodedImage], field: str = "image", inspected: bool = False
    ) -> list[EmbeddedImage | ServiceError]:
        """Embed some images; one result for each, in order.

        Args:
            images: the images.
            field: to be named in errors.
            inspected: see `Batcher.embed`.
        """
        results = await self._batcher.embed(images, inspected)
        return [result if isinstance(result, EmbeddedImage) else _item_error(result, field) for result in results]

    async def gallery(self, gallery_id: str) -> Gallery:
        """Return a gallery of this server's model.

        Raises:
            FailedPreconditionError: the gallery holds another model's embeddings.
        """
        if self.store.remote:
            gallery = await asyncio.to_thread(self.store.get_gallery, gallery_id)
        else:
            gallery = self.store.get_gallery(gallery_id)
        if gallery.model != self.bundle.id:
            raise FailedPreconditionError(
                "MODEL_MISMATCH",
                f"gallery {gallery_id!r} was made with model {gallery.model}, but this server runs {self.bundle.id}",
                {"expected": gallery.model, "actual": self.bundle.id, "gallery": gallery_id},
            )
        return gallery

    async def search(self, gallery: Gallery, queries: Floats, count: int, considered: int = 0) -> Search:
        """Search on the spot where that is quick, else in a thread."""
        start = perf_counter()
        if queries.size * gallery.class_count <= _INLINE_PRODUCTS and not self.store.remote:
            found = self.store.search(gallery.id, queries, count, considered)
        else:
            found = await self.threads.search(lambda: self.store.search(gallery.id, queries, count, considered))
        self._metrics.search_seconds.observe(perf_counter() - start)
        return found

    async def _embed_queries(self, images: list[EncodedImage]) -> list[GivenEmbedding | ServiceError]:
        results = await self.embed(images, "query.image")
        return [
            result if isinstance(result, ServiceError) else GivenEmbedding(result.embedding) for result in results
        ]

    def _check_given(self, query: GivenEmbedding) -> GivenEmbedding | ServiceError:
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
        field = "query.embedding.values"
        if not np.isfinite(query.values).all():
            return invalid_field(field, "they hold NaN or infinity; send an embedding as the server made it")
        length = float(np.linalg.norm(query.values.astype(np.float64)))
        if self._unit_length and abs(length - 1) > LENGTH_TOLERANCE:
            return invalid_field(
                field,
                f"they have length {length:.4g}; the model's embeddings have length 1: send one as it was made",
            )
        if not usable(query.values):
            return invalid_field(field, f"they hold one beyond {LARGEST_VALUE:,.0f}")
        return query

    def _conclude(
        self,
        rule: DecisionRule,
        decision: Decision,
        nearest: list[Candidate],
        revision: int,
        other_kind: OtherKindOfPicture | None,
    ) -> Classification:
        return Classification(
            decision.verdict,
            decision.probabilities[0],
            list(zip(nearest, decision.probabilities, strict=False)),
            rule.threshold,
            rule.false_accept_rate,
            rule.margin,
            self.bundle.id,
            revision,
            other_kind if decision.verdict is Verdict.UNKNOWN else None,
        )


def check_rate(field: str, rate: float | None) -> None:
    """Refuse a false-accept rate that is none; NaN too."""
    if rate is not None and not 0 < rate < 1:
        raise invalid_field(field, f"it must lie between 0 and 1 and be neither, not {rate}")


def _empty(gallery_id: str) -> FailedPreconditionError:
    return FailedPreconditionError(
        "GALLERY_EMPTY", f"gallery {gallery_id!r} has no classes yet; enroll some", {"gallery": gallery_id}
    )


def _item_error(error: Exception, field: str) -> ServiceError:
    if not isinstance(error, ImageError):
        return failed_item(error, field)
    where = f"{field}.region" if error.reason is ImageProblem.BAD_REGION else field
    return InvalidArgumentError("IMAGE_" + error.reason.name, f"{where}: {error}", {"field": where})
