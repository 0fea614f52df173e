"""A connection to a server over which requests are sent: one, one for each page of a list, one for each batch."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Hashable, Iterable
from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from exemplar import channel
from exemplar.aio.coalescing import Coalescer, UnderWay
from exemplar.batching import MAX_ITEM_BYTES, batches
from exemplar.channel import Tls
from exemplar.errors import ExemplarError, deadline_exceeded, item_error, request_error, too_large
from exemplar.images import require_shrinking
from exemplar.v1 import model_service_pb2
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


# Why a call may fail in a batch that would not by itself.
_FOR_ITS_COMPANY = frozenset({"BATCH_TOO_LARGE", "MESSAGE_TOO_LARGE", "ANSWER_TOO_LARGE"})


@dataclass(frozen=True)
class Shared:
    """How a single call can share a request with others.

    Attributes:
        kind: What those must have in common.
        item: What it sends.
        method: The method of batches.
        request: Makes a request of items.
    """

    kind: Hashable
    item: Message
    method: grpc.aio.UnaryUnaryMultiCallable[Any, Any]
    request: Callable[[list[Any]], Any]


class Opened:
    """A channel, its stubs, and calls that gather for it; of one event loop."""

    def __init__(self, to: grpc.aio.Channel, coalescer: Coalescer | None, loop: object) -> None:
        self.channel = to
        self.classification = ClassificationServiceStub(to)
        self.galleries = GalleryServiceStub(to)
        self.models = ModelServiceStub(to)
        self.coalescer = coalescer
        self.loop = loop


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
        coalesce: float | None = None,
        shrink: bool = False,
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
            coalesce: Have calls of `classify` and `embed` that are made at the same time share requests, and wait
                for that at most this many seconds (0.01 is a good choice) while another is under way; None for a
                request to each.
            shrink: Shrink pictures of queries, never exemplars, to a few times the model's input before they are
                sent, which hardly changes an answer. Needs the extra `images`.

        Raises:
            ValueError: A number or the address cannot be right.
            OSError: A file of `tls` cannot be read.
            ModuleNotFoundError: `shrink`, and the extra is not installed.
        """
        if shrink:
            require_shrinking()
        if tls is True:
            tls = Tls()
        self.address = channel.address(address)
        self.timeout = channel.seconds("timeout", timeout)
        self._options = channel.options(self.address, channel.attempts(attempts), tls or None)
        self._credentials = tls.credentials() if tls else None
        self._metadata = channel.metadata(channel.token(token))
        self._coalesce = None if coalesce is None else channel.seconds("coalesce", coalesce, or_none=True)
        self._shrink = shrink
        self._side: int | None = None
        self._opening = threading.Lock()
        self._opened: Opened | None = None
        self._closed = False

    async def close(self) -> None:
        """Close the connection for good; requests under way are cancelled."""
        self._closed = True
        if self._opened is not None and self._opened.loop is asyncio.get_running_loop():
            await self._opened.channel.close()

    def _open(self) -> Opened:
        """Return the connection of this event loop, made where there is none."""
        loop = asyncio.get_running_loop()
        with self._opening:
            if self._closed:
                raise RuntimeError("this client was closed; make another for more requests")
            if self._opened is None or self._opened.loop is not loop:
                self._opened = Opened(
                    grpc.aio.secure_channel(self.address, self._credentials, self._options)
                    if self._credentials
                    else grpc.aio.insecure_channel(self.address, self._options),
                    None if self._coalesce is None else Coalescer(self._coalesce),
                    loop,
                )
            return self._opened

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _call(
        self, method: grpc.aio.UnaryUnaryMultiCallable[Request, Response], request: Request, timeout: float | None
    ) -> Response:
        seconds = self._seconds(timeout)
        try:
            return await method(request, timeout=seconds, metadata=self._metadata)
        except grpc.RpcError as error:
            raise request_error(error, self.address, seconds) from error

    def _seconds(self, timeout: float | None) -> float:
        return self.timeout if timeout is None else channel.seconds("timeout", timeout)

    async def _input_side(self, timeout: float | None) -> int | None:
        """Return the longest side of a model's input, asked for once; None where pictures go as they are."""
        if self._shrink and self._side is None:
            response = await self._call(
                self._open().models.ListModels, model_service_pb2.ListModelsRequest(), timeout
            )
            self._side = max(max(model.input_width, model.input_height) for model in response.models)
        return self._side

    async def _single(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Any],
        request: Callable[[], Request],
        many: Shared,
        timeout: float | None,
    ) -> Any:
        """Make one call, or share one with others; return what has its result, a response or a batch's entry."""
        coalescer = self._open().coalescer
        if coalescer is None:
            return await self._call(method, request(), timeout)
        if coalescer.begin(many.kind):
            try:
                return await self._call(method, request(), timeout)
            finally:
                coalescer.end(many.kind)
        seconds = self._seconds(timeout)
        deadline = monotonic() + seconds

        def send(items: list[Any], left: float) -> UnderWay:
            return asyncio.ensure_future(many.method(many.request(items), timeout=left, metadata=self._metadata))

        try:
            entry = await coalescer.answer(many.kind, many.item, send, seconds)
        except TimeoutError:
            raise deadline_exceeded(self.address, seconds) from None
        if isinstance(entry, grpc.RpcError):
            error = request_error(entry, self.address, seconds)
        elif isinstance(entry, BaseException):
            raise entry
        elif entry.HasField("error"):
            error = item_error(entry.error)
        else:
            return entry
        if error.reason not in _FOR_ITS_COMPANY:
            raise error
        return await self._call(method, request(), deadline - monotonic())

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
