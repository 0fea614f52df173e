"""The open port: services, health, reflection and TLS, before and after the model is loaded.

The port opens first, so that a caller learns LOADING rather than that nobody is there; health says NOT_SERVING until
calls are let in.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from exemplar.v1 import (
    classification_service_pb2,
    classification_service_pb2_grpc,
    gallery_service_pb2,
    gallery_service_pb2_grpc,
    model_service_pb2,
    model_service_pb2_grpc,
)
from exemplar_server.access.admittance import Admittance
from exemplar_server.access.audit import Audit
from exemplar_server.access.key_ring import KeyRing
from exemplar_server.classifier import Classifier
from exemplar_server.config import ServerSettings
from exemplar_server.enrollment import Enroller
from exemplar_server.errors import StartError
from exemplar_server.inspection import Inspector
from exemplar_server.metrics import Metrics
from exemplar_server.rpc.admission import Admission
from exemplar_server.rpc.certificates import server_credentials
from exemplar_server.rpc.classification import ClassificationServicer
from exemplar_server.rpc.dependencies import Dependencies
from exemplar_server.rpc.gallery_servicer import GalleryServicer
from exemplar_server.rpc.interceptor import CallInterceptor
from exemplar_server.rpc.models import ModelServicer

if TYPE_CHECKING:  # it needs an extra
    from exemplar_server.access.web_tokens import WebTokens

SERVICES = tuple(
    module.DESCRIPTOR.services_by_name[name].full_name
    for module, name in (
        (classification_service_pb2, "ClassificationService"),
        (gallery_service_pb2, "GalleryService"),
        (model_service_pb2, "ModelService"),
    )
)
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_SERVING = health_pb2.HealthCheckResponse.SERVING

# A call has ended for the interceptor when its answer is made; this is to send it, and to close health watches.
_LAST_ANSWERS = 2.0

# So many seconds at most are callers told to go elsewhere who still call when all that was in flight has ended.
_LAST_CALLERS = 2.0

# Calls of a connection that is too old may go on for so many seconds.
_LAST_CALLS = 120.0

_ANY_NUMBER = 1_000_000


@dataclass
class Listener:
    """The open port and what stands behind it; `address` has the real port."""

    address: str
    _server: grpc.aio.Server
    _health: health.aio.HealthServicer
    _interceptor: CallInterceptor
    _dependencies: Dependencies
    _draining: bool = False
    _telling: asyncio.Future[None] | None = None

    async def begin(self, classifier: Classifier, inspector: Inspector, enroller: Enroller) -> None:
        """Let calls in."""
        parts = self._dependencies
        parts.classifier, parts.inspector, parts.enroller = classifier, inspector, enroller
        self._interceptor.open()
        await self._say(_SERVING)

    def tell_available(self, available: bool) -> None:
        """Tell who asks for the server's health that its store answers, or does not."""
        if not self._draining:
            self._telling = asyncio.ensure_future(self._say(_SERVING if available else _NOT_SERVING))

    async def drain(self, seconds: float) -> bool:
        """Take no more calls and let those in flight end; False when the time was too short."""
        self._draining = True
        await self._say(_NOT_SERVING)
        drained = await self._interceptor.drain(seconds)
        await self._interceptor.quiet(_LAST_CALLERS)
        await self._server.stop(_LAST_ANSWERS)
        return drained

    async def close(self) -> None:
        """Close the port and cut off what is still in flight."""
        await self._server.stop(None)

    async def _say(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for name in ("", *SERVICES):
            await self._health.set(name, status)


async def listen(settings: ServerSettings, metrics: Metrics) -> Listener:
    """Open the port, letting no calls in yet.

    Raises:
        StartError: the address cannot be had, or a TLS file cannot be read.
    """
    token = settings.token.get_secret_value() if settings.token else None
    admittance = Admittance(token, KeyRing(settings.keys) if settings.keys else None, _web_tokens(settings))
    audit = Audit(settings.audit_log) if settings.audit_log else None
    admission = Admission(settings.max_calls, settings.max_bytes_in_flight, settings.max_message_bytes)
    interceptor = CallInterceptor(metrics, admittance, admission, audit)
    options = [
        # Without this a second server shares the port in silence, and each gets some of the calls.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        # More calls of one connection wait in the caller's process; it would have no places for them here.
        ("grpc.max_concurrent_streams", settings.max_calls // 2),
        # gRPC ends calls that it has not handed over with a bare CANCELLED; all are to be told when to come back.
        ("grpc.server.max_pending_requests", _ANY_NUMBER),
        ("grpc.server.max_pending_requests_hard_limit", _ANY_NUMBER),
        # What is not asked for is not taken in, however fast it arrives: a stream's window stays small.
        ("grpc.http2.bdp_probe", 0),
        # Who takes no answers keeps them here as long as the connection lasts.
        ("grpc.max_connection_age_ms", int(settings.max_connection_age * 1000)),
        ("grpc.max_connection_age_grace_ms", int(max(_LAST_CALLS, settings.drain_seconds) * 1000)),
    ]
    server = grpc.aio.server(interceptors=[interceptor], options=options)
    dependencies = Dependencies(settings.max_batch_items, settings.max_message_bytes)
    classification_service_pb2_grpc.add_ClassificationServiceServicer_to_server(
        ClassificationServicer(dependencies), server
    )
    gallery_service_pb2_grpc.add_GalleryServiceServicer_to_server(GalleryServicer(dependencies), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelServicer(dependencies), server)
    checker = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checker, server)
    reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    host = settings.address.rpartition(":")[0]
    try:
        credentials = server_credentials(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
        if credentials is None:
            port = server.add_insecure_port(settings.address)
        else:
            port = server.add_secure_port(settings.address, credentials)
    except RuntimeError as error:
        raise StartError(f"the address {settings.address} cannot be had: {_why_not(settings.address)}") from error
    listener = Listener(f"{host}:{port}", server, checker, interceptor, dependencies)
    await listener._say(_NOT_SERVING)
    await server.start()
    return listener


def _web_tokens(settings: ServerSettings) -> WebTokens | None:
    if settings.jwt_keys is None:
        return None
    try:
        from exemplar_server.access.web_tokens import WebTokens
    except ModuleNotFoundError as error:
        raise StartError(f"web tokens need {error.name}, which is not installed: install exemplar[jwt]") from error
    return WebTokens(settings.jwt_keys, settings.jwt_issuer or "", settings.jwt_audience or "")


def _why_not(address: str) -> str:
    """Try an address that gRPC could not have, and return what is wrong with it and what to do."""
    host, _, port = address.rpartition(":")
    if host.startswith("unix"):
        return "the folder of the socket must be there and let the server write; choose another with --address"
    another = "choose another with --address"
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        return f"nobody knows what {host} is ({error.strerror}); {another}"
    family, kind, protocol, _, place = found[0]
    with socket.socket(family, kind, protocol) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(place)
            tried.listen()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return f"another process has it; free it, or {another}"
            if error.errno == errno.EADDRNOTAVAIL:
                return f"this machine does not have the address {host}; {another}"
            if error.errno in (errno.EACCES, errno.EPERM):
                return f"a port below 1024 is for root, or for who may bind it (CAP_NET_BIND_SERVICE); {another}"
            return f"{error.strerror}; {another}"
    return f"it was taken for a moment; try again, or {another}"
