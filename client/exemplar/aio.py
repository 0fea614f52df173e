"""The asyncio client: the methods of `Client`, to be awaited. Belongs to the event loop that it is first used in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from exemplar import bulk, calls, channel, results
from exemplar.calls import KEEP, Call, Item, Keep, Page, Result
from exemplar.channel import Tls
from exemplar.errors import ItemError, request_error
from exemplar.images import Image
from exemplar.v1.classification_service_pb2_grpc import ClassificationServiceStub
from exemplar.v1.gallery_service_pb2_grpc import GalleryServiceStub
from exemplar.v1.model_service_pb2_grpc import ModelServiceStub


class AsyncClient:
    """Talks to an Exemplar server; an asynchronous context manager. Arguments, results and errors as `Client`.

    Files are read and images encoded on a thread, so the event loop stays free.
    """

    def __init__(
        self,
        address: str = "127.0.0.1:50051",
        *,
        timeout: float = 30.0,
        token: str | None = None,
        tls: Tls | bool = False,
        attempts: int = 5,
    ) -> None:
        """Prepares a connection, as `Client`; to be called where an event loop runs."""
        if tls is True:
            tls = Tls()
        self.address = address
        self.timeout = timeout
        options = channel.options(address, attempts, tls or None)
        self._metadata = channel.metadata(token)
        self._channel = (
            grpc.aio.secure_channel(address, tls.credentials(), options)
            if tls
            else grpc.aio.insecure_channel(address, options)
        )
        self._stubs: dict[str, Any] = {
            "ClassificationService": ClassificationServiceStub(self._channel),
            "GalleryService": GalleryServiceStub(self._channel),
            "ModelService": ModelServiceStub(self._channel),
        }

    async def close(self) -> None:
        """Closes the connection; requests under way are cancelled."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def classify(
        self,
        gallery: str,
        image: Image | results.Embedding,
        *,
        top_k: int | None = None,
        false_accept_rate: float | None = None,
        model: str | None = None,
    ) -> results.Classification:
        """Names one query; as `Client.classify`."""
        options = calls.classification_options(top_k, false_accept_rate, model)
        return await self._run(await asyncio.to_thread(calls.classify, gallery, image, options))

    async def classify_many(
        self,
        gallery: str,
        images: Iterable[Image | results.Embedding],
        *,
        top_k: int | None = None,
        false_accept_rate: float | None = None,
        model: str | None = None,
    ) -> list[results.Classification | ItemError]:
        """Names many queries, in batches; as `Client.classify_many`."""
        options = calls.classification_options(top_k, false_accept_rate, model)
        return await self._run_all(bulk.classify(gallery, images, options))

    async def embed(self, image: Image) -> results.Embedding:
        """Embeds one image."""
        return await self._run(await asyncio.to_thread(calls.embed, image))

    async def embed_many(self, images: Iterable[Image]) -> list[results.Embedding | ItemError]:
        """Embeds many images; one entry each, in order."""
        return await self._run_all(bulk.embed(images))

    async def create_gallery(
        self,
        gallery: str,
        *,
        display_name: str = "",
        false_accept_rate: float | None = None,
        max_exemplars_per_class: int | None = None,
    ) -> results.Gallery:
        """Creates an empty gallery; as `Client.create_gallery`."""
        return await self._run(
            calls.create_gallery(gallery, display_name, false_accept_rate, max_exemplars_per_class)
        )

    async def get_gallery(self, gallery: str) -> results.Gallery:
        """Reads a gallery."""
        return await self._run(calls.get_gallery(gallery))

    def galleries(self) -> AsyncIterator[results.Gallery]:
        """Yields the galleries by id, fetching pages as they are needed."""
        return self._pages(calls.galleries)

    async def update_gallery(
        self,
        gallery: str,
        *,
        display_name: str | Keep = KEEP,
        false_accept_rate: float | Keep | None = KEEP,
        max_exemplars_per_class: int | Keep | None = KEEP,
        calibration: results.Calibration | Keep | None = KEEP,
    ) -> results.Gallery:
        """Changes what is given and keeps the rest; as `Client.update_gallery`."""
        return await self._run(
            calls.update_gallery(gallery, display_name, false_accept_rate, max_exemplars_per_class, calibration)
        )

    async def delete_gallery(self, gallery: str, *, force: bool = False) -> None:
        """Deletes a gallery; as `Client.delete_gallery`."""
        await self._run(calls.delete_gallery(gallery, force))

    async def enroll(
        self,
        gallery: str,
        class_id: str,
        images: Image | Sequence[Image],
        *,
        display_name: str = "",
        attributes: Mapping[str, str] | None = None,
        strict: bool = False,
    ) -> results.Enrolled:
        """Stores a class; as `Client.enroll`."""
        wanted = results.Enrollment(class_id, images, display_name, attributes or {})
        return await self._run(await asyncio.to_thread(calls.enroll, gallery, wanted, strict))

    async def enroll_many(
        self, gallery: str, enrollments: Iterable[results.Enrollment], *, strict: bool = False
    ) -> list[results.Enrolled | ItemError]:
        """Stores many classes, in batches; as `Client.enroll_many`."""
        return await self._run_all(bulk.enroll(gallery, enrollments, strict))

    async def get_class(self, gallery: str, class_id: str) -> results.Class:
        """Reads a class."""
        return await self._run(calls.get_class(gallery, class_id))

    def classes(self, gallery: str) -> AsyncIterator[results.Class]:
        """Yields a gallery's classes by id, fetching pages as they are needed."""
        return self._pages(calls.classes(gallery))

    async def update_class(
        self,
        gallery: str,
        class_id: str,
        *,
        display_name: str | Keep = KEEP,
        attributes: Mapping[str, str] | Keep = KEEP,
    ) -> results.Class:
        """Changes what is given and keeps the rest; as `Client.update_class`."""
        return await self._run(calls.update_class(gallery, class_id, display_name, attributes))

    async def delete_class(self, gallery: str, class_id: str) -> int:
        """Deletes a class; returns the gallery's revision that no longer holds it."""
        return await self._run(calls.delete_class(gallery, class_id))

    async def add_exemplars(
        self, gallery: str, class_id: str, images: Image | Sequence[Image], *, strict: bool = False
    ) -> results.ExemplarsAdded:
        """Adds exemplars to a class; as `Client.add_exemplars`."""
        return await self._run(await asyncio.to_thread(calls.add_exemplars, gallery, class_id, images, strict))

    async def remove_exemplar(self, gallery: str, class_id: str, sha256: str) -> results.ExemplarRemoved:
        """Removes the exemplar of that SHA-256; as `Client.remove_exemplar`."""
        return await self._run(calls.remove_exemplar(gallery, class_id, sha256))

    async def exemplar_image(self, gallery: str, class_id: str, index: int = 0) -> bytes:
        """Returns an exemplar's image as it was sent."""
        return await self._run(calls.exemplar_image(gallery, class_id, index))

    async def check(self, image: Image, *, gallery: str | None = None, class_id: str = "") -> results.ExemplarCheck:
        """Looks at an image as an exemplar would be looked at; as `Client.check`."""
        return await self._run(await asyncio.to_thread(calls.check, image, gallery, class_id))

    async def diagnose(self, gallery: str, max_pairs: int | None = None) -> results.Diagnosis:
        """Finds the pairs of classes most easily confused: `max_pairs` of them, None for 20."""
        return await self._run(calls.diagnose(gallery, max_pairs))

    def models(self) -> AsyncIterator[results.Model]:
        """Yields the models that the server has loaded."""
        return self._pages(calls.models)

    async def get_model(self, model: str) -> results.Model:
        """Reads a model."""
        return await self._run(calls.get_model(model))

    async def _run(self, call: Call[Result]) -> Result:
        method = getattr(self._stubs[call.service], call.method)
        try:
            response = await method(call.request, timeout=self.timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise request_error(error, self.address, self.timeout) from error
        return call.read(response)

    async def _run_all(self, steps: Iterator[bulk.Step[Result]]) -> list[Result | ItemError]:
        done: list[Result | ItemError] = []
        while (step := await asyncio.to_thread(next, steps, None)) is not None:
            entries: list[Result | ItemError] = [step] if isinstance(step, ItemError) else await self._run(step)
            done += entries
        return done

    async def _pages(self, page_call: Callable[[str], Call[Page[Item]]]) -> AsyncIterator[Item]:
        token = ""
        while True:
            page = await self._run(page_call(token))
            for item in page.items:
                yield item
            token = page.next_token
            if not token:
                return
