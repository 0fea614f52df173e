"""A picture on a web server that keeps whoever asks for it waiting, and the job with it, until released."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


class HeldUp:
    """See the module; `url` is the picture's, `ports` are those from which it was asked for while it was held up."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.url = ""
        self.ports: list[int] = []
        self._released = threading.Event()

    def hold(self) -> None:
        self.ports.clear()
        self._released.clear()

    def release(self) -> None:
        self._released.set()

    def wait_for_reader(self, job: subprocess.Popen[Any], count: int = 1) -> None:
        """Wait until the job has asked for the picture, `count` times."""
        wait_until(lambda: len(self.ports) >= count, job)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        if not self._released.is_set():
            self.ports.append(request.client_address[1])
            self._released.wait()
        with suppress(ConnectionError):  # who asked may have been killed
            request.send_response(200)
            request.send_header("Content-Length", str(len(self.content)))
            request.end_headers()
            request.wfile.write(self.content)


@contextmanager
def held_up(content: bytes) -> Iterator[HeldUp]:
    """Serve a picture, and hold it up."""
    held = HeldUp(content)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            held.answer(self)

        def log_message(self, *anything: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        held.url = f"http://127.0.0.1:{server.server_port}/picture.png"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield held
        finally:
            held.release()
            server.shutdown()
            thread.join()


def wait_until(true: Callable[[], object], job: subprocess.Popen[Any] | None = None) -> None:
    """Wait for something that a job does, or has done to it."""
    while not true():
        if job is not None and job.poll() is not None:
            pytest.fail(f"the job ended with {job.returncode}: {job.communicate()}")
        time.sleep(0.02)
