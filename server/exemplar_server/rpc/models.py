"""`ModelService`: describes the loaded bundle."""

from __future__ import annotations

from exemplar.v1 import model_service_pb2 as pb
from exemplar.v1 import model_service_pb2_grpc as pb_grpc
from exemplar_server.errors import NotFoundError, invalid_field
from exemplar_server.rpc import convert, names
from exemplar_server.rpc.application import Application, Context


class ModelServicer(pb_grpc.ModelServiceServicer):
    """Describes the one bundle that a server loads."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:  # noqa: N802
        """Reads a model."""
        wanted = names.parse_model("name", request.name)
        if not wanted:
            raise invalid_field("name", "it must be models/{model}; it is empty")
        encoder = self._application.classifier.encoder
        if wanted != encoder.bundle.id:
            raise NotFoundError(
                "MODEL_NOT_FOUND",
                f"this server has no model {wanted[:200]!r}; it runs {encoder.bundle.id}",
                {"model": wanted[:200], "actual": encoder.bundle.id},
            )
        return pb.GetModelResponse(model=convert.model(encoder))

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:  # noqa: N802
        """Lists the loaded models."""
        _, after = names.page(request.page_size, request.page_token)
        encoder = self._application.classifier.encoder
        models = [convert.model(encoder)] if encoder.bundle.id > after else []
        return pb.ListModelsResponse(models=models)
