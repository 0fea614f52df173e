"""`ModelService`: describes the loaded bundle."""

from __future__ import annotations

from exemplar.v1 import model_service_pb2 as pb
from exemplar.v1 import model_service_pb2_grpc as pb_grpc
from exemplar_server.errors import NotFoundError, invalid_field
from exemplar_server.rpc import messages, names
from exemplar_server.rpc.dependencies import Context, Dependencies


class ModelServicer(pb_grpc.ModelServiceServicer):
    """Describes the one bundle that a server loads."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:  # noqa: N802
        """Read a model."""
        wanted = names.parse_model("name", request.name)
        if not wanted:
            raise invalid_field("name", "it must be models/{model}; it is empty")
        encoder = self._dependencies.classifier.encoder
        if wanted != encoder.bundle.id:
            raise NotFoundError(
                "MODEL_NOT_FOUND",
                f"this server has no model {wanted!r}; it runs {encoder.bundle.id}",
                {"model": wanted, "actual": encoder.bundle.id},
            )
        return pb.GetModelResponse(model=messages.model(encoder))

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:  # noqa: N802
        """List the loaded models."""
        _, after = names.page(request.page_size, request.page_token)
        encoder = self._dependencies.classifier.encoder
        models = [messages.model(encoder)] if encoder.bundle.id > after else []
        return pb.ListModelsResponse(models=models)
