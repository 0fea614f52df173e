"""A download from a server that cuts, redirects, refuses, falls silent or has another file."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from exemplar import download as download_module
from exemplar.download import ChecksumError, DownloadError, download, part_of
from tests.client.file_server import FileServer, file_server

CONTENT = random.Random(0).randbytes(1_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server(CONTENT) as served:
        yield served


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "model.onnx"


def fetch(server: FileServer, target: Path, path: str = "/file") -> list[int]:
    """Download the file and return the numbers of bytes that were told of."""
    told: list[int] = []
    download(server.address + path, target, len(CONTENT), SHA256, told.append)
    return told


def test_the_file_arrives_whole_and_its_progress_is_told(server: FileServer, target: Path) -> None:
    told = fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0, len(CONTENT))
    assert not part_of(target).exists()
    assert server.asked == [""]


def test_a_cut_connection_is_made_again_and_goes_on_where_it_ended(server: FileServer, target: Path) -> None:
    server.cuts = [300_000, 300_000]
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.asked == ["", "bytes=300000-", "bytes=600000-"]


def test_a_download_that_failed_goes_on_where_it_ended_when_it_is_asked_for_again(
    server: FileServer, target: Path
) -> None:
    server.cuts = [400_000, 0]
    with pytest.raises(DownloadError, match=r"the connection was cut after 400,000 of 1,000,000 bytes"):
        fetch(server, target)
    assert not target.exists()
    assert part_of(target).read_bytes() == CONTENT[:400_000]
    told = fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=400000-"
    assert told[0] == 400_000


def test_a_server_that_knows_no_ranges_sends_it_all_again(server: FileServer, target: Path) -> None:
    part_of(target).write_bytes(b"of a file" * 1000)
    server.ranges = False
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.asked == ["bytes=9000-"]


def test_what_was_left_complete_is_verified_without_asking(server: FileServer, target: Path) -> None:
    part_of(target).write_bytes(CONTENT)
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.asked == []


def test_what_was_left_too_long_is_fetched_anew(server: FileServer, target: Path) -> None:
    part_of(target).write_bytes(CONTENT + b"more")
    fetch(server, target)
    assert target.read_bytes() == CONTENT


def test_a_redirect_is_followed_with_the_range(server: FileServer, target: Path) -> None:
    part_of(target).write_bytes(CONTENT[:1000])
    fetch(server, target, "/somewhere")
    assert target.read_bytes() == CONTENT
    assert server.asked == ["bytes=1000-"]


def test_a_file_of_another_content_is_not_kept(server: FileServer, target: Path) -> None:
    server.content = bytes(len(CONTENT))
    with pytest.raises(ChecksumError, match=f"another file: its SHA-256 is [0-9a-f]{{64}}, not {SHA256}"):
        fetch(server, target)
    assert not target.exists()
    assert not part_of(target).exists()


def test_a_damaged_beginning_is_found_at_the_end_and_not_kept(server: FileServer, target: Path) -> None:
    part_of(target).write_bytes(b"damage")
    with pytest.raises(ChecksumError):
        fetch(server, target)
    fetch(server, target)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("content", [CONTENT + b"more", CONTENT[:-1], b"<html>Please sign in</html>"])
def test_a_file_of_another_size_is_refused_before_it_is_read(
    server: FileServer, target: Path, content: bytes
) -> None:
    server.content = content
    with pytest.raises(ChecksumError, match=f"it has {len(content):,} bytes, not 1,000,000"):
        fetch(server, target)
    assert not part_of(target).exists()


def test_a_file_that_never_ends_is_given_up_at_its_size(server: FileServer, target: Path) -> None:
    server.content, server.lengths = CONTENT * 4, False
    with pytest.raises(ChecksumError, match="it has more than 1,000,000 bytes"):
        fetch(server, target)
    assert not part_of(target).exists()


def test_a_refusal_is_told_and_what_had_come_is_kept(server: FileServer, target: Path) -> None:
    part_of(target).write_bytes(CONTENT[:1000])
    server.status = 404
    with pytest.raises(DownloadError, match="the server answered 404 Not Found"):
        fetch(server, target)
    assert part_of(target).stat().st_size == 1000


def test_another_part_than_the_one_asked_for_is_not_joined_to_it(server: FileServer, target: Path) -> None:
    part_of(target).write_bytes(CONTENT[:1000])
    server.shift = 5
    with pytest.raises(DownloadError, match="another part of it than the one asked for"):
        fetch(server, target)
    assert part_of(target).stat().st_size == 1000


def test_a_server_that_falls_silent_is_given_up(
    server: FileServer, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_module, "_TIMEOUT", 0.1)
    server.silent, server.cuts = True, [1000, 0]
    with pytest.raises(DownloadError, match=r"said nothing for 0\.1 seconds after 1,000 of 1,000,000 bytes"):
        fetch(server, target)


def test_no_server_and_no_address_are_told(target: Path) -> None:
    with file_server(b"") as gone:
        address = gone.address
    with pytest.raises(DownloadError, match="the server cannot be reached: Connection refused"):
        download(address + "/file", target, 1, SHA256)
    with pytest.raises(DownloadError, match="that is no address"):
        download("mirror/file", target, 1, SHA256)
