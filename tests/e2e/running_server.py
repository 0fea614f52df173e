"""A real server process, its log, and stubs that call it over a real socket."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import numpy as np
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2_grpc
from grpc_status import rpc_status
from PIL import Image

from exemplar.v1 import classification_service_pb2 as classification
from exemplar.v1 import (
    classification_service_pb2_grpc,
    gallery_service_pb2_grpc,
    model_service_pb2_grpc,
)
from exemplar.v1 import resources_pb2 as resources

PATIENCE = 60.0


class RunningServer:
    """`exemplar serve` on free loopback ports; a context manager that ends it."""

    def __init__(self, bundle: Path, data_dir: Path, *flags: str, env: dict[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "exemplar_server", "--bundle", str(bundle), "--data-dir", str(data_dir)]
        addresses = ["--address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0", "--log-format", "json"]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("EXEMPLAR_")}
        self.process = subprocess.Popen(
            [*command, *addresses, *flags], stderr=subprocess.PIPE, text=True, env={**inherited, **(env or {})}
        )
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._channels: list[grpc.Channel] = []

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._news:
                self.lines.append(line)
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def wait_for(self, event: str) -> dict[str, Any]:
        """The first log line of that event."""
        seen = 0
        with self._news:
            while True:
                for line in self.lines[seen:]:
                    if line.startswith("{") and (entry := json.loads(line))["event"] == event:
                        return dict(entry)
                seen = len(self.lines)
                assert not self._ended, f"the server ended without {event!r}:\n" + "".join(self.lines)
                assert self._news.wait(PATIENCE), f"no {event!r} in time:\n" + "".join(self.lines)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for the exit code."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    @property
    def log(self) -> str:
        """Everything that the process said on stderr so far."""
        return "".join(self.lines)

    def channel(self, credentials: grpc.ChannelCredentials | None = None, event: str = "serving") -> grpc.Channel:
        """A channel to the port, with no limits of its own."""
        address = self.wait_for(event)["address"]
        options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        if credentials is None:
            channel = grpc.insecure_channel(address, options)
        else:
            channel = grpc.secure_channel(address, credentials, options)
        self._channels.append(channel)
        return channel

    def metrics(self) -> str:
        """The metrics page."""
        address = self.wait_for("serving")["metrics_address"]
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=PATIENCE) as page:
            return str(page.read().decode())

    def metric(self, name: str) -> float:
        """One number of the metrics page; 0 when it is not there."""
        for line in self.metrics().splitlines():
            if line.startswith(name + " "):
                return float(line.rpartition(" ")[2])
        return 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for channel in self._channels:
            channel.close()
        if self.process.poll() is None:
            self.process.kill()
        self.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


class Stubs:
    """The services of a channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        self.classification = classification_service_pb2_grpc.ClassificationServiceStub(channel)
        self.galleries = gallery_service_pb2_grpc.GalleryServiceStub(channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(channel)
        self.health = health_pb2_grpc.HealthStub(channel)


def refusal(error: grpc.RpcError) -> tuple[str, str, dict[str, str]]:
    """Code, reason and metadata of a call's typed error."""
    status = rpc_status.from_call(error)
    assert status is not None, f"no google.rpc.Status: {error}"
    return error.code().name, *reason_of(status)


def reason_of(status: Any) -> tuple[str, dict[str, str]]:
    """Reason and metadata in a status's ErrorInfo."""
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "exemplar"
    return info.reason, dict(info.metadata)


def classify(stubs: Stubs, gallery: str, image: bytes, **options: object) -> classification.Classification:
    """Classify one image."""
    request = classification.ClassifyRequest(gallery=gallery, query=resources.Query(image=image))
    request.options.CopyFrom(classification.ClassificationOptions(**options))
    return stubs.classification.Classify(request).classification


def png(size: tuple[int, int] = (40, 40), seed: int = 0) -> bytes:
    """Noise as a PNG, another for each seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0])).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
