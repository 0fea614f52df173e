# Generated from exemplar/aio/models.py by `make proto`: change that, not this.
"""Requests that read the loaded models."""

from __future__ import annotations

from collections.abc import Iterator

from exemplar import conversion, names, requests
from exemplar.results import Model
from exemplar.sync.connection import Connection
from exemplar.v1 import model_service_pb2 as pb


class ModelRequests(Connection):
    """The client's methods for models."""

    def models(self, *, timeout: float | None = None) -> Iterator[Model]:
        """Yield the models that the server has loaded."""
        request = pb.ListModelsRequest(page_size=requests.PAGE_SIZE)
        for page in self._pages(self._open().models.ListModels, request, timeout):
            for each in page.models:
                yield conversion.model(each)

    def get_model(self, model: str, *, timeout: float | None = None) -> Model:
        """Read a model."""
        request = pb.GetModelRequest(name=names.model_name(model))
        response = self._call(self._open().models.GetModel, request, timeout)
        return conversion.model(response.model)
