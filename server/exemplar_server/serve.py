"""The server's life: open the port, load, serve, drain.

The port is open before the model is loaded, so that a caller learns LOADING rather than that nobody is there. Health
says SERVING only once the bundle's golden samples came out right and every gallery is loaded. SIGTERM and SIGINT let
what is in flight end before the store is closed.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from dataclasses import dataclass

import grpc
import structlog
from exemplar.v1 import (
    classification_service_pb2,
    classification_service_pb2_grpc,
    gallery_service_pb2,
    gallery_service_pb2_grpc,
    model_service_pb2,
    model_service_pb2_grpc,
)
from exemplar_encoder import BundleError, Encoder, ImageLimits, load_encoder
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from exemplar_server.batcher import Batcher
from exemplar_server.classifier import Classifier
from exemplar_server.config import Settings
from exemplar_server.enrolment import Enroller
from exemplar_server.errors import StartError
from exemplar_server.metrics import Metrics
from exemplar_server.rpc.application import Application
from exemplar_server.rpc.classification import ClassificationServicer
from exemplar_server.rpc.galleries import GalleryServicer
from exemplar_server.rpc.gate import Gate
from exemplar_server.rpc.models import ModelServicer
from exemplar_server.store import EmbeddedStore, GalleryStore

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

_log = structlog.get_logger()


@dataclass
class _Edge:
    """The open port and what stands behind it."""

    server: grpc.aio.Server
    health: health.aio.HealthServicer
    gate: Gate
    application: Application
    address: str

    async def say(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for name in ("", *SERVICES):
            await self.health.set(name, status)


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        StartError: the server cannot start; the message says why.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        edge = await _open_port(settings, metrics)
        stack.push_async_callback(edge.server.stop, None)
        metrics_address = _open_metrics(settings, metrics, stack)
        _log.info("loading", address=edge.address, metrics_address=metrics_address)
        store, encoder = await asyncio.to_thread(_load, settings, stack)
        batcher = Batcher(
            encoder.prepare,
            encoder.embed,
            metrics,
            max_batch=settings.max_batch,
            capacity=settings.queue_capacity,
            decoders=settings.decode_threads,
        )
        stack.callback(batcher.close)
        classifier = Classifier(encoder, batcher, store, metrics)
        enroller = Enroller(classifier, metrics)
        stack.callback(enroller.close)
        metrics.watch_galleries(lambda: _sizes(store))
        edge.application.classifier, edge.application.enroller = classifier, enroller
        if not stop.is_set():
            edge.gate.open()
            await edge.say(_SERVING)
            _log.info(
                "serving",
                address=edge.address,
                metrics_address=metrics_address,
                model=encoder.bundle.id,
                engine=encoder.engine_name,
                galleries=sum(1 for _ in _sizes(store)),
            )
        await stop.wait()
        _log.info("draining", seconds=settings.drain_seconds)
        await edge.say(_NOT_SERVING)
        if not await edge.gate.drain(settings.drain_seconds):
            _log.warning("drain time is over; calls are cut off")
    _log.info("stopped")


async def _open_port(settings: Settings, metrics: Metrics) -> _Edge:
    token = settings.token.get_secret_value() if settings.token else None
    gate = Gate(metrics, token)
    options = [
        # Without this a second server shares the port in silence, and each gets some of the calls.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
    ]
    server = grpc.aio.server(interceptors=[gate], options=options)
    application = Application(settings.max_batch_items)
    classification_service_pb2_grpc.add_ClassificationServiceServicer_to_server(
        ClassificationServicer(application), server
    )
    gallery_service_pb2_grpc.add_GalleryServiceServicer_to_server(GalleryServicer(application), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelServicer(application), server)
    checker = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checker, server)
    reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    host = settings.address.rpartition(":")[0]
    try:
        credentials = _credentials(settings)
        if credentials is None:
            port = server.add_insecure_port(settings.address)
        else:
            port = server.add_secure_port(settings.address, credentials)
    except RuntimeError as error:
        raise StartError(
            f"the address {settings.address} cannot be had, perhaps because another process has it; "
            "free it, or choose another with --address"
        ) from error
    edge = _Edge(server, checker, gate, application, f"{host}:{port}")
    await edge.say(_NOT_SERVING)
    await server.start()
    return edge


def _credentials(settings: Settings) -> grpc.ServerCredentials | None:
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    try:
        key, certificate = settings.tls_key.read_bytes(), settings.tls_certificate.read_bytes()
    except OSError as error:
        raise StartError(f"the TLS file {error.filename} cannot be read: {error.strerror}") from error
    return grpc.ssl_server_credentials([(key, certificate)])


def _open_metrics(settings: Settings, metrics: Metrics, stack: AsyncExitStack) -> str | None:
    if settings.metrics_address is None:
        return None
    host, _, port = settings.metrics_address.rpartition(":")
    server, thread = metrics.serve(host, int(port))
    stack.callback(thread.join)
    stack.callback(server.server_close)
    stack.callback(server.shutdown)
    return f"{host}:{server.server_port}"


def _load(settings: Settings, stack: AsyncExitStack) -> tuple[GalleryStore, Encoder]:
    """The store first: that another process has it is found at once."""
    store = EmbeddedStore(settings.data_dir, settings.max_data_bytes)
    stack.callback(store.close)
    limits = ImageLimits(max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels)
    try:
        encoder = load_encoder(settings.bundle, settings.engine, settings.engine_threads, limits)
    except BundleError as error:
        raise StartError(f"the bundle cannot be served: {error}") from error
    except ModuleNotFoundError as error:
        raise StartError(f"engine {settings.engine} needs {error.name}, which is not installed") from error
    return store, encoder


def _sizes(store: GalleryStore) -> list[tuple[str, int]]:
    sizes: list[tuple[str, int]] = []
    while page := store.list_galleries(sizes[-1][0] if sizes else "", 1000):
        sizes += [(gallery.id, gallery.class_count) for gallery in page]
    return sizes
