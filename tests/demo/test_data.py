"""The data set is found, downloaded, resumed and counted; against a real HTTP server on loopback."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from demo.characters import read_characters
from demo.omniglot import CLASSES, IMAGES, DataError, download, find_omniglot
from demo.strokes import draw_alphabets


@cache
def archive(missing: int = 0) -> bytes:
    """An archive of the right shape; its images are empty files."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as opened:
        for number in range(IMAGES - missing):
            character = number % CLASSES
            opened.writestr(f"images_background/A/character{character:03d}/{number}_01.png", b"")
    return stream.getvalue()


@dataclass
class Site:
    """A web server with one file; `cut` bytes are sent of the first answer, and then the line breaks."""

    content: bytes
    honors_range: bool = True
    cut: int | None = None
    ranges: list[str | None] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def site() -> Iterator[Site]:
    served = Site(archive())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            served.ranges.append(asked)
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and served.honors_range else 0
            if start and start >= len(served.content):
                self.send_error(416)
                return
            body = served.content[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body if served.cut is None else body[: served.cut])
            served.cut = None

        def log_message(self, *arguments: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
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
    assert len(site.ranges) == 1


def test_a_broken_download_says_so_and_the_next_one_goes_on_where_it_stopped(site: Site, tmp_path: Path) -> None:
    target = tmp_path / "set.zip"
    site.cut = 100_000
    with pytest.raises(DataError, match="run the command again"):
        download(site.url, target)
    assert not target.exists()
    download(site.url, target)
    assert target.read_bytes() == site.content
    assert site.ranges == [None, "bytes=100000-"]


def test_a_server_that_ignores_ranges_is_read_from_the_start(site: Site, tmp_path: Path) -> None:
    site.cut, site.honors_range = 50_000, False
    with pytest.raises(DataError):
        download(site.url, tmp_path / "set.zip")
    download(site.url, tmp_path / "set.zip")
    assert (tmp_path / "set.zip").read_bytes() == site.content


def test_a_part_that_was_whole_already_is_accepted(site: Site, tmp_path: Path) -> None:
    (tmp_path / "set.zip.partial").write_bytes(site.content)
    download(site.url, tmp_path / "set.zip")
    assert (tmp_path / "set.zip").read_bytes() == site.content


def test_a_part_of_another_archive_is_thrown_away_and_the_download_begun_again(site: Site, tmp_path: Path) -> None:
    (tmp_path / "set.zip.partial").write_bytes(b"x" * 1000)
    download(site.url, tmp_path / "set.zip")
    assert (tmp_path / "set.zip").read_bytes() == site.content


def test_an_archive_that_lacks_images_is_refused_with_the_counts(site: Site, tmp_path: Path) -> None:
    site.content = archive(missing=1)
    with pytest.raises(DataError, match=r"19,279 images of 964 characters, not 19,280 of 964"):
        download(site.url, tmp_path / "set.zip")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_archive_is_refused(site: Site, tmp_path: Path) -> None:
    site.content = b"<html>sign in to the network</html>"
    with pytest.raises(DataError, match="is not the data set"):
        download(site.url, tmp_path / "set.zip")


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"http://127\.0\.0\.1:9/x\.zip cannot be reached"):
        download("http://127.0.0.1:9/x.zip", tmp_path / "set.zip")


def test_a_data_set_that_is_named_but_missing_is_an_error() -> None:
    with pytest.raises(DataError, match="EXEMPLAR_DATA names /nowhere/at/all"):
        find_omniglot({"EXEMPLAR_DATA": "/nowhere/at/all"})


def test_a_folder_and_a_zip_give_the_same_characters(tmp_path: Path) -> None:
    draw_alphabets(tmp_path / "drawn", alphabets=3, characters=4, drawers=3)
    with zipfile.ZipFile(tmp_path / "drawn.zip", "w") as opened:
        for path in (tmp_path / "drawn").rglob("*.png"):
            opened.write(path, Path("wrapped") / path.relative_to(tmp_path / "drawn"))
    wanted = ["Alphabet00", "Alphabet02"]
    from_folder = read_characters(tmp_path / "drawn", tmp_path / "unused", wanted)
    from_zip = read_characters(tmp_path / "drawn.zip", tmp_path / "scratch", wanted)
    assert [character.class_id for character in from_folder] == [character.class_id for character in from_zip]
    assert [c.exemplar.read_bytes() for c in from_folder] == [c.exemplar.read_bytes() for c in from_zip]
    assert len(from_folder) == 8
    assert all(len(character.queries) == 2 for character in from_folder)


def test_drawing_is_repeatable(tmp_path: Path) -> None:
    for name in ("first", "second"):
        draw_alphabets(tmp_path / name, alphabets=2, characters=2, drawers=2, seed=7)
    first = {p.relative_to(tmp_path / "first"): p.read_bytes() for p in (tmp_path / "first").rglob("*.png")}
    second = {p.relative_to(tmp_path / "second"): p.read_bytes() for p in (tmp_path / "second").rglob("*.png")}
    assert first == second
    assert len(first) == 8
