"""The server's measurements of itself, for Prometheus, on a port of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from exemplar_server.errors import StartError

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

    def watch_galleries(self, sizes: Callable[[], Iterable[tuple[str, int]]]) -> None:
        """Show the number of classes of each gallery, asked for when the page is read."""
        self.registry.register(_Galleries(sizes))

    def serve(self, host: str, port: int) -> tuple[WSGIServer, threading.Thread]:
        """Serve the page until the server is shut down.

        Raises:
            StartError: the address cannot be had.
        """
        try:
            return start_http_server(port, host, self.registry)
        except OSError as error:
            raise StartError(
                f"the metrics address {host}:{port} cannot be had: {error.strerror or error}; "
                "free it, or choose another with --metrics-address"
            ) from error

    def _seconds(self, what: str, description: str, labels: tuple[str, ...] = ()) -> Histogram:
        return Histogram(f"exemplar_{what}_seconds", description, labels, buckets=_SECONDS, registry=self.registry)


class _Galleries(Collector):
    def __init__(self, sizes: Callable[[], Iterable[tuple[str, int]]]) -> None:
        self._sizes = sizes

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily("exemplar_gallery_classes", "Classes of a gallery.", labels=["gallery"])
        for gallery, count in self._sizes():
            family.add_metric([gallery], count)
        yield family
