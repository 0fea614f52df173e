"""A Milvus server that asks for a token, behind TLS, is shown the token, and is believed by its certificate."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from milvus_lite.adapter.grpc.servicer import MilvusServicer
from milvus_lite.db import MilvusLite
from pymilvus.grpc_gen import milvus_pb2_grpc

from exemplar_server.errors import UnavailableError
from exemplar_server.store.index.milvus_collection import MilvusCollection, MilvusServer

GALLERY, ROWS, VECTORS = "gallery", np.array([1, 2], np.int64), np.eye(2, 4, dtype=np.float32)
TOKEN = "root:s3cret"


class Doorkeeper(grpc.ServerInterceptor):
    """Refuses every call without the token."""

    def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Any], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        shown = dict(handler_call_details.invocation_metadata).get("authorization")
        if shown == base64.b64encode(TOKEN.encode()).decode():
            return continuation(handler_call_details)
        return grpc.unary_unary_rpc_method_handler(
            lambda _, context: context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")
        )


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a self-signed certificate for localhost; its key is beside it."""
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(path.with_name("key.pem")), "-out", str(path)]
    subprocess.run([*command, *names], check=True, capture_output=True)
    return path


@pytest.fixture(scope="module")
def address(certificate: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve Milvus Lite, which knows neither tokens nor TLS, with both."""
    database = MilvusLite(str(tmp_path_factory.mktemp("milvus")))
    server = grpc.server(ThreadPoolExecutor(4), interceptors=[Doorkeeper()])
    milvus_pb2_grpc.add_MilvusServiceServicer_to_server(MilvusServicer(database), server)
    key = certificate.with_name("key.pem").read_bytes()
    port = server.add_secure_port("localhost:0", grpc.ssl_server_credentials([(key, certificate.read_bytes())]))
    server.start()
    yield f"https://localhost:{port}"
    server.stop(None).wait()
    database.close()


def counted(server: MilvusServer) -> int:
    collection = MilvusCollection(server, "model", 4)
    try:
        collection.put(GALLERY, ROWS, ROWS, VECTORS)
        return collection.count(GALLERY)
    finally:
        collection.close()


def test_a_token_and_a_certificate_let_in(address: str, certificate: Path) -> None:
    assert counted(MilvusServer(address, TOKEN, certificate)) == 2


@pytest.mark.parametrize("token", ["", "root:wrong"])
def test_a_wrong_token_does_not(address: str, certificate: Path, token: str) -> None:
    with pytest.raises(UnavailableError):
        counted(MilvusServer(address, token, certificate))


def test_a_server_with_an_unknown_certificate_is_shown_nothing(address: str) -> None:
    with pytest.raises(UnavailableError):
        counted(MilvusServer(address, TOKEN))


def test_a_token_is_not_printed() -> None:
    assert "s3cret" not in repr(MilvusServer("https://localhost:1", TOKEN))
