"""`ClassificationService`: messages in, messages out; the work is the classifier's."""

from __future__ import annotations

import asyncio

import numpy as np

from exemplar.v1 import classification_service_pb2 as pb
from exemplar.v1 import classification_service_pb2_grpc as pb_grpc
from exemplar.v1 import resources_pb2
from exemplar_encoder import EncodedImage
from exemplar_server.batches import answer_each, parse_each
from exemplar_server.call import this_call
from exemplar_server.classifier import SLICE, GivenEmbedding, Options, Query
from exemplar_server.errors import ServiceError, invalid_field
from exemplar_server.rpc import messages
from exemplar_server.rpc.answer_sizes import AnswerSizes
from exemplar_server.rpc.dependencies import Context, Dependencies
from exemplar_server.rpc.images import parse_image
from exemplar_server.rpc.names import parse_gallery, parse_model
from exemplar_server.rpc.status import to_status


class ClassificationServicer(pb_grpc.ClassificationServiceServicer):
    """Names queries and makes embeddings."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies

    async def Classify(self, request: pb.ClassifyRequest, context: Context) -> pb.ClassifyResponse:  # noqa: N802
        """Name one query."""
        gallery = parse_gallery("gallery", request.gallery)
        query = _query("query", request.query)
        classifier = self._dependencies.classifier
        (result,) = await classifier.classify(gallery, [query], _options(request.options))
        if isinstance(result, ServiceError):
            raise result
        return pb.ClassifyResponse(classification=messages.classification(result, gallery))

    async def BatchClassify(  # noqa: N802
        self, request: pb.BatchClassifyRequest, context: Context
    ) -> pb.BatchClassifyResponse:
        """Name many queries."""
        gallery = parse_gallery("gallery", request.gallery)
        self._dependencies.check_batch("queries", request.queries)
        queries = parse_each(lambda message: _query("query", message), request.queries)
        options = _options(request.options)
        results = await self._dependencies.classifier.classify(gallery, queries, options)
        response = pb.BatchClassifyResponse()
        sizes = AnswerSizes(gallery, self._dependencies.answer_bytes)
        results = [result if isinstance(result, ServiceError) else sizes.take(result) for result in results]
        this_call().hold(sizes.taken)
        for index, fitting in enumerate(results):
            if index % SLICE == SLICE - 1:
                await asyncio.sleep(0)  # others have their turn
            if isinstance(fitting, ServiceError):
                response.results.add(error=to_status(fitting))
            else:
                response.results.add(classification=messages.classification(fitting, gallery))
        return response

    async def Embed(self, request: pb.EmbedRequest, context: Context) -> pb.EmbedResponse:  # noqa: N802
        """Embed one image."""
        classifier = self._dependencies.classifier
        (result,) = await classifier.embed([parse_image("image", request.image)])
        if isinstance(result, ServiceError):
            raise result
        return pb.EmbedResponse(embedding=messages.embedding(result.embedding, classifier.bundle.id))

    async def BatchEmbed(self, request: pb.BatchEmbedRequest, context: Context) -> pb.BatchEmbedResponse:  # noqa: N802
        """Embed many images."""
        self._dependencies.check_batch("images", request.images)
        classifier = self._dependencies.classifier
        images = parse_each(lambda message: parse_image("image", message), request.images)
        response = pb.BatchEmbedResponse()
        for result in await answer_each(EncodedImage, images, classifier.embed):
            if isinstance(result, ServiceError):
                response.results.add(error=to_status(result))
            else:
                response.results.add(embedding=messages.embedding(result.embedding, classifier.bundle.id))
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
        return parse_image(f"{field}.image", message.image)
    if kind is None:
        raise invalid_field(field, "it needs an image or an embedding")
    model = parse_model(f"{field}.embedding.model", message.embedding.model)
    return GivenEmbedding(np.array(message.embedding.values, np.float32), model)
