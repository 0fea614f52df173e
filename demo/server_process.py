"""The real server in a process of its own: started on free ports, waited for, killed, and started again on its data.

The demonstration, the tests and the benchmarks all start it here. Nothing is polled: the log says when the port is
open, the server's own health service when it serves.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

EXEMPLAR = str(Path(sys.executable).with_name("exemplar"))
PATIENCE = 60.0

# No limits, and no proxy between this process and loopback, whatever the environment says.
_OPTIONS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_http_proxy", 0),
]


class ServerError(Exception):
    """The server did not start or did not answer in time; the message holds the end of its log."""


def clean_environment(**changes: str) -> dict[str, str]:
    """Return the environment of this process without settings of Exemplar's, and with `changes`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("EXEMPLAR_")}
    return {**inherited, **changes}


class ServerProcess:
    """`exemplar serve` on loopback; as a context manager it is ended with the block.

    It starts at once, and is waited for by whatever needs it to serve: `address`, `channel`, `metrics`.

    Args:
        bundle: the bundle to serve.
        data_dir: its data; a server started on the same folder later finds them.
        flags: more of `exemplar serve`; an `--address` among them replaces the free port.
        env: more environment variables.
        log: a file that its log is added to.
        program: what to run in place of `exemplar`.
    """

    _serving: bool
    _reader: threading.Thread

    def __init__(
        self,
        bundle: Path,
        data_dir: Path,
        *flags: str,
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
        program: Sequence[str] = (EXEMPLAR,),
    ) -> None:
        self._command = [*program, "serve", "--bundle", str(bundle), "--data-dir", str(data_dir)]
        self._command += ["--address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0", "--log-format", "json"]
        self._command += flags
        self._env = clean_environment(**(env or {}))
        self._log = log
        self._news = threading.Condition()
        self._start()

    def restart(self) -> Self:
        """Start it again on the same data, on other free ports; one that still runs is stopped first."""
        self.__exit__(None, None, None)
        self._start()
        return self

    def wait_for(self, event: str) -> dict[str, Any]:
        """Wait for the first log line of an event and return its fields.

        Raises:
            ServerError: the process ended without it, or it did not come in time.
        """
        seen = 0
        with self._news:
            while True:
                for line in self._lines[seen:]:
                    if line.startswith("{") and (entry := json.loads(line))["event"] == event:
                        return dict(entry)
                seen = len(self._lines)
                if self._ended:
                    raise self._failure(f"the server ended without {event!r}")
                if not self._news.wait(PATIENCE):
                    raise self._failure(f"the server did not say {event!r} within {PATIENCE:.0f} s")

    def wait_until_serving(self, credentials: grpc.ChannelCredentials | None = None) -> None:
        """Wait until its health service says SERVING.

        Raises:
            ServerError: it ended before that, or did not come to serve in time.
        """
        if self._serving:
            return
        with self._open(self.wait_for("loading")["address"], credentials) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
            try:
                self._serving = any(answer.status == health_pb2.HealthCheckResponse.SERVING for answer in watch)
            except grpc.RpcError as error:
                self._reader.join(1.0)  # for its last words, if it ended
                raise self._failure(f"the server did not come to serve ({error.code().name})") from error

    @property
    def address(self) -> str:
        """The host and port of a serving server."""
        self.wait_until_serving()
        return str(self.wait_for("loading")["address"])

    def channel(self, credentials: grpc.ChannelCredentials | None = None, loading: bool = False) -> grpc.Channel:
        """Open a channel without limits of its own; it is closed with the process.

        Args:
            credentials: of TLS.
            loading: as soon as the port is open, without waiting until it serves.
        """
        if not loading:
            self.wait_until_serving(credentials)
        self._channels.append(self._open(self.wait_for("loading")["address"], credentials))
        return self._channels[-1]

    def metrics(self) -> str:
        """Return the metrics page."""
        self.wait_until_serving()
        address = self.wait_for("loading")["metrics_address"]
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=PATIENCE) as page:
            return str(page.read().decode())

    def metric(self, name: str) -> float:
        """Return one number of the metrics page; 0 when it is not there."""
        lines = (line for line in self.metrics().splitlines() if line.startswith(name + " "))
        return next((float(line.rpartition(" ")[2]) for line in lines), 0.0)

    def readiness(self) -> dict[str, Any]:
        """Return what `/ready` answers, with its HTTP status as `status`; the server need not serve yet."""
        address = self.wait_for("loading")["metrics_address"]
        try:
            with urllib.request.urlopen(f"http://{address}/ready", timeout=PATIENCE) as answer:
                return {"status": answer.status, **json.load(answer)}
        except urllib.error.HTTPError as error:
            with error:
                return {"status": error.code, **json.load(error)}

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def log(self) -> str:
        """All that it has written to standard error since it started."""
        return "".join(self._lines)

    def send(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end and return the exit code."""
        code = self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it with a signal, SIGTERM letting it finish what it is doing; return the exit code."""
        self.send(number)
        return self.wait()

    def kill(self) -> int:
        """Kill it without warning (SIGKILL); return the exit code."""
        return self.stop(signal.SIGKILL)

    def __enter__(self) -> Self:
        """Return the server."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close its channels and stop it; after an exception it is killed."""
        for channel in self._channels:
            channel.close()
        if self._process.poll() is None:
            self.stop() if error is None else self.kill()
        self._reader.join(PATIENCE)

    def _start(self) -> None:
        self._lines: list[str] = []
        self._channels: list[grpc.Channel] = []
        self._ended = self._serving = False
        self._process = subprocess.Popen(self._command, stderr=subprocess.PIPE, text=True, env=self._env)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stream, open(self._log or os.devnull, "a", encoding="utf-8") as copy:
            for line in stream:
                copy.write(line)
                with self._news:
                    self._lines.append(line)
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    @staticmethod
    def _open(address: str, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
        if credentials is None:
            return grpc.insecure_channel(address, _OPTIONS)
        return grpc.secure_channel(address, credentials, _OPTIONS)

    def _failure(self, what: str) -> ServerError:
        return ServerError(f"{what}:\n" + "".join(self._lines[-20:]))
