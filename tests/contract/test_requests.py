"""Every gallery store's promise about requests: however often one is made, it has one effect and one response."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from exemplar_server.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from exemplar_server.store import GalleryChanges, GalleryStore, RepeatedRequest, Request
from tests.contract.stores import DIMENSION, MODEL, new_class, seeded, sha256

RENAMED = GalleryChanges(frozenset({"display_name"}), display_name="G")

# Changes of a gallery `g` that holds `a` with two exemplars.
CHANGES: dict[str, Callable[[GalleryStore, Request[Any] | None], object]] = {
    "create a gallery": lambda store, request: store.create_gallery("new", MODEL, DIMENSION, request=request),
    "update a gallery": lambda store, request: store.update_gallery("g", RENAMED, request=request),
    "delete a gallery": lambda store, request: store.delete_gallery("g", force=True, request=request),
    "delete a missing gallery": lambda store, request: store.delete_gallery("x", False, True, request),
    "put classes": lambda store, request: store.put_classes("g", [new_class("b", 1)], request),
    "put no classes": lambda store, request: store.put_classes("g", [], request),
    "update a class": lambda store, request: store.update_class("g", "a", "A", request=request),
    "delete a class": lambda store, request: store.delete_class("g", "a", request=request),
    "delete a missing class": lambda store, request: store.delete_class("g", "x", True, request),
    "add an exemplar": lambda store, request: store.add_exemplars("g", "a", [seeded("a", 3)], request),
    "add a present exemplar": lambda store, request: store.add_exemplars("g", "a", [seeded("a", 1)], request),
    "remove an exemplar": lambda store, request: store.remove_exemplar("g", "a", sha256("a", 1), False, request),
    "remove a missing exemplar": lambda store, request: store.remove_exemplar(
        "g", "a", sha256("a", 9), True, request
    ),
}


@pytest.fixture
def stocked(store: GalleryStore) -> GalleryStore:
    changes = GalleryChanges(frozenset({"max_exemplars_per_class"}), max_exemplars_per_class=3)
    store.update_gallery("g", changes)
    store.put_classes("g", [new_class("a", 1, 2)])
    return store


def request(asked: str = "a change", written: Callable[[Any], bytes] | None = None) -> Request[Any]:
    digest = hashlib.sha256(asked.encode()).digest()
    return Request("the-id", "Change", digest, written or (lambda outcome: repr(outcome).encode()))


def state(store: GalleryStore) -> object:
    return [(gallery, store.list_classes(gallery.id)) for gallery in store.list_galleries()]


@pytest.mark.parametrize("name", CHANGES)
def test_a_repeated_request_has_one_effect_and_the_first_response(stocked: GalleryStore, name: str) -> None:
    change = CHANGES[name]
    assert stocked.response_to(request()) is None
    outcome = change(stocked, request())
    before = state(stocked)
    for _ in range(2):
        with pytest.raises(RepeatedRequest) as repeated:
            change(stocked, request(written=lambda outcome: b"another response"))
        assert repeated.value.response == stocked.response_to(request()) == repr(outcome).encode()
    assert state(stocked) == before


@pytest.mark.parametrize("name", CHANGES)
def test_a_request_is_known_again_after_closing_and_opening(
    open_store: Callable[[Path], GalleryStore], tmp_path: Path, name: str
) -> None:
    store = open_store(tmp_path)
    store.create_gallery("g", MODEL, DIMENSION, max_exemplars_per_class=3)
    store.put_classes("g", [new_class("a", 1, 2)])
    outcome = CHANGES[name](store, request())
    before = state(store)
    store.close()
    store = open_store(tmp_path)
    with pytest.raises(RepeatedRequest) as repeated:
        CHANGES[name](store, request())
    assert repeated.value.response == repr(outcome).encode()
    assert state(store) == before
    store.close()


def test_a_repeated_request_is_answered_as_it_was_even_if_it_would_be_refused_now(stocked: GalleryStore) -> None:
    stocked.delete_gallery("g", force=True, request=request())
    with pytest.raises(RepeatedRequest):
        stocked.delete_gallery("g", force=True, request=request())
    with pytest.raises(NotFoundError):
        stocked.delete_gallery("g", force=True)


def test_an_id_that_was_another_request_s_is_refused(stocked: GalleryStore) -> None:
    stocked.update_gallery("g", RENAMED, request=request())
    before = state(stocked)
    for reused in (request("another change"), Request("the-id", "Other", request().digest, lambda outcome: b"")):
        with pytest.raises(InvalidArgumentError):
            stocked.response_to(reused)
        with pytest.raises(InvalidArgumentError, match=r"the-id was the id of another request, of Change") as refused:
            stocked.put_classes("g", [new_class("b", 1)], reused)
        assert refused.value.reason == "REQUEST_ID_REUSED"
        assert refused.value.metadata["field"] == "request_id"
    assert state(stocked) == before


def test_a_request_that_fails_leaves_nothing_behind_and_its_id_is_free(stocked: GalleryStore) -> None:
    with pytest.raises(FailedPreconditionError):
        stocked.delete_gallery("g", request=request())
    assert stocked.response_to(request()) is None
    stocked.delete_gallery("g", force=True, request=request("with force"))


@pytest.mark.parametrize("name", CHANGES)
def test_a_response_that_cannot_be_written_undoes_the_change(stocked: GalleryStore, name: str) -> None:
    def refuse(outcome: object) -> bytes:
        raise FailedPreconditionError("REFUSED", "on second thoughts")

    before = state(stocked)
    with pytest.raises(FailedPreconditionError, match="on second thoughts"):
        CHANGES[name](stocked, request(written=refuse))
    assert state(stocked) == before
    assert stocked.response_to(request()) is None
    CHANGES[name](stocked, request())


def test_one_request_made_from_many_threads_at_once_has_one_effect(stocked: GalleryStore) -> None:
    before = stocked.get_gallery("g").revision
    answers: list[bytes] = []

    def make(number: int) -> None:
        try:
            answers.append(repr(stocked.put_classes("g", [new_class("b", 1)], request())).encode())
        except RepeatedRequest as repeated:
            answers.append(repeated.response)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(make, range(20)))
    assert len(answers) == 20
    assert len(set(answers)) == 1
    assert stocked.get_gallery("g").revision == before + 1
