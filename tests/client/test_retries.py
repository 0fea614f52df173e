"""Every call is repeated while the server is unavailable, a changing one with the request id of its first attempt."""

from __future__ import annotations

import asyncio
import inspect
import uuid
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

import exemplar
from exemplar import AsyncClient, Client, Enrollment
from exemplar.v1 import classification_service_pb2 as classification_pb
from exemplar.v1 import gallery_service_pb2 as gallery_pb
from exemplar.v1 import resources_pb2 as resources_pb
from tests.client.asking import ask, both_clients, failing
from tests.client.scripted_server import scripted_server

CLASS = resources_pb.ImageClass(name="galleries/g/classes/c")
ENROLLED = gallery_pb.EnrollClassResponse(image_class=CLASS)

# Every changing call: its method, a response, and how either client makes it.
CHANGES: list[tuple[str, Message, Callable[[Any], Any]]] = [
    ("CreateGallery", gallery_pb.CreateGalleryResponse(), lambda client: client.create_gallery("g")),
    (
        "UpdateGallery",
        gallery_pb.UpdateGalleryResponse(),
        lambda client: client.update_gallery("g", display_name="G"),
    ),
    ("DeleteGallery", gallery_pb.DeleteGalleryResponse(), lambda client: client.delete_gallery("g")),
    ("EnrollClass", ENROLLED, lambda client: client.enroll("g", "c", b"1")),
    (
        "BatchEnrollClasses",
        gallery_pb.BatchEnrollClassesResponse(results=[gallery_pb.BatchEnrollClassesResult(enrolled=ENROLLED)]),
        lambda client: client.enroll_many("g", [Enrollment("c", b"1")]),
    ),
    (
        "UpdateClass",
        gallery_pb.UpdateClassResponse(image_class=CLASS),
        lambda client: client.update_class("g", "c", display_name="C"),
    ),
    ("DeleteClass", gallery_pb.DeleteClassResponse(), lambda client: client.delete_class("g", "c")),
    (
        "AddExemplars",
        gallery_pb.AddExemplarsResponse(image_class=CLASS),
        lambda client: client.add_exemplars("g", "c", b"1"),
    ),
    (
        "RemoveExemplar",
        gallery_pb.RemoveExemplarResponse(image_class=CLASS),
        lambda client: client.remove_exemplar("g", "c", "0" * 64),
    ),
]


def make(call: Callable[[Any], Any], address: str, synchronous: bool, times: int = 1) -> None:
    if synchronous:
        with Client(address) as client:
            for _ in range(times):
                call(client)
        return

    async def run() -> None:
        async with AsyncClient(address) as client:
            for _ in range(times):
                awaited = call(client)
                assert inspect.isawaitable(awaited)
                await awaited

    asyncio.run(run())


def test_every_request_that_takes_an_id_is_tried_here() -> None:
    with_id = {
        method.name
        for method in gallery_pb.DESCRIPTOR.services_by_name["GalleryService"].methods
        if "request_id" in method.input_type.fields_by_name
    }
    assert with_id == {method for method, _, _ in CHANGES}


@both_clients
@pytest.mark.parametrize(("method", "response", "call"), CHANGES, ids=[method for method, _, _ in CHANGES])
def test_a_changing_call_is_repeated_with_its_id_and_the_next_call_has_another(
    synchronous: bool, method: str, response: Message, call: Callable[[Any], Any]
) -> None:
    with scripted_server({method: failing(1, response)}) as server:
        make(call, server.address, synchronous, times=2)
    first, again, second = (request for _, request in server.calls)
    assert first == again
    assert uuid.UUID(first.request_id).version == 4
    assert first.request_id != second.request_id
    second.request_id = first.request_id
    assert first == second


@both_clients
def test_an_unavailable_server_is_asked_again_until_it_answers(synchronous: bool) -> None:
    gallery = resources_pb.Gallery(name="galleries/g", class_count=3)
    answers = {"GetGallery": failing(2, gallery_pb.GetGalleryResponse(gallery=gallery))}
    with scripted_server(answers) as server:
        assert ask(server.address, synchronous).class_count == 3
    assert len(server.calls) == 3


@both_clients
def test_a_server_that_stays_unavailable_is_given_up_with_its_reason(synchronous: bool) -> None:
    answers = {"GetGallery": failing(99, gallery_pb.GetGalleryResponse())}
    with scripted_server(answers) as server, pytest.raises(exemplar.UnavailableError) as caught:
        ask(server.address, synchronous, attempts=2)
    assert len(server.calls) == 2
    assert (caught.value.reason, caught.value.retry_after) == ("QUEUE_FULL", 1.0)


def test_a_client_of_one_attempt_repeats_nothing() -> None:
    answers = {"GetGallery": failing(1, gallery_pb.GetGalleryResponse())}
    with scripted_server(answers) as server, pytest.raises(exemplar.UnavailableError):
        ask(server.address, True, attempts=1)
    assert len(server.calls) == 1


def test_an_image_larger_than_grpc_buffers_by_default_is_sent_again_too() -> None:
    answered = classification_pb.EmbedResponse(embedding=resources_pb.Embedding(values=[1.0]))
    image = bytes(8 * 1024 * 1024)
    with scripted_server({"Embed": failing(1, answered)}) as server, Client(server.address) as client:
        assert client.embed(image).values == (1.0,)
    assert [len(request.image.content) for _, request in server.calls] == [len(image)] * 2


def test_only_unavailable_is_tried_again() -> None:
    answers = {"GetGallery": failing(1, gallery_pb.GetGalleryResponse(), grpc.StatusCode.INTERNAL)}
    with scripted_server(answers) as server, pytest.raises(exemplar.ExemplarError):
        ask(server.address, True)
    assert len(server.calls) == 1
