"""Requests that read the loaded models."""

from __future__ import annotations

from collections.abc import AsyncIterator

from exemplar import conversion, names, requests
from exemplar.aio.connection import AsyncConnection
from exemplar.results import Model
from exemplar.v1 import model_service_pb2 as pb


class ModelRequests(AsyncConnection):
    """The client's methods for models."""

    async def models(self, *, timeout: float | None = None) -> AsyncIterator[Model]:
        """Yield the models that the server has loaded."""
        request = pb.ListModelsRequest(page_size=requests.PAGE_SIZE)
        async for page in self._pages(self._open().models.ListModels, request, timeout):
            for each in page.models:
                yield conversion.model(each)

    async def get_model(self, model: str, *, timeout: float | None = None) -> Model:
        """Read a model."""
        request = pb.GetModelRequest(name=names.model_name(model))
        response = await self._call(self._open().models.GetModel, request, timeout)
        return conversion.model(response.model)
