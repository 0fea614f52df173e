"""The data set is found, downloaded and counted; against a real HTTP server on loopback."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from demo.omniglot import CLASSES, IMAGES, DataError, download, find_omniglot


@cache
def archive(missing: int = 0) -> bytes:
    """Return an archive of the right shape; its images are empty files."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as opened:
        for number in range(IMAGES - missing):
            character = number % CLASSES
            opened.writestr(f"images_background/A/character{character:03d}/{number}_01.png", b"")
    return stream.getvalue()


@dataclass
class Site:
    """A web server with one file; `cut` bytes are sent of the next answer, and then the line breaks."""

    content: bytes
    cut: int | None = None
    requests: int = 0
    url: str = ""


@pytest.fixture
def site() -> Iterator[Site]:
    served = Site(archive())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.requests += 1
            self.send_response(200)
            self.send_header("Content-Length", str(len(served.content)))
            self.end_headers()
            self.wfile.write(served.content[: served.cut])
            served.cut = None

        def log_message(self, *arguments: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_port}/images_background.zip"
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_archive_is_downloaded_once_and_then_found_in_the_cache(site: Site, tmp_path: Path) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path)}
    first = find_omniglot(environment, site.url)
    assert first.read_bytes() == site.content
    assert find_omniglot(environment, site.url) == first
    assert site.requests == 1


def test_a_download_that_broke_off_leaves_nothing_and_the_next_one_starts_anew(site: Site, tmp_path: Path) -> None:
    site.cut = 100_000
    with pytest.raises(DataError, match="run the command again"):
        download(site.url, tmp_path / "set.zip")
    assert list(tmp_path.iterdir()) == []
    download(site.url, tmp_path / "set.zip")
    assert (tmp_path / "set.zip").read_bytes() == site.content


def test_an_archive_that_lacks_images_is_refused_with_the_counts(site: Site, tmp_path: Path) -> None:
    site.content = archive(missing=1)
    with pytest.raises(DataError, match=r"19,279 images of 964 characters, not 19,280 of 964"):
        download(site.url, tmp_path / "set.zip")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_archive_is_refused(site: Site, tmp_path: Path) -> None:
    site.content = b"<html>sign in to the network</html>"
    with pytest.raises(DataError, match="is not the data set"):
        download(site.url, tmp_path / "set.zip")


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"http://127\.0\.0\.1:9/x\.zip cannot be read: .*refused"):
        download("http://127.0.0.1:9/x.zip", tmp_path / "set.zip")


def test_a_data_set_that_is_named_but_missing_is_an_error() -> None:
    with pytest.raises(DataError, match="EXEMPLAR_DATA names /nowhere/at/all"):
        find_omniglot({"EXEMPLAR_DATA": "/nowhere/at/all"})
