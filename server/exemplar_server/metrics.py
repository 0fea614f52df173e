"""The server's measurements of itself, for Prometheus, and whether it is ready, on a port of their own.

The page names no gallery: who may read figures need not know whose there are.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from exemplar_server.errors import StartError
from exemplar_server.readiness import CONDITIONS, Readiness

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """All of the server's metrics in one registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("exemplar_requests", "Requests answered.", ("method", "code"), registry=self.registry)
        self.refusals = Counter(
            "exemplar_refusals", "Requests refused, by the reason told.", ("method", "reason"), registry=self.registry
        )
        self.request_seconds = self._seconds("request", "Time to answer a request.", ("method", "code"))
        self.decode_seconds = self._seconds("decode", "Processor time to decode and preprocess an image.")
        self.wait_seconds = self._seconds("queue_wait", "Time a decoded image waited for the encoder.")
        self.encode_seconds = self._seconds("encode", "Time to embed a batch.")
        self.search_seconds = self._seconds("search", "Time to search a gallery.")
        self.commit_seconds = self._seconds("commit", "Time to check, commit and index a group of changes.")
        self.batch_size = Histogram(
            "exemplar_batch_images",
            "Images embedded at once.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
            registry=self.registry,
        )
        self.commit_changes = Histogram(
            "exemplar_commit_changes",
            "Changes committed together.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self.registry,
        )
        self.changes_waiting = Gauge(
            "exemplar_queue_changes", "Changes, counted in images, not yet committed.", registry=self.registry
        )
        self.queue_images = Gauge(
            "exemplar_queue_images", "Images taken in and not yet embedded.", registry=self.registry
        )
        self.decoders_ended = Counter(
            "exemplar_decoders_ended",
            "Decoding processes that ended at an image, by a limit or a crash, and were replaced.",
            registry=self.registry,
        )
        self.gpu_fallbacks = Counter(
            "exemplar_gpu_fallbacks",
            "Galleries that went from the GPU to the CPU, for lack of memory or an error.",
            registry=self.registry,
        )
        self._children: dict[tuple[str, str], tuple[Counter, Histogram]] = {}

    def answered(self, method: str, code: str, seconds: float) -> None:
        """Count one request."""
        found = self._children.get((method, code))
        if found is None:  # looking a child up by its labels costs more than counting
            found = self.requests.labels(method, code), self.request_seconds.labels(method, code)
            self._children[method, code] = found
        found[0].inc()
        found[1].observe(seconds)

    def refused(self, method: str, reason: str) -> None:
        """Count one request that was refused."""
        self.refusals.labels(method, reason).inc()

    def watch_dropped_lines(self, count: Callable[[], int]) -> None:
        """Show how many lines of the log nobody took in time, asked for when the page is read."""
        dropped = Gauge("exemplar_log_lines_dropped", "Lines of the log lost.", registry=self.registry)
        dropped.set_function(count)

    def watch_galleries(self, sizes: Callable[[], Iterable[int]]) -> None:
        """Show how many galleries there are and how many classes in all, asked for when the page is read.

        Args:
            sizes: returns the number of classes of each gallery.
        """
        self.registry.register(_Galleries(sizes))

    def watch_degraded(self, readiness: Readiness) -> None:
        """Show what the server is short of, asked for when the page is read."""
        self.registry.register(_Degraded(readiness))

    def serve(self, host: str, port: int, readiness: Readiness) -> tuple[WSGIServer, threading.Thread]:
        """Serve the page, and `/ready`, until the server is shut down.

        Raises:
            StartError: the address cannot be had.
        """
        page = make_wsgi_app(self.registry)

        def ready(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            status = HTTPStatus.OK if readiness.ready else HTTPStatus.SERVICE_UNAVAILABLE
            start_response(f"{status.value} {status.phrase}", [("Content-Type", "application/json")])
            return [json.dumps({"state": readiness.state, "degraded": readiness.degraded()}).encode() + b"\n"]

        def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            return (ready if environ["PATH_INFO"] == "/ready" else page)(environ, start_response)

        try:
            family = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0][0]
            kind = type("Server", (_Server,), {"address_family": family})
            server: WSGIServer = make_server(host.strip("[]"), port, answer, kind, _Quiet)
        except OSError as error:
            raise StartError(
                f"the metrics address {host}:{port} cannot be had: {error.strerror or error}; "
                "free it, or choose another with --metrics-address"
            ) from error
        thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
        thread.start()
        return server, thread

    def _seconds(self, what: str, description: str, labels: tuple[str, ...] = ()) -> Histogram:
        return Histogram(f"exemplar_{what}_seconds", description, labels, buckets=_SECONDS, registry=self.registry)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing: who reads the page is of no interest."""


class _Galleries(Collector):
    def __init__(self, sizes: Callable[[], Iterable[int]]) -> None:
        self._sizes = sizes

    def collect(self) -> Iterable[Metric]:
        sizes = list(self._sizes())
        yield GaugeMetricFamily("exemplar_galleries", "Galleries.", len(sizes))
        yield GaugeMetricFamily("exemplar_classes", "Classes of all galleries.", sum(sizes))


class _Degraded(Collector):
    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    def collect(self) -> Iterable[Metric]:
        said = "Whether the server is short of something: 1 while it is."
        family = GaugeMetricFamily("exemplar_degraded", said, labels=["condition"])
        present = self._readiness.degraded()
        for condition in CONDITIONS:
            family.add_metric([condition], condition in present)
        yield family
