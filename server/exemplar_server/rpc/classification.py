"""`ClassificationService`: messages in, messages out; the work is the classifier's."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from exemplar.v1 import classification_service_pb2 as pb
from exemplar.v1 import classification_service_pb2_grpc as pb_grpc
from exemplar.v1 import resources_pb2
from exemplar_server.batcher import Embedded
from exemplar_server.classifier import GivenEmbedding, Options, Query
from exemplar_server.errors import ServiceError, invalid_field
from exemplar_server.rpc import convert
from exemplar_server.rpc.application import Application, Context
from exemplar_server.rpc.names import parse_gallery, parse_model
from exemplar_server.rpc.status import to_status


class ClassificationServicer(pb_grpc.ClassificationServiceServicer):
    """Names queries and makes embeddings."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def Classify(self, request: pb.ClassifyRequest, context: Context) -> pb.ClassifyResponse:  # noqa: N802
        """Names one query."""
        gallery = parse_gallery("gallery", request.gallery)
        query = _query("query", request.query)
        classifier = self._application.classifier
        (result,) = await classifier.classify(gallery, [query], _options(request.options))
        if isinstance(result, ServiceError):
            raise result
        return pb.ClassifyResponse(classification=convert.classification(result, gallery))

    async def BatchClassify(  # noqa: N802
        self, request: pb.BatchClassifyRequest, context: Context
    ) -> pb.BatchClassifyResponse:
        """Names many queries."""
        gallery = parse_gallery("gallery", request.gallery)
        self._application.check_batch("queries", request.queries)
        queries = _each_query(request.queries)
        usable = [query for query in queries if not isinstance(query, ServiceError)]
        options = _options(request.options)
        answers = iter(await self._application.classifier.classify(gallery, usable, options))
        response = pb.BatchClassifyResponse()
        for query in queries:
            result = query if isinstance(query, ServiceError) else next(answers)
            if isinstance(result, ServiceError):
                response.results.add(error=to_status(result))
            else:
                response.results.add(classification=convert.classification(result, gallery))
        return response

    async def Embed(self, request: pb.EmbedRequest, context: Context) -> pb.EmbedResponse:  # noqa: N802
        """Embeds one image."""
        classifier = self._application.classifier
        (result,) = await classifier.embed([request.image])
        if not isinstance(result, Embedded):
            raise result
        return pb.EmbedResponse(embedding=convert.embedding(result.embedding, classifier.bundle.id))

    async def BatchEmbed(self, request: pb.BatchEmbedRequest, context: Context) -> pb.BatchEmbedResponse:  # noqa: N802
        """Embeds many images."""
        self._application.check_batch("images", request.images)
        classifier = self._application.classifier
        response = pb.BatchEmbedResponse()
        for result in await classifier.embed(request.images):
            if isinstance(result, Embedded):
                response.results.add(embedding=convert.embedding(result.embedding, classifier.bundle.id))
            else:
                response.results.add(error=to_status(result))
        return response


def _options(message: pb.ClassificationOptions) -> Options:
    return Options(
        message.top_k if message.HasField("top_k") else None,
        message.false_accept_rate if message.HasField("false_accept_rate") else None,
        parse_model("options.model", message.model),
    )


def _query(field: str, message: resources_pb2.Query) -> Query:
    kind = message.WhichOneof("query")
    if kind == "image":
        return message.image
    if kind is None:
        raise invalid_field(field, "it needs an image or an embedding")
    model = parse_model(f"{field}.embedding.model", message.embedding.model)
    return GivenEmbedding(np.array(message.embedding.values, np.float32), model)


def _each_query(messages: Iterable[resources_pb2.Query]) -> list[Query | ServiceError]:
    queries: list[Query | ServiceError] = []
    for message in messages:
        try:
            queries.append(_query("query", message))
        except ServiceError as error:
            queries.append(error)
    return queries
