"""A connection to a server over which requests are sent: one, one for each page of a list, one for each batch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from exemplar import channel
from exemplar.batching import MAX_ITEM_BYTES, batches
from exemplar.channel import Tls
from exemplar.errors import ExemplarError, item_error, request_error, too_large
from exemplar.v1.classification_service_pb2_grpc import ClassificationServiceStub
from exemplar.v1.gallery_service_pb2_grpc import GalleryServiceStub
from exemplar.v1.model_service_pb2_grpc import ModelServiceStub


class _PageRequest(Protocol):
    page_token: str


class _PageResponse(Protocol):
    next_page_token: str


Request = TypeVar("Request")
Response = TypeVar("Response")
PageRequest = TypeVar("PageRequest", bound=_PageRequest)
PageResponse = TypeVar("PageResponse", bound=_PageResponse)
Item = TypeVar("Item", bound=Message)
Result = TypeVar("Result")


class AsyncConnection:
    """A context manager that closes the connection at its end."""

    def __init__(
        self,
        address: str | None = None,
        *,
        timeout: float = 30.0,
        token: str | None = None,
        tls: Tls | bool = False,
        attempts: int = 5,
    ) -> None:
        """Prepare a connection; it is made with the first request.

        Args:
            address: `host:port`, or another target that gRPC knows (`unix:/path`, `dns:///name:port`); None for the
                environment's EXEMPLAR_ADDRESS, else `127.0.0.1:50051`.
            timeout: Deadline of each request in seconds, retries included; a method's own `timeout` goes before it.
            token: Bearer token, where the server asks for one; None for the environment's EXEMPLAR_TOKEN, if any.
                Without TLS it travels in the clear.
            tls: True to use the system's certificates, or a `Tls` for others.
            attempts: How often, in all, a request is tried while the server is unavailable; 1 to 5. However often it
                is tried, it has one effect.
        """
        if tls is True:
            tls = Tls()
        self.address = channel.address(address)
        self.timeout = timeout
        options = channel.options(self.address, attempts, tls or None)
        self._metadata = channel.metadata(channel.token(token))
        self._channel = (
            grpc.aio.secure_channel(self.address, tls.credentials(), options)
            if tls
            else grpc.aio.insecure_channel(self.address, options)
        )
        self._classification = ClassificationServiceStub(self._channel)
        self._galleries = GalleryServiceStub(self._channel)
        self._models = ModelServiceStub(self._channel)

    async def close(self) -> None:
        """Close the connection; requests under way are cancelled."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _call(
        self, method: grpc.aio.UnaryUnaryMultiCallable[Request, Response], request: Request, timeout: float | None
    ) -> Response:
        seconds = self.timeout if timeout is None else timeout
        try:
            return await method(request, timeout=seconds, metadata=self._metadata)
        except grpc.RpcError as error:
            raise request_error(error, self.address, seconds) from error

    async def _pages(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[PageRequest, PageResponse],
        request: PageRequest,
        timeout: float | None,
    ) -> AsyncIterator[PageResponse]:
        while True:
            page = await self._call(method, request, timeout)
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def _batches(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Any],
        items: Iterable[Item],
        request: Callable[[list[Item]], Request],
        read: Callable[[Any], Result],
        timeout: float | None,
    ) -> list[Result | ExemplarError]:
        # Files are read as their batch is drawn, so memory holds one batch.
        drawn = batches(items)
        done: list[Result | ExemplarError] = []
        while (batch := await asyncio.to_thread(next, drawn, None)) is not None:
            if (size := batch[0].ByteSize()) > MAX_ITEM_BYTES:
                done.append(too_large(size, MAX_ITEM_BYTES))
                continue
            done += await self._answers(method, batch, request, read, timeout)
        return done

    async def _answers(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Any],
        batch: list[Item],
        request: Callable[[list[Item]], Request],
        read: Callable[[Any], Result],
        timeout: float | None,
    ) -> list[Result | ExemplarError]:
        response = await self._call(method, request(batch), timeout)
        answers = [item_error(each.error) if each.HasField("error") else read(each) for each in response.results]
        left = [place for place, answer in enumerate(answers) if _had_no_room(answer)]
        fitting = len(batch) - len(left)
        for start in range(0, len(left) if fitting else 0, max(1, fitting)):  # as many as fitted, since these did not
            places = left[start : start + fitting]
            again = await self._answers(method, [batch[place] for place in places], request, read, timeout)
            for place, answer in zip(places, again, strict=True):
                answers[place] = answer
        return answers


def _had_no_room(answer: object) -> bool:
    return isinstance(answer, ExemplarError) and answer.reason == "ANSWER_TOO_LARGE"
