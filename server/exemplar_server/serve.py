"""The server's life: open the port, load, serve, drain.

Calls are let in only once the bundle's golden samples came out right and every gallery is loaded. SIGTERM and SIGINT
let what is in flight end before the store is closed. SIGHUP compares the indexes with the database, and builds those
anew that differ.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack

import structlog

from exemplar_encoder import BundleError, Encoder, ImageLimits, load_encoder
from exemplar_server.batcher import SLOTS_PER_BATCH_IMAGE, Batcher
from exemplar_server.classifier import Classifier
from exemplar_server.config import MIB, ServerSettings
from exemplar_server.decoding import Decoders
from exemplar_server.decoding_worker import Work
from exemplar_server.enrollment import Enroller
from exemplar_server.errors import StartError, UnavailableError
from exemplar_server.exemplar_warnings import image_warnings
from exemplar_server.inspection import Inspector
from exemplar_server.metrics import Metrics
from exemplar_server.readiness import Readiness
from exemplar_server.rpc.listener import listen
from exemplar_server.store import GalleryStore, IndexOptions, open_store
from exemplar_server.writer import Writer

# Of four bytes each: as decoded, and with transparency flattened. What follows works on smaller copies.
_BYTES_PER_PIXEL = 10

_log = structlog.get_logger()

# After draining, to close the store and to end threads.
_CLOSING = 10.0


async def serve(settings: ServerSettings, dropped_lines: Callable[[], int] = lambda: 0) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        settings: all of them.
        dropped_lines: tells how many lines of the log were lost.

    Raises:
        StartError: the server cannot start; the message says why.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    metrics, readiness = Metrics(), Readiness()
    metrics.watch_dropped_lines(dropped_lines)
    metrics.watch_degraded(readiness)
    async with AsyncExitStack() as stack:
        listener = await listen(settings, metrics)
        stack.push_async_callback(listener.close)
        metrics_address = _open_metrics(settings, metrics, readiness, stack)
        decoders = Decoders(settings.decoders)
        stack.callback(decoders.close)
        _log.info("loading", address=listener.address, metrics_address=metrics_address)
        store, encoder = await asyncio.to_thread(_load, settings, metrics, stack)
        work = _work(settings, encoder)
        await decoders.begin(work, SLOTS_PER_BATCH_IMAGE * settings.max_batch, settings.max_image_pixels, metrics)
        batcher = Batcher(
            decoders,
            encoder.embed,
            metrics,
            max_batch=settings.max_batch,
            capacity=settings.queue_capacity,
            longest_wait=settings.max_wait_seconds,
        )
        stack.callback(batcher.close)
        classifier = Classifier(encoder, batcher, store, metrics)
        stack.callback(classifier.threads.close)
        inspector = Inspector(classifier)
        writer = Writer(store, metrics, readiness, settings.queue_capacity)
        stack.callback(writer.close)
        enroller = Enroller(classifier, inspector, writer)
        metrics.watch_galleries(lambda: _sizes(store))
        readiness.watch("damage", lambda: "; ".join(store.damage().values()))
        readiness.watch("decoders", lambda: decoders.shortage)
        if not stop.is_set():
            await listener.begin(classifier, inspector, enroller)
            readiness.state = "serving"

            def tell(there: bool) -> None:
                if readiness.state != "draining":
                    readiness.state = "serving" if there else "store away"
                loop.call_soon_threadsafe(listener.tell_available, there)

            store.on_availability(tell)
            comparing: set[asyncio.Future[None]] = set()  # only so that none of them is forgotten on the way

            def compare() -> None:
                future = loop.run_in_executor(None, store.compare_indexes)
                comparing.add(future)
                future.add_done_callback(comparing.discard)

            loop.add_signal_handler(signal.SIGHUP, compare)
            _log.info(
                "serving",
                address=listener.address,
                metrics_address=metrics_address,
                model=encoder.bundle.id,
                engine=encoder.engine_name,
                galleries=len(_sizes(store)),
            )
        await stop.wait()
        readiness.state = "draining"
        _end_for_sure(settings.drain_seconds + _CLOSING)
        _log.info("draining", seconds=settings.drain_seconds)
        if not await listener.drain(settings.drain_seconds):
            _log.warning("drain time is over; calls are cut off")
    _log.info("stopped")


def _end_for_sure(seconds: float) -> None:
    """End the process after this time, whatever still keeps it: what was acknowledged is on disk."""

    def end() -> None:
        _log.error("something did not end in time; the process ends without it")
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def _open_metrics(
    settings: ServerSettings, metrics: Metrics, readiness: Readiness, stack: AsyncExitStack
) -> str | None:
    if settings.metrics_address is None:
        return None
    host, _, port = settings.metrics_address.rpartition(":")
    server, thread = metrics.serve(host, int(port), readiness)
    stack.callback(thread.join)
    stack.callback(server.server_close)
    stack.callback(server.shutdown)
    return f"{host}:{server.server_port}"


def _load(settings: ServerSettings, metrics: Metrics, stack: AsyncExitStack) -> tuple[GalleryStore, Encoder]:
    """Open the store, then load the encoder: that another process has the store is found at once."""
    folder = settings.data_dir if settings.store else None
    token = settings.milvus_token.get_secret_value() if settings.milvus_token else ""
    options = IndexOptions(token, settings.milvus_tls_ca, settings.gpu_memory_bytes, metrics.gpu_fallbacks.inc)
    store = open_store(
        settings.store_url, settings.index, folder, settings.max_data_bytes, options, settings.accept_loss
    )
    stack.callback(store.close)
    limits = ImageLimits(max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels)
    try:
        encoder = load_encoder(settings.bundle, settings.engine, settings.engine_threads, limits)
    except BundleError as error:
        raise StartError(f"the bundle cannot be served: {error}") from error
    return store, encoder


def _work(settings: ServerSettings, encoder: Encoder) -> Work:
    """Say what decoding processes do: the largest image that is allowed has to fit, with a copy or two."""
    memory = _BYTES_PER_PIXEL * settings.max_image_pixels + 3 * settings.max_image_bytes + 64 * MIB
    shape = encoder.bundle.manifest.preprocessing.shape
    return Work(encoder.preparation, image_warnings, shape, settings.max_image_seconds, memory)


def _sizes(store: GalleryStore) -> list[int]:
    sizes: list[int] = []
    after = ""
    try:
        while page := store.list_galleries(after, 1000):
            sizes += [gallery.class_count for gallery in page]
            after = page[-1].id
    except UnavailableError:  # nobody knows for now
        return []
    return sizes
