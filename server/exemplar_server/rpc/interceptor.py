"""Every call passes here: who is it, is the server open, is there room; then it is read and answered; how did it end.

Callers are known and let in by their headers alone: a call that is refused costs no more than them, whatever it
would send. A call without a policy (`access/policy.py`) is not served. Calls are refused while the server loads and
while it drains; errors of the domain become statuses, and anything else becomes INTERNAL with an id that is also in
the log. Health checks pass unasked, since they are how one learns that the server is closed.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from time import monotonic, perf_counter
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError

from exemplar_server.access.admittance import Admittance
from exemplar_server.access.audit import Audit
from exemplar_server.access.caller import ANYONE, Caller
from exemplar_server.access.limits import Rates, images_in
from exemplar_server.access.policy import POLICIES, Policy
from exemplar_server.batches import new_incident
from exemplar_server.call import Call, begin
from exemplar_server.errors import InvalidArgumentError, ServiceError, UnavailableError
from exemplar_server.metrics import Metrics
from exemplar_server.rpc.admission import Admission
from exemplar_server.rpc.dependencies import Context
from exemplar_server.rpc.status import abort, code_of

_HEALTH = "/grpc.health.v1.Health/"
_LOADING_RETRY = 0.5
_DRAINING_RETRY = 1.0

# When no call came for so many seconds, those who call know that the server drains.
_QUIET = 0.1
_REFUSED = frozenset(("UNAUTHENTICATED", "PERMISSION_DENIED"))

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps each handler once; see the module."""

    def __init__(
        self,
        metrics: Metrics,
        admittance: Admittance,
        admission: Admission,
        audit: Audit | None = None,
        policies: Mapping[str, Policy] = POLICIES,
    ) -> None:
        self._log = structlog.get_logger()
        self._metrics = metrics
        self._admittance = admittance
        self._admission = admission
        self._audit = audit
        self._rates = Rates()
        self._policies = policies
        self._refusal: UnavailableError | None = UnavailableError(
            "LOADING", "the server is still loading its model and galleries", retry_after=_LOADING_RETRY
        )
        self._wrapped: dict[str, Handler | None] = {}
        self._in_flight = 0
        self._last_came = 0.0
        self._idle = asyncio.Event()
        self._idle.set()

    def open(self) -> None:
        """Let calls in."""
        self._refusal = None

    async def drain(self, seconds: float) -> bool:
        """Let no more calls in and wait for those inside; whether all of them ended in time."""
        self._refusal = UnavailableError(
            "DRAINING", "the server is shutting down; another may be there already", retry_after=_DRAINING_RETRY
        )
        self._last_came = monotonic()  # some may be on their way
        if self._idle.is_set():
            return True
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def quiet(self, most: float) -> None:
        """Wait until no call comes any more, or `most` seconds.

        gRPC ends a call that comes while it shuts the port with a bare CANCELLED; here it is told to come back.
        """
        end = monotonic() + most
        while (now := monotonic()) < min(end, self._last_came + _QUIET):
            await asyncio.sleep(min(end, self._last_came + _QUIET) - now)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Return the handler of a method, wrapped; part of gRPC's interface."""
        method = handler_call_details.method
        if method in self._wrapped:
            return self._wrapped[method]
        handler = await continuation(handler_call_details)
        if handler is None or method not in self._policies:
            return None  # unknown methods are not remembered, since callers could fill the memory with them
        self._wrapped[method] = handler if method.startswith(_HEALTH) else self._wrap(method, handler)
        return self._wrapped[method]

    def _wrap(self, method: str, handler: Handler) -> Handler:
        if handler.unary_unary:
            # To gRPC it takes and gives streams, of one message each: so it is known when each has been taken.
            return grpc.stream_stream_rpc_method_handler(self._unary(method, handler))
        if handler.stream_stream:  # reflection, the only stream there is
            return grpc.stream_stream_rpc_method_handler(
                self._stream(method, handler.stream_stream), handler.request_deserializer, handler.response_serializer
            )
        raise TypeError(f"{method} is of a kind that cannot be wrapped")

    def _unary(self, method: str, handler: Handler) -> Any:
        short = method.rpartition("/")[2]
        answer: Any = handler.unary_unary
        policy = self._policies[method]

        async def call(requests: AsyncIterator[bytes], context: Context) -> None:
            start = perf_counter()
            code = "OK"
            this = Call(context.peer(), _deadline(context))
            place = request = response = content = None
            refusal: ServiceError | None
            self._last_came = monotonic()
            self._in_flight += 1
            self._idle.clear()
            try:
                this.who = self._admit(context)
                policy.check_scope(short, this.who)
                self._rates.take(this.who, "requests", 1)
                place = self._admission.enter(this.caller)
                this.hold = place.hold
                begin(this)
                content = await place.read(context.read())
                request = _parsed(content, handler)
                if this.who.limits:
                    self._rates.take(this.who, "bytes", len(content))
                    self._rates.take(this.who, "images", images_in(request))
                content = None
                policy.check_gallery(request, this.who)
                response = await answer(request, context)
                await place.write(context.write, _written(response, handler))
                return
            except ServiceError as error:
                code = code_of(error).name
                self._metrics.refused(short, error.reason)
                self._log.info("refused", method=short, code=code, reason=error.reason, message=error.message[:1000])
                refusal = error
            except asyncio.CancelledError:
                code = "CANCELLED"
                raise
            except Exception:  # noqa: BLE001 - the one place where what nobody expected is told
                code = "INTERNAL"
                incident = new_incident()
                self._log.exception("failed", method=short, incident=incident)
                refusal = None
            finally:
                this.gone = True
                if place is not None:
                    place.leave()
                self._in_flight -= 1
                if not self._in_flight:
                    self._idle.set()
                self._metrics.answered(short, code, perf_counter() - start)
                if self._audit is not None and (policy.changes or code in _REFUSED):
                    self._audit.tell(this, short, policy, request, response, code)
                request = response = content = None  # what gRPC keeps of a call that was refused is to hold neither
            # gRPC keeps what ends a call in a cycle of references, and the frames of an error hold its request.
            if refusal is None:
                told = f"the server failed; its log tells more under incident {incident}"
                await context.abort(grpc.StatusCode.INTERNAL, told)
            refusal.__traceback__ = refusal.__cause__ = refusal.__context__ = None
            await abort(context, refusal)

        return call

    def _stream(self, method: str, handler: Any) -> Any:
        async def call(requests: Any, context: Context) -> AsyncIterator[Any]:
            try:
                self._policies[method].check_scope(method, self._caller(context))
            except ServiceError as error:
                await abort(context, error)
            async for response in handler(requests, context):
                yield response

        return call

    def _admit(self, context: Context) -> Caller:
        caller = self._caller(context)
        if self._refusal is not None:
            raise self._refusal
        return caller

    def _caller(self, context: Context) -> Caller:
        if self._admittance.open:
            return ANYONE
        shown = [value for key, value in context.invocation_metadata() or () if key == "authorization"]
        texts = [value.decode("latin-1") if isinstance(value, bytes) else value for value in shown]
        proved = context.auth_context()
        names = (*proved.get("x509_common_name", ()), *proved.get("x509_subject_alternative_name", ()))
        return self._admittance.caller(texts, [name.decode("utf-8", "replace") for name in names])


def _deadline(context: Context) -> float:
    remaining = context.time_remaining()
    return math.inf if remaining is None else monotonic() + remaining


def _parsed(content: Any, handler: Handler) -> Any:
    """Return the message of a call.

    Raises:
        InvalidArgumentError: there is none, or it is none of the method's.
    """
    if isinstance(content, bytes):
        try:
            return handler.request_deserializer(content) if handler.request_deserializer else content
        except DecodeError as error:
            problem: Exception | str = error
    else:
        problem = "it is missing"
    raise InvalidArgumentError("MESSAGE_MALFORMED", f"the request is no message of this method: {problem}")


def _written(response: Any, handler: Handler) -> bytes:
    content: bytes = handler.response_serializer(response) if handler.response_serializer else response
    return content
