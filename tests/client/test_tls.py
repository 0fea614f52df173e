"""The client speaks TLS to a server that it has reason to trust, and to no other."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import grpc
import pytest

import exemplar
from exemplar import AsyncClient, Client, Tls
from exemplar.v1 import gallery_service_pb2 as gallery_pb
from tests.client.scripted_server import scripted_server


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a self-signed certificate for localhost, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *names], check=True, capture_output=True)
    return certificate, key


@pytest.fixture
def credentials(authority: tuple[Path, Path]) -> grpc.ServerCredentials:
    certificate, key = authority
    return grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])


ANSWERS = {"GetGallery": lambda *_: gallery_pb.GetGalleryResponse()}


def test_a_server_with_a_trusted_certificate_is_asked(
    authority: tuple[Path, Path], credentials: grpc.ServerCredentials
) -> None:
    tls = Tls(ca=authority[0])
    with scripted_server(ANSWERS, credentials) as server:
        with Client(server.address, tls=tls, token="s3cret") as client:
            client.get_gallery("g")
        by_number = server.address.replace("localhost", "127.0.0.1")
        with Client(by_number, tls=Tls(ca=authority[0], server_name="localhost")) as client:
            client.get_gallery("g")

        async def ask() -> None:
            async with AsyncClient(server.address, tls=tls) as other:
                await other.get_gallery("g")

        asyncio.run(ask())
        assert len(server.calls) == 3
        assert server.metadata[0]["authorization"] == "Bearer s3cret"


def test_a_server_with_an_unknown_certificate_is_not_asked(credentials: grpc.ServerCredentials) -> None:
    with scripted_server(ANSWERS, credentials) as server:
        with Client(server.address, tls=True, attempts=1) as client, pytest.raises(exemplar.UnavailableError):
            client.get_gallery("g")
        assert not server.calls


def test_a_certificate_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.pem"):
        Client(tls=Tls(ca=tmp_path / "gone.pem"))
