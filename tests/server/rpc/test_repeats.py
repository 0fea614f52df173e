"""A request that is sent again while the first is under way, over a real store."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from exemplar.v1 import gallery_service_pb2 as pb
from exemplar.v1 import resources_pb2
from exemplar_server.errors import FailedPreconditionError
from exemplar_server.rpc.repeats import answer_once
from exemplar_server.store import Gallery, GalleryStore, Request
from tests.contract.stores import embedded

MESSAGE = pb.CreateGalleryRequest(gallery_id="g", request_id="f75d96bd-519e-4c7e-9a43-12b50d5958b7")


def respond(created: Gallery) -> pb.CreateGalleryResponse:
    return pb.CreateGalleryResponse(gallery=resources_pb2.Gallery(display_name=created.id))


@pytest.fixture
def store(tmp_path: Path) -> GalleryStore:
    return embedded(tmp_path)


def test_it_is_answered_as_the_first_even_where_what_followed_would_refuse_it(store: GalleryStore) -> None:
    async def first(request: Request[Gallery] | None) -> Gallery:
        return store.create_gallery("g", "model", 4, request=request)

    async def second(request: Request[Gallery] | None) -> Gallery:
        # By now it was found to be new. The first is made, and then something else that stands in its way.
        await answer_once(store, MESSAGE, pb.CreateGalleryResponse, first, respond)
        raise FailedPreconditionError("IN_THE_WAY", "something else was changed meanwhile")

    answer = asyncio.run(answer_once(store, MESSAGE, pb.CreateGalleryResponse, second, respond))
    assert answer.gallery.display_name == "g"
    store.close()


def test_a_refusal_stays_one_where_nothing_was_made(store: GalleryStore) -> None:
    async def refused(request: Request[Gallery] | None) -> Gallery:
        raise FailedPreconditionError("IN_THE_WAY", "it cannot be made")

    with pytest.raises(FailedPreconditionError, match="cannot be made"):
        asyncio.run(answer_once(store, MESSAGE, pb.CreateGalleryResponse, refused, respond))
    store.close()
