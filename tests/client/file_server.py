"""A web server with one file, on a real socket, that can be told how to misbehave."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer:
    """One file, and what becomes of requests for it.

    Attributes:
        content: the file.
        cuts: after how many bytes each of the next answers is cut.
        ranges: whether a part can be asked for.
        lengths: whether an answer says how long it is.
        shift: what is added to the beginning of a part that is asked for.
        status: what is answered instead of the file, such as 404; 0 for the file.
        silent: say nothing after `cuts` instead of hanging up.
        asked: the `Range` of each request, "" where there was none.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.cuts: list[int] = []
        self.ranges = True
        self.lengths = True
        self.shift = 0
        self.status = 0
        self.silent = False
        self.asked: list[str] = []
        self.address = ""
        self.done = threading.Event()


@contextmanager
def file_server(content: bytes) -> Iterator[FileServer]:
    """Serve a file at `/…/file`, and a redirect to it at every other path."""
    served = FileServer(content)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.endswith("/file"):
                self.send_response(302)
                self.send_header("Location", "/elsewhere/file")
                self.end_headers()
                return
            wanted = self.headers.get("Range", "")
            served.asked.append(wanted)
            if served.status:
                self.send_error(served.status)
                return
            begin = 0
            if served.ranges and (found := re.fullmatch(r"bytes=(\d+)-", wanted)):
                begin = int(found[1]) + served.shift
                self.send_response(206)
                last, whole = len(served.content) - 1, len(served.content)
                self.send_header("Content-Range", f"bytes {begin}-{last}/{whole}")
            else:
                self.send_response(200)
            body = served.content[begin:]
            if served.lengths:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(ConnectionError):  # who has seen enough hangs up
                self.wfile.write(body[: served.cuts.pop(0)] if served.cuts else body)
            if served.silent:
                served.done.wait()

        def log_message(self, *anything: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield served
        finally:
            served.done.set()
            server.shutdown()
            thread.join()
