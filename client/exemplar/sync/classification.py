# Generated from exemplar/aio/classification.py by `make proto`: change that, not this.
"""Requests that name queries and make embeddings."""

from __future__ import annotations

from collections.abc import Iterable

from exemplar import conversion, names, requests
from exemplar.errors import ExemplarError
from exemplar.images import Image, require_files
from exemplar.results import Classification, Embedding
from exemplar.sync.connection import Connection, Shared
from exemplar.v1 import classification_service_pb2 as pb


class ClassificationRequests(Connection):
    """The client's methods for queries."""

    def classify(
        self,
        gallery: str,
        image: Image | Embedding,
        *,
        top_k: int | None = None,
        false_accept_rate: float | None = None,
        model: str | None = None,
        timeout: float | None = None,
    ) -> Classification:
        """Name one query.

        Args:
            gallery: Id of the gallery to search.
            image: The query: an image, or an embedding made before by the gallery's model.
            top_k: How many matches to return, 1 to 100; None for 5.
            false_accept_rate: Share of queries of no enrolled class that may be given a name; None for the gallery's.
            model: Id of the model that is expected; another one raises `FailedPreconditionError`.
            timeout: Deadline in seconds; None for the client's.
        """
        name = names.gallery_name(gallery)
        options = requests.classification_options(top_k, false_accept_rate, model)
        query = requests.query(image, self._input_side(timeout))
        answer = self._single(
            self._open().classification.Classify,
            lambda: pb.ClassifyRequest(gallery=name, query=query, options=options),
            Shared(
                (name, top_k, false_accept_rate, model),
                query,
                self._open().classification.BatchClassify,
                lambda queries: pb.BatchClassifyRequest(gallery=name, queries=queries, options=options),
            ),
            timeout,
        )
        return conversion.classification(answer.classification)

    def classify_many(
        self,
        gallery: str,
        images: Iterable[Image | Embedding],
        *,
        top_k: int | None = None,
        false_accept_rate: float | None = None,
        model: str | None = None,
        timeout: float | None = None,
    ) -> list[Classification | ExemplarError]:
        """Name many queries, in batches; arguments as `classify`, with the deadline of each batch.

        Returns:
            One entry an image, in order: the answer, or the error (not raised) of an image that cannot be used.
        """
        require_files(images)
        side = self._input_side(timeout)
        options = requests.classification_options(top_k, false_accept_rate, model)
        return self._batches(
            self._open().classification.BatchClassify,
            (requests.query(image, side) for image in images),
            lambda queries: pb.BatchClassifyRequest(
                gallery=names.gallery_name(gallery), queries=queries, options=options
            ),
            lambda entry: conversion.classification(entry.classification),
            timeout,
        )

    def embed(self, image: Image, *, timeout: float | None = None) -> Embedding:
        """Embed one image."""
        picture = requests.image(image, self._input_side(timeout))
        answer = self._single(
            self._open().classification.Embed,
            lambda: pb.EmbedRequest(image=picture),
            Shared(
                "embed",
                picture,
                self._open().classification.BatchEmbed,
                lambda images: pb.BatchEmbedRequest(images=images),
            ),
            timeout,
        )
        return conversion.embedding(answer.embedding)

    def embed_many(self, images: Iterable[Image], *, timeout: float | None = None) -> list[Embedding | ExemplarError]:
        """Embed many images; one entry each, in order, as `classify_many`."""
        require_files(images)
        side = self._input_side(timeout)
        return self._batches(
            self._open().classification.BatchEmbed,
            (requests.image(image, side) for image in images),
            lambda batch: pb.BatchEmbedRequest(images=batch),
            lambda entry: conversion.embedding(entry.embedding),
            timeout,
        )
