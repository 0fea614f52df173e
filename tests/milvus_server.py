"""A real Milvus Lite server in a process of its own: started on loopback, killed, and started again on its data.

Nothing is polled: the process says when its port is open.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self


class MilvusProcess:
    """`milvus-lite server`; as a context manager it is killed with the block.

    Args:
        folder: for its data and its log.
    """

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._folder = folder
        self.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it on its port and its data, and return when it answers."""
        command = [sys.executable, "-u", "-m", "milvus_lite", "server", "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--data-dir", str(self._folder / "data")]
        log = self._folder / "log"
        with log.open("a") as errors:
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=_environment())
        assert self._process.stdout is not None
        if b"listening" not in self._process.stdout.readline():
            self.kill()
            raise RuntimeError(f"Milvus Lite did not start: {log.read_text()[-2000:]}")

    def kill(self) -> None:
        """Kill it, so that it cannot save anything."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def pause(self) -> None:
        """Let it answer nothing, and refuse nothing either, until `resume`."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def lose_writes(self) -> None:
        """Cut its logs of writes in half, as on a disk that did not get all of them; it must be dead."""
        assert self.written(), "there is no write to lose"
        for log in self._logs():
            os.truncate(log, log.stat().st_size // 2)

    def written(self) -> int:
        """Return how many bytes its logs of writes have."""
        return sum(log.stat().st_size for log in self._logs())

    def _logs(self) -> list[Path]:
        return list((self._folder / "data").rglob("wal_*.arrow"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
