"""A real server in a process of its own, started on free ports, killed and restarted at will."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

EXEMPLAR = str(Path(sys.executable).with_name("exemplar"))


class ServerError(Exception):
    """The server did not start; the message holds what it said."""


class ServerProcess:
    """`exemplar serve` on loopback; as a context manager it is stopped at the end."""

    def __init__(self, bundle: Path, data_dir: Path, log: Path) -> None:
        """Start it and wait until it serves."""
        command = [EXEMPLAR, "serve", "--bundle", str(bundle), "--data-dir", str(data_dir)]
        command += ["--address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0", "--log-format", "json"]
        with log.open("ab") as stream:
            start = stream.tell()
            self._process = subprocess.Popen(command, stderr=stream, stdout=stream)
        self.address, self.metrics_address = self._wait_until_serving(log, start)

    def kill(self) -> None:
        """Kill it without warning (SIGKILL)."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Ask it to finish what it is doing and stop (SIGTERM)."""
        self._process.terminate()
        self._process.wait(timeout=60)

    def __enter__(self) -> Self:
        """The running server."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        if self._process.poll() is None:
            self.stop()

    def _wait_until_serving(self, log: Path, start: int) -> tuple[str, str]:
        while True:
            ended = self._process.poll() is not None
            with log.open("rb") as stream:
                stream.seek(start)
                lines = stream.read().decode("utf-8", "replace").splitlines()
            for line in lines:
                if '"serving"' in line:
                    event = json.loads(line)
                    return event["address"], event["metrics_address"]
            if ended:
                raise ServerError("the server stopped while starting:\n" + "\n".join(lines[-5:]))
            try:
                self._process.wait(timeout=0.05)
            except subprocess.TimeoutExpired:
                continue
