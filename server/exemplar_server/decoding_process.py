"""The server's end of one decoding process: started, written to and read from without waiting, and ended."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any

_READ = 64 * 1024
_PARTS = 16
_PATIENCE = 5.0

# A worker is one of many: what it computes with must start no threads of its own.
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class DecodingProcess:
    """A process that runs `decoding_worker`. Its methods belong to the event loop in which it is made."""

    def __init__(self, memory: int, heard: Callable[[DecodingProcess, dict[str, Any] | None], None]) -> None:
        """Start it.

        Args:
            memory: file descriptor of the memory to share.
            heard: called with each of its messages, and with None when it has ended.
        """
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        self._outgoing: deque[memoryview] = deque()
        self._incoming = b""
        self._socket, theirs = socket.socketpair()
        with theirs:
            program = f"from exemplar_server.decoding_worker import main; main({theirs.fileno()}, {memory})"
            self._process = subprocess.Popen(
                [sys.executable, "-c", program],
                pass_fds=(theirs.fileno(), memory),
                stdin=subprocess.DEVNULL,
                env={**os.environ, **_ONE_THREAD, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        self._socket.setblocking(False)
        self._loop.add_reader(self._socket, self._read)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def send(self, *parts: bytes) -> None:
        """Send bytes, as soon as it takes them."""
        waiting = bool(self._outgoing)
        self._outgoing += map(memoryview, parts)
        if not waiting:
            self._write()

    def end(self) -> int:
        """End it, whatever it does; return the negative number of the signal that ended it, or its exit code."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()
        self._process.kill()
        return self._process.wait(_PATIENCE)

    def _read(self) -> None:
        try:
            content = self._socket.recv(_READ)
        except (BlockingIOError, InterruptedError):
            return
        except ConnectionError:
            content = b""
        if not content:
            self._loop.remove_reader(self._socket)
            self._heard(self, None)
            return
        *lines, self._incoming = (self._incoming + content).split(b"\n")
        for line in lines:
            self._heard(self, json.loads(line))

    def _write(self) -> None:
        while self._outgoing:
            try:
                sent = self._socket.sendmsg(list(islice(self._outgoing, _PARTS)))
            except (BlockingIOError, InterruptedError):
                self._loop.add_writer(self._socket, self._write)
                return
            except ConnectionError:  # it has ended, which is heard when it is read from
                self._outgoing.clear()
                break
            while self._outgoing and sent >= len(self._outgoing[0]):
                sent -= len(self._outgoing.popleft())
            if sent:
                self._outgoing[0] = self._outgoing[0][sent:]
        self._loop.remove_writer(self._socket)
