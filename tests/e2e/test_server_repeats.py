"""Calls that are safe to send again: request ids, etags and deletes of what is gone, over a real socket."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from demo.server_process import ServerProcess
from exemplar.v1 import gallery_service_pb2 as galleries
from exemplar.v1 import resources_pb2 as resources
from tests.e2e.stubs import Stubs, blank_png, image, png, refusal


def new_id() -> str:
    return str(uuid.uuid4())


def enrollment(class_id: str, seed: int = 0) -> galleries.Enrollment:
    return galleries.Enrollment(class_id=class_id, images=[image(png(seed=seed))])


def state(stubs: Stubs, gallery: str) -> list[Message]:
    listed = stubs.galleries.ListClasses(galleries.ListClassesRequest(gallery=gallery))
    return [stubs.galleries.GetGallery(galleries.GetGalleryRequest(name=gallery)), listed]


def changes(gallery: str) -> dict[str, tuple[str, Message]]:
    """Return a request of every changing method, to be made in this order."""
    name = f"{gallery}/classes/a"
    added = png(seed=1)
    roomy = resources.Gallery(name=gallery, max_exemplars_per_class=2)
    return {
        "create": (
            "CreateGallery",
            galleries.CreateGalleryRequest(gallery_id=gallery.removeprefix("galleries/"), request_id=new_id()),
        ),
        "update": (
            "UpdateGallery",
            galleries.UpdateGalleryRequest(
                gallery=roomy, update_mask=FieldMask(paths=["max_exemplars_per_class"]), request_id=new_id()
            ),
        ),
        "enroll": (
            "EnrollClass",
            galleries.EnrollClassRequest(gallery=gallery, enrollment=enrollment("a"), request_id=new_id()),
        ),
        "enroll a batch": (
            "BatchEnrollClasses",
            galleries.BatchEnrollClassesRequest(
                gallery=gallery,
                enrollments=[enrollment("b", 2), galleries.Enrollment(class_id="bad"), enrollment("c", 3)],
                request_id=new_id(),
            ),
        ),
        "enroll only what is bad": (
            "BatchEnrollClasses",
            galleries.BatchEnrollClassesRequest(
                gallery=gallery, enrollments=[galleries.Enrollment(class_id="bad")], request_id=new_id()
            ),
        ),
        "add": (
            "AddExemplars",
            galleries.AddExemplarsRequest(class_name=name, images=[image(added)], request_id=new_id()),
        ),
        "remove": (
            "RemoveExemplar",
            galleries.RemoveExemplarRequest(
                class_name=name, sha256="0" * 64, allow_missing=True, request_id=new_id()
            ),
        ),
        "rename": (
            "UpdateClass",
            galleries.UpdateClassRequest(
                image_class=resources.ImageClass(name=name, display_name="A"),
                update_mask=FieldMask(paths=["display_name"]),
                request_id=new_id(),
            ),
        ),
        "delete": ("DeleteClass", galleries.DeleteClassRequest(name=name, request_id=new_id())),
    }


# Request ids


@pytest.mark.process
def test_every_change_has_one_effect_and_its_first_response_even_after_a_kill_nine(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    gallery = "galleries/g"
    made = changes(gallery)
    deletion = galleries.DeleteGalleryRequest(name=gallery, force=True, request_id=new_id())
    with ServerProcess(tiny_bundle, tmp_path) as server:
        stubs = Stubs(server.channel())
        first = {}
        for what, (method, request) in made.items():
            first[what] = getattr(stubs.galleries, method)(request)
            after = state(stubs, gallery)
            assert getattr(stubs.galleries, method)(request) == first[what], what
            assert state(stubs, gallery) == after, what
        server.kill()
        stubs = Stubs(server.restart().channel())
        for what, (method, request) in made.items():
            assert getattr(stubs.galleries, method)(request) == first[what], what
        assert state(stubs, gallery) == after
        stubs.galleries.DeleteGallery(deletion)
        # With the gallery gone each of them would be refused, if it were made again.
        stubs.galleries.DeleteGallery(deletion)
        for what, (method, request) in made.items():
            assert getattr(stubs.galleries, method)(request) == first[what], what
        with pytest.raises(grpc.RpcError):
            state(stubs, gallery)


def test_an_id_that_was_another_request_s_is_refused(stubs: Stubs, gallery: str) -> None:
    request = galleries.EnrollClassRequest(gallery=gallery, enrollment=enrollment("a"), request_id=new_id())
    stubs.galleries.EnrollClass(request)
    before = state(stubs, gallery)
    other = galleries.EnrollClassRequest()
    other.CopyFrom(request)
    other.enrollment.display_name = "another"
    calls: list[Callable[[], object]] = [
        lambda: stubs.galleries.EnrollClass(other),
        lambda: stubs.galleries.DeleteGallery(
            galleries.DeleteGalleryRequest(name=gallery, force=True, request_id=request.request_id)
        ),
        lambda: stubs.galleries.CreateGallery(
            galleries.CreateGalleryRequest(gallery_id="another", request_id=request.request_id.upper())
        ),
    ]
    for call in calls:
        with pytest.raises(grpc.RpcError) as refused:
            call()
        assert refusal(refused.value) == ("INVALID_ARGUMENT", "REQUEST_ID_REUSED", {"field": "request_id"})
    assert state(stubs, gallery) == before


@pytest.mark.parametrize(
    "bad", ["1", "{" + "0" * 34 + "}", "0" * 32, "x" * 36, "f75d96bd-519e-4c7e-9a43-12b50d5958b7\n"]
)
def test_an_id_that_is_no_uuid_is_refused(stubs: Stubs, gallery: str, bad: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        stubs.galleries.DeleteGallery(galleries.DeleteGalleryRequest(name=gallery, request_id=bad))
    assert refusal(refused.value) == ("INVALID_ARGUMENT", "FIELD_INVALID", {"field": "request_id"})
    assert stubs.galleries.GetGallery(galleries.GetGalleryRequest(name=gallery))


def test_a_call_that_failed_may_be_made_again_and_succeed(stubs: Stubs, gallery: str) -> None:
    requests: list[Any] = [
        galleries.EnrollClassRequest(gallery=gallery, enrollment=enrollment("a"), strict=True, request_id=new_id()),
        galleries.DeleteClassRequest(name=f"{gallery}/classes/a", request_id=new_id()),
    ]
    blank = galleries.EnrollClassRequest()
    blank.CopyFrom(requests[0])
    blank.enrollment.images[0].content = blank_png()
    with pytest.raises(grpc.RpcError) as refused:
        stubs.galleries.EnrollClass(blank)
    assert refusal(refused.value)[1] == "EXEMPLAR_REFUSED"
    with pytest.raises(grpc.RpcError):
        stubs.galleries.DeleteClass(requests[1])
    assert stubs.galleries.EnrollClass(requests[0]).gallery_revision == 2
    assert stubs.galleries.DeleteClass(requests[1]).gallery_revision == 3


def test_one_request_sent_many_times_at_once_has_one_effect(stubs: Stubs, gallery: str) -> None:
    request = galleries.EnrollClassRequest(gallery=gallery, enrollment=enrollment("a"), request_id=new_id())
    start = threading.Barrier(8)

    def send(_: int) -> galleries.EnrollClassResponse:
        start.wait(30)
        return stubs.galleries.EnrollClass(request)

    with ThreadPoolExecutor(8) as pool:
        first, *others = pool.map(send, range(8))
    assert all(other == first for other in others)
    assert not first.replaced
    assert stubs.galleries.GetGallery(galleries.GetGalleryRequest(name=gallery)).gallery.revision == 2


def test_of_other_requests_sent_at_once_with_one_id_one_has_an_effect(stubs: Stubs, gallery: str) -> None:
    shared = new_id()
    requests: list[tuple[str, Message]] = [
        ("EnrollClass", galleries.EnrollClassRequest(gallery=gallery, enrollment=enrollment(str(seed), seed)))
        for seed in range(4)
    ]
    requests += [
        ("DeleteGallery", galleries.DeleteGalleryRequest(name="galleries/none", allow_missing=True)),
        ("CreateGallery", galleries.CreateGalleryRequest(gallery_id=gallery.removeprefix("galleries/") + "-other")),
    ]
    start = threading.Barrier(len(requests))

    def send(call: tuple[str, Any]) -> str:
        method, request = call
        request.request_id = shared
        start.wait(30)
        try:
            getattr(stubs.galleries, method)(request)
        except grpc.RpcError as error:
            return refusal(error)[1]
        return "made"

    with ThreadPoolExecutor(len(requests)) as pool:
        outcomes = list(pool.map(send, requests))
    assert sorted(outcomes) == ["REQUEST_ID_REUSED"] * 5 + ["made"]
    enrolled = "made" in outcomes[:4]
    assert len(stubs.galleries.ListClasses(galleries.ListClassesRequest(gallery=gallery)).classes) == enrolled


def test_without_an_id_every_call_counts(stubs: Stubs, gallery: str) -> None:
    request = galleries.EnrollClassRequest(gallery=gallery, enrollment=enrollment("a"))
    assert [stubs.galleries.EnrollClass(request).replaced for _ in range(3)] == [False, True, True]


# Etags


def test_a_stale_etag_is_aborted_and_changes_nothing(stubs: Stubs, gallery: str) -> None:
    stored = stubs.galleries.EnrollClass(
        galleries.EnrollClassRequest(gallery=gallery, enrollment=enrollment("a"))
    ).image_class
    settings = stubs.galleries.GetGallery(galleries.GetGalleryRequest(name=gallery)).gallery
    mask = FieldMask(paths=["display_name"])
    renamed = resources.ImageClass(name=stored.name, display_name="A", etag=stored.etag)
    retitled = resources.Gallery(name=gallery, display_name="G", etag=settings.etag)
    calls: list[Callable[[], Any]] = [
        lambda: stubs.galleries.UpdateClass(galleries.UpdateClassRequest(image_class=renamed, update_mask=mask)),
        lambda: stubs.galleries.UpdateGallery(galleries.UpdateGalleryRequest(gallery=retitled, update_mask=mask)),
    ]
    for call in calls:
        call()
        before = state(stubs, gallery)
        with pytest.raises(grpc.RpcError) as refused:
            call()
        code, reason, metadata = refusal(refused.value)
        assert (code, reason) == ("ABORTED", "ETAG_MISMATCH")
        assert metadata["etag"] not in ("", stored.etag, settings.etag)
        assert state(stubs, gallery) == before
    renamed.etag = stubs.galleries.GetClass(galleries.GetClassRequest(name=stored.name)).image_class.etag
    assert calls[0]().image_class.etag != renamed.etag
    renamed.etag = ""
    calls[0]()


# Deletes of what is gone


def test_deleting_what_is_not_there_succeeds_where_that_is_allowed(stubs: Stubs, gallery: str) -> None:
    stored = stubs.galleries.EnrollClass(
        galleries.EnrollClassRequest(gallery=gallery, enrollment=enrollment("a"))
    ).image_class
    missing = galleries.RemoveExemplarRequest(class_name=stored.name, sha256="0" * 64)
    calls: list[tuple[Callable[[Any], Any], Any, str]] = [
        (stubs.galleries.RemoveExemplar, missing, "EXEMPLAR_NOT_FOUND"),
        (stubs.galleries.DeleteClass, galleries.DeleteClassRequest(name=f"{gallery}/classes/b"), "CLASS_NOT_FOUND"),
        (stubs.galleries.DeleteGallery, galleries.DeleteGalleryRequest(name="galleries/none"), "GALLERY_NOT_FOUND"),
    ]
    before = state(stubs, gallery)
    for call, request, reason in calls:
        with pytest.raises(grpc.RpcError) as refused:
            call(request)
        assert refusal(refused.value)[:2] == ("NOT_FOUND", reason)
        request.allow_missing = True
        response = call(request)
        if reason != "GALLERY_NOT_FOUND":
            assert response.gallery_revision == 2
    assert state(stubs, gallery) == before


def test_of_many_updates_at_once_of_one_state_one_is_made(stubs: Stubs, gallery: str) -> None:
    stored = stubs.galleries.EnrollClass(
        galleries.EnrollClassRequest(gallery=gallery, enrollment=enrollment("a"))
    ).image_class
    etag = stubs.galleries.GetGallery(galleries.GetGalleryRequest(name=gallery)).gallery.etag
    mask = FieldMask(paths=["display_name"])
    start = threading.Barrier(8)

    def rename(number: int) -> str:
        start.wait(30)
        try:
            if number % 2:
                changed = resources.ImageClass(name=stored.name, display_name=str(number), etag=stored.etag)
                stubs.galleries.UpdateClass(galleries.UpdateClassRequest(image_class=changed, update_mask=mask))
            else:
                renamed = resources.Gallery(name=gallery, display_name=str(number), etag=etag)
                stubs.galleries.UpdateGallery(galleries.UpdateGalleryRequest(gallery=renamed, update_mask=mask))
        except grpc.RpcError as error:
            return refusal(error)[1]
        return "made"

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(rename, range(8)))
    for each in (outcomes[::2], outcomes[1::2]):
        assert sorted(each) == ["ETAG_MISMATCH"] * 3 + ["made"]


def test_a_class_cannot_be_missing_from_a_gallery_that_is(stubs: Stubs) -> None:
    name = "galleries/none/classes/a"
    calls: list[Callable[[], object]] = [
        lambda: stubs.galleries.DeleteClass(galleries.DeleteClassRequest(name=name, allow_missing=True)),
        lambda: stubs.galleries.RemoveExemplar(
            galleries.RemoveExemplarRequest(class_name=name, sha256="0" * 64, allow_missing=True)
        ),
    ]
    for call in calls:
        with pytest.raises(grpc.RpcError) as refused:
            call()
        assert refusal(refused.value) == ("NOT_FOUND", "GALLERY_NOT_FOUND", {"gallery": "none"})
