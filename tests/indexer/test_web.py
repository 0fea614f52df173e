"""Images from web servers: each way to fail has its own true sentence, and a manifest is kept in its place."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from exemplar_indexer import Item, Problem, SourceError, open_source, web
from exemplar_indexer.images import ImageUnreadableError, read_image
from exemplar_indexer.reach import ANYWHERE, Reach, is_public
from tests.client.command import run as exemplar
from tests.client.file_server import FileServer, file_server


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server(b"the image" * 100) as serving:
        yield serving


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have little patience, with a session of its own."""
    monkeypatch.setattr(web, "SILENCE_SECONDS", 0.2)
    monkeypatch.setattr(web, "TOTAL_SECONDS", 0.5)
    web._session.cache_clear()
    yield
    web._session.cache_clear()


@contextmanager
def redirecting(to: str) -> Iterator[str]:
    """Yield the URL of a server that sends everybody elsewhere."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", to)
            self.end_headers()

        def log_message(self, *anything: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{serving.server_port}/a.png"
        finally:
            serving.shutdown()
            thread.join()


def failure(url: str, reach: Reach = ANYWHERE) -> str:
    with pytest.raises(ImageUnreadableError) as caught:
        read_image(url, reach=reach)
    return str(caught.value)


def test_an_image_is_fetched_whole_or_its_beginning_and_through_redirects(server: FileServer) -> None:
    assert read_image(f"{server.address}/file") == server.content
    assert read_image(f"{server.address}/file", 16) == server.content[:16]
    assert read_image(f"{server.address}/a.png") == server.content


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (404, "there is no image at {url}: the server answers 404 Not Found"),
        (410, "there is no image at {url}: the server answers 410 Gone"),
        (403, "the image at {url} cannot be read: the server answers 403 Forbidden"),
        (500, "the image at {url} cannot be read: the server answers 500 Internal Server Error"),
        (599, "the image at {url} cannot be read: the server answers 599"),
    ],
)
def test_the_status_that_a_server_answers_is_told(server: FileServer, status: int, words: str) -> None:
    server.status = status
    url = f"{server.address}/file"
    assert failure(url) == words.format(url=url)


@pytest.mark.usefixtures("impatient")
def test_a_server_that_says_nothing_is_told_from_one_that_is_slow(server: FileServer) -> None:
    server.silent, server.cuts = True, [10]
    assert "the server said nothing for 0.2 s" in failure(f"{server.address}/file")
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes the connection
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a.png"
        assert "the server said nothing for 0.2 s" in failure(url)


@pytest.mark.usefixtures("impatient")
def test_an_image_that_comes_a_byte_at_a_time_has_a_limit_too() -> None:
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            try:
                while not ended.wait(0.05):
                    self.wfile.write(b"x")
            except ConnectionError:
                return  # the reader has had enough, which is what the test is about

        def log_message(self, *anything: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        said = failure(f"http://127.0.0.1:{serving.server_port}/a.png")
        ended.set()
        serving.shutdown()
        thread.join()
    assert "it was not there within 0.5 s" in said


def test_a_connection_that_is_refused_breaks_or_has_no_address_is_told(server: FileServer) -> None:
    assert "no connection to 127.0.0.1:1: " in failure("http://127.0.0.1:1/a.png")
    assert "the name nosuch.invalid leads to no address" in failure("http://nosuch.invalid/a.png")
    server.cuts = [10]
    assert "the connection broke" in failure(f"{server.address}/file")


def test_a_certificate_that_is_not_accepted_and_a_server_without_tls_are_told(
    server: FileServer, tmp_path: Path
) -> None:
    assert "no TLS connection to 127.0.0.1" in failure(server.address.replace("http:", "https:") + "/file")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as serving:
        serving.socket = context.wrap_socket(serving.socket, server_side=True)
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        said = failure(f"https://127.0.0.1:{serving.server_port}/a.png")
        serving.shutdown()
        thread.join()
    assert "the TLS certificate of 127.0.0.1 is not accepted" in said


@pytest.mark.parametrize(
    ("status", "words"), [(404, "404 Not Found"), (403, "403 Forbidden"), (500, "500 Internal Server Error")]
)
def test_what_keeps_a_manifest_from_being_read_is_told(server: FileServer, status: int, words: str) -> None:
    server.status = status
    with pytest.raises(SourceError, match=f"cannot be read: the server answers {words}"):
        list(open_source(f"{server.address}/list.csv?/file"))
    with pytest.raises(SourceError, match=r"cannot be read: no connection to 127\.0\.0\.1:1"):
        list(open_source("http://127.0.0.1:1/list.csv"))


MANIFEST = "https://shop.example/lists/list.csv"


@pytest.mark.parametrize(
    "image",
    [
        *("/etc/passwd", "file:///etc/passwd", "local:///etc/passwd", "FILE:///etc/passwd"),
        *("simplecache::file:///etc/passwd", "zip://a.png::/etc/passwd", "s3://bucket/a.png", "sftp://host/a.png"),
    ],
)
def test_a_manifest_from_the_network_names_no_files_of_this_machine_and_no_stores(image: str) -> None:
    refusal = Reach(MANIFEST).refusal(image)
    assert refusal is not None
    assert "--trust-manifest" in refusal
    assert image in failure(image, Reach(MANIFEST))
    assert Reach.of(MANIFEST, trusted=True).refusal(image) is None
    assert Reach.of("lists/list.csv", trusted=False).refusal(image) is None


@pytest.mark.parametrize(
    ("manifest", "image"),
    [
        (MANIFEST, "https://shop.example/lists/a.png"),
        (MANIFEST, "https://elsewhere.example/a.png"),
        ("s3://bucket/list.csv", "s3://bucket/pictures/a.png"),
    ],
)
def test_it_names_its_own_place_and_web_servers(manifest: str, image: str) -> None:
    assert Reach(manifest).refusal(image) is None


@pytest.mark.parametrize(
    ("address", "public"),
    [
        *[(each, True) for each in ("93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34")],
        *[(each, False) for each in ("127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254")],
        *[(each, False) for each in ("0.0.0.0", "100.64.0.1", "224.0.0.1", "::1", "::", "fe80::1%eth0", "fd00::1")],
        *[(each, False) for each in ("::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::")],
    ],
)
def test_addresses_that_lead_into_this_network_are_known_in_every_form(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_a_manifest_from_the_network_has_no_address_of_this_network_asked(server: FileServer, host: str) -> None:
    url = server.address.replace("127.0.0.1", host) + "/file"
    said = failure(url, Reach(MANIFEST))
    assert "is no public address" in said
    assert "--trust-manifest lets it" in said
    assert server.asked == []
    assert read_image(f"{server.address}/file", reach=Reach.of(MANIFEST, trusted=True)) == server.content


def test_a_redirect_leads_no_further_than_the_manifest_might(server: FileServer) -> None:
    with redirecting(f"{server.address}/file") as url:
        assert read_image(url) == server.content
        server.asked.clear()
        own = Reach(url.replace("a.png", "list.csv"))  # the caller named this server, by its address
        assert "is no public address" in failure(url, own)
        assert server.asked == []
    with redirecting("file:///etc/passwd") as url:
        assert "which is on no web server" in failure(url)


def test_rows_that_a_manifest_may_not_have_are_errors_and_the_flag_lets_them(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(8))
    with file_server(f"id,image\nfile,{picture}\nown,file\n".encode()) as serving:
        source = f"{serving.address}/list.csv"
        refused, own = open_source(source, Reach.of(source, trusted=False))
        assert isinstance(refused, Problem)
        assert (refused.place, refused.reason) == (f"{source}:2", "IMAGE_NOT_ALLOWED")
        assert isinstance(own, Item)
        command = ("index", source, "-g", "g", "--dry-run", "--report", tmp_path / "report.jsonl")
        done = exemplar(*command)
        assert "may not name files of this machine" in (tmp_path / "report.jsonl").read_text()
        assert "Would enroll 0 of 2" in done.stdout
        assert "Would enroll 1 of 2" in exemplar(*command, "--trust-manifest").stdout
