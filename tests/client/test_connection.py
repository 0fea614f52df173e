"""Where the client looks for a server, what it shows there, and how long it waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

import exemplar
from exemplar import AsyncClient, Client
from exemplar.v1 import gallery_service_pb2 as gallery_pb
from tests.client.asking import ask, both_clients
from tests.client.scripted_server import ScriptedServer, scripted_server


def answer(request: Any, context: grpc.ServicerContext) -> Message:
    return gallery_pb.GetGalleryResponse()


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server({"GetGallery": answer}) as running:
        yield running


@pytest.fixture
def stalled() -> Iterator[ScriptedServer]:
    """A server that answers nothing until the test is over."""
    over = threading.Event()

    def stall(request: Any, context: grpc.ServicerContext) -> Message:
        over.wait(30)
        return gallery_pb.GetGalleryResponse()

    with scripted_server({"GetGallery": stall, "ListGalleries": stall}) as running:
        yield running
        over.set()


@both_clients
def test_the_token_goes_along_as_a_bearer_token(server: ScriptedServer, synchronous: bool) -> None:
    ask(server.address, synchronous, token="s3cret")
    assert server.metadata[0]["authorization"] == "Bearer s3cret"


@both_clients
def test_address_and_token_are_the_environments_where_none_is_given(
    server: ScriptedServer, synchronous: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXEMPLAR_ADDRESS", server.address)
    monkeypatch.setenv("EXEMPLAR_TOKEN", "s3cret")
    ask(None, synchronous)
    ask(None, synchronous, token="another")
    ask(None, synchronous, token="")
    assert [shown.get("authorization") for shown in server.metadata] == ["Bearer s3cret", "Bearer another", None]


@both_clients
def test_an_address_that_is_given_goes_before_the_environments(
    server: ScriptedServer, synchronous: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXEMPLAR_ADDRESS", "127.0.0.1:1")
    ask(server.address, synchronous)
    assert len(server.calls) == 1


def test_without_an_address_anywhere_it_is_this_machines_default_port(monkeypatch: pytest.MonkeyPatch) -> None:
    for empty in (None, ""):
        monkeypatch.delenv("EXEMPLAR_ADDRESS", raising=False)
        if empty is not None:
            monkeypatch.setenv("EXEMPLAR_ADDRESS", empty)
        with Client() as client:
            assert client.address == "127.0.0.1:50051"


@both_clients
def test_a_server_that_never_answers_meets_the_clients_deadline(stalled: ScriptedServer, synchronous: bool) -> None:
    with pytest.raises(exemplar.DeadlineExceededError, match=r"did not answer within 0\.3 s"):
        ask(stalled.address, synchronous, timeout=0.3)


@both_clients
def test_a_calls_own_deadline_goes_before_the_clients(stalled: ScriptedServer, synchronous: bool) -> None:
    with pytest.raises(exemplar.DeadlineExceededError, match=r"did not answer within 0\.2 s"):
        ask(stalled.address, synchronous, timeout=30, deadline=0.2)


def test_a_list_takes_a_deadline_for_each_page(stalled: ScriptedServer) -> None:
    with Client(stalled.address) as client, pytest.raises(exemplar.DeadlineExceededError):
        next(client.galleries(timeout=0.2))

    async def first() -> None:
        async with AsyncClient(stalled.address) as client:
            async for _ in client.galleries(timeout=0.2):
                return

    with pytest.raises(exemplar.DeadlineExceededError):
        asyncio.run(first())
