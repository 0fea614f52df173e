"""Failures keep the server's reason, also of single items of a batch. Against a scripted server on a socket."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

import exemplar
from exemplar import AsyncClient, Client
from exemplar.batching import MAX_ITEM_BYTES
from exemplar.v1 import classification_service_pb2 as classification_pb
from exemplar.v1 import resources_pb2 as resources_pb
from tests.client.asking import ask, both_clients, failing
from tests.client.scripted_server import Answer, fail, scripted_server, status

CODES = [
    (grpc.StatusCode.INVALID_ARGUMENT, exemplar.InvalidArgumentError),
    (grpc.StatusCode.NOT_FOUND, exemplar.NotFoundError),
    (grpc.StatusCode.ALREADY_EXISTS, exemplar.AlreadyExistsError),
    (grpc.StatusCode.ABORTED, exemplar.AbortedError),
    (grpc.StatusCode.FAILED_PRECONDITION, exemplar.FailedPreconditionError),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, exemplar.ResourceExhaustedError),
    (grpc.StatusCode.DATA_LOSS, exemplar.DataLossError),
    (grpc.StatusCode.UNAUTHENTICATED, exemplar.UnauthenticatedError),
    (grpc.StatusCode.INTERNAL, exemplar.ExemplarError),
]


@both_clients
@pytest.mark.parametrize(("code", "error"), CODES)
def test_an_error_keeps_code_reason_message_and_facts(
    synchronous: bool, code: grpc.StatusCode, error: type[exemplar.ExemplarError]
) -> None:
    answers: dict[str, Answer] = {
        "GetGallery": lambda _, context: fail(context, code, "a sentence", "SOME_REASON", field="name")
    }
    with scripted_server(answers) as server, pytest.raises(error) as caught:
        ask(server.address, synchronous)
    assert type(caught.value) is error
    assert (caught.value.code, caught.value.reason, str(caught.value)) == (
        code.name,
        "SOME_REASON",
        "a sentence",
    )
    assert caught.value.metadata == {"field": "name"}


@both_clients
def test_nobody_at_the_address_is_said_with_the_address(synchronous: bool) -> None:
    with socket.socket() as reserved:  # bound, never listening: nobody else can answer here
        reserved.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
        with pytest.raises(exemplar.UnavailableError, match=f"no server answers at {address}") as caught:
            ask(address, synchronous, attempts=2)
    assert caught.value.reason == "UNREACHABLE"


def test_a_method_that_the_server_does_not_know_is_said_so() -> None:
    with (
        scripted_server({}) as server,
        pytest.raises(exemplar.UnimplementedError, match="does not know this request"),
    ):
        ask(server.address, True)


def test_a_single_bad_image_costs_only_its_own_place() -> None:
    def answer(request: Any, context: grpc.ServicerContext) -> Message:
        bad = status(grpc.StatusCode.INVALID_ARGUMENT, "not an image", "IMAGE_EMPTY", field="images[1]")
        good = resources_pb.Embedding(values=[1.0])
        return classification_pb.BatchEmbedResponse(
            results=[
                classification_pb.BatchEmbedResult(embedding=good)
                if image.content
                else classification_pb.BatchEmbedResult(error=bad)
                for image in request.images
            ]
        )

    with scripted_server({"BatchEmbed": answer}) as server, Client(server.address) as client:
        first, second, third, fourth = client.embed_many([b"1", b"", bytes(MAX_ITEM_BYTES + 1), b"4"])
    assert isinstance(second, exemplar.InvalidArgumentError)
    assert (second.code, second.reason, second.message) == ("INVALID_ARGUMENT", "IMAGE_EMPTY", "not an image")
    assert second.metadata == {"field": "images[1]"}
    assert isinstance(third, exemplar.ResourceExhaustedError)
    assert third.reason == "MESSAGE_TOO_LARGE"
    assert isinstance(first, exemplar.Embedding)
    assert isinstance(fourth, exemplar.Embedding)


def test_a_large_request_is_split_to_what_a_message_holds() -> None:
    def answer(request: Any, context: grpc.ServicerContext) -> Message:
        good = [
            classification_pb.BatchEmbedResult(embedding=resources_pb.Embedding(values=[float(image.content[0])]))
            for image in request.images
        ]
        return classification_pb.BatchEmbedResponse(results=good)

    images = [bytes([number]) * 9_000_000 for number in range(5)] + [b"\x07"] * 600
    with scripted_server({"BatchEmbed": answer}) as server, Client(server.address) as client:
        found = client.embed_many(images)
    assert [entry.values for entry in found if isinstance(entry, exemplar.Embedding)] == [
        (float(image[0]),) for image in images
    ]
    assert all(len(request.images) <= 256 for _, request in server.calls)


def test_a_single_message_past_the_limit_is_refused_with_a_reason() -> None:
    with scripted_server({"Embed": failing(0, classification_pb.EmbedResponse())}) as server:
        with Client(server.address) as client, pytest.raises(exemplar.ResourceExhaustedError) as caught:
            client.embed(bytes(33 * 1024 * 1024))
        assert caught.value.reason == "MESSAGE_TOO_LARGE"
        assert not server.calls


def classify_files(address: str, synchronous: bool, images: list[Any]) -> None:
    if synchronous:
        with Client(address) as client:
            client.classify_many("g", images)
        return

    async def run() -> None:
        async with AsyncClient(address) as client:
            await client.classify_many("g", images)

    asyncio.run(run())


@both_clients
def test_a_missing_file_is_named_before_anything_is_sent(synchronous: bool, tmp_path: Path) -> None:
    images = [b"1"] * 300 + [str(tmp_path / "gone.png")]
    with scripted_server({}) as server:
        with pytest.raises(FileNotFoundError, match=r"gone\.png"):
            classify_files(server.address, synchronous, images)
        assert not server.calls
