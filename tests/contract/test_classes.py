"""Every gallery store's promises about classes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import pytest

from exemplar_server.errors import AbortedError, NotFoundError
from exemplar_server.store import (
    GalleryChanges,
    GalleryStore,
    NewClass,
)
from tests.contract.stores import (
    DIMENSION,
    MODEL,
    assert_answers_like_brute_force,
    exemplar,
    new_class,
    renormalized_mean,
    seeded,
    sha256,
    vector,
)


def test_a_stored_class_reads_back_as_it_was_given(store: GalleryStore) -> None:
    given = new_class("à/Ω"[0], 1, display_name="Ä", attributes={"ключ": "값"})
    (stored,), revision = store.put_classes("g", [given])
    assert stored.record == store.get_class("g", "à")
    assert not stored.replaced
    assert (stored.record.display_name, stored.record.attributes) == ("Ä", {"ключ": "값"})
    assert stored.record.exemplars == (given.exemplars[0].exemplar,)
    (only,) = given.exemplars
    assert store.exemplar_image("g", "à", only.exemplar.sha256) == (only.image, only.exemplar)
    assert np.array_equal(stored.record.embedding, vector(1))
    assert np.array_equal(store.get_class("g", "à").embedding, vector(1))
    assert store.get_gallery("g").revision == revision


def test_a_second_enrollment_replaces_the_first_whole(store: GalleryStore) -> None:
    store.put_classes("g", [NewClass("a", [exemplar(vector(1), b"1"), exemplar(vector(2), b"2")], "old", {"k": "v"})])
    first = store.get_class("g", "a")
    (stored,), _ = store.put_classes("g", [new_class("a", 3)])
    assert stored.replaced
    assert (stored.record.display_name, stored.record.attributes, len(stored.record.exemplars)) == ("", {}, 1)
    assert stored.record.create_time == first.create_time
    assert store.get_gallery("g").class_count == 1
    assert_answers_like_brute_force(store, "g", {"a": vector(3)}, vector(1), 5)
    with pytest.raises(NotFoundError, match="no exemplar with SHA-256"):
        store.exemplar_image("g", "a", first.exemplars[0].sha256)


def test_of_two_with_the_same_id_in_one_call_the_last_stays(store: GalleryStore) -> None:
    stored, _ = store.put_classes("g", [new_class("a", 1), new_class("b", 2), new_class("a", 3)])
    assert [item.replaced for item in stored] == [False, False, True]
    assert_answers_like_brute_force(store, "g", {"a": vector(3), "b": vector(2)}, vector(1), 5)


def test_a_class_of_many_exemplars_is_found_by_their_renormalized_mean(store: GalleryStore) -> None:
    seeds = (1, 2, 3)
    store.put_classes("g", [NewClass("a", [exemplar(vector(seed), bytes([seed])) for seed in seeds])])
    assert_answers_like_brute_force(store, "g", {"a": renormalized_mean(seeds)}, vector(9), 5)
    names = [item.sha256 for item in store.get_class("g", "a").exemplars]
    assert [store.exemplar_image("g", "a", name)[0] for name in names] == [b"\1", b"\2", b"\3"]


def test_a_change_of_attributes_leaves_exemplars_and_answers_alone(store: GalleryStore) -> None:
    store.put_classes("g", [new_class("a", 1, display_name="old", attributes={"k": "v"})])
    before = store.get_class("g", "a")
    updated = store.update_class("g", "a", attributes={"n": "1"})
    assert (updated.display_name, updated.attributes, updated.exemplars) == ("old", {"n": "1"}, before.exemplars)
    (candidate,) = store.search("g", vector(1)[None, :], 1).results[0]
    assert (candidate.display_name, candidate.attributes, candidate.distance) == ("old", {"n": "1"}, 0.0)


def test_a_deleted_class_is_gone_from_answers_and_pages(store: GalleryStore) -> None:
    store.put_classes("g", [new_class("a", 1), new_class("b", 2)])
    revision = store.delete_class("g", "a")
    assert store.get_gallery("g").revision == revision
    assert [record.id for record in store.list_classes("g")] == ["b"]
    assert_answers_like_brute_force(store, "g", {"b": vector(2)}, vector(1), 5)
    for call in (store.get_class, store.delete_class):
        with pytest.raises(NotFoundError, match="no class 'a'"):
            call("g", "a")


def test_classes_are_listed_by_id_a_page_at_a_time(store: GalleryStore) -> None:
    ids = ["b", "ä", "a", "Z", "aa", "𝄞", "～"]
    store.put_classes("g", [new_class(class_id, 1) for class_id in ids])
    seen: list[str] = []
    while page := store.list_classes("g", after=seen[-1] if seen else "", limit=2):
        seen += [record.id for record in page]
    assert seen == sorted(ids)


def test_an_exemplar_is_found_by_its_name_in_its_own_gallery(store: GalleryStore) -> None:
    store.create_gallery("other", MODEL, DIMENSION)
    for gallery, class_id in (("g", "b"), ("g", "a"), ("other", "c")):
        store.put_classes(gallery, [NewClass(class_id, [exemplar(vector(1), b"same")])])
    assert store.classes_with_exemplar("g", hashlib.sha256(b"same").hexdigest()) == ["a", "b"]
    assert store.classes_with_exemplar("g", "0" * 64) == []


def test_every_change_grows_the_revision(store: GalleryStore) -> None:
    revisions = [store.get_gallery("g").revision]
    for change in (
        lambda: store.put_classes("g", [new_class("a", 1)]),
        lambda: store.update_class("g", "a", display_name="A"),
        lambda: store.update_gallery("g", GalleryChanges(frozenset({"max_exemplars_per_class"}), "G", None, 2)),
        lambda: store.add_exemplars("g", "a", [seeded("a", 2)]),
        lambda: store.remove_exemplar("g", "a", sha256("a", 1)),
        lambda: store.delete_class("g", "a"),
    ):
        change()
        revisions.append(store.search("g", vector(1)[None, :], 1).gallery.revision)
    assert revisions == sorted(set(revisions))


def test_a_class_may_be_deleted_that_is_not_there_where_that_is_allowed(store: GalleryStore) -> None:
    store.put_classes("g", [new_class("a", 1)])
    revision = store.delete_class("g", "a", allow_missing=True)
    assert store.list_classes("g") == []
    assert store.delete_class("g", "a", allow_missing=True) == store.get_gallery("g").revision == revision
    with pytest.raises(NotFoundError, match="'none'"):
        store.delete_class("none", "a", allow_missing=True)


def test_no_classes_change_nothing(store: GalleryStore) -> None:
    before = store.get_gallery("g")
    assert store.put_classes("g", []) == ([], before.revision)
    assert store.get_gallery("g") == before


def test_every_change_of_a_class_changes_its_etag_and_reading_it_does_not(store: GalleryStore) -> None:
    store.update_gallery("g", GalleryChanges(frozenset({"max_exemplars_per_class"}), max_exemplars_per_class=2))
    store.put_classes("g", [new_class("a", 1)])
    etags = [store.get_class("g", "a").etag]
    assert store.get_class("g", "a").etag == store.list_classes("g")[0].etag == etags[0]
    changes: list[Callable[[], object]] = [
        lambda: store.update_class("g", "a", display_name="A"),
        lambda: store.update_class("g", "a", attributes={"k": "v"}),
        lambda: store.add_exemplars("g", "a", [seeded("a", 2)]),
        lambda: store.remove_exemplar("g", "a", sha256("a", 1)),
        lambda: store.put_classes("g", [new_class("a", 2, display_name="A", attributes={"k": "v"})]),
    ]
    for change in changes:
        change()
        etags.append(store.get_class("g", "a").etag)
    assert len(set(etags)) == len(etags)
    store.put_classes("g", [new_class("b", 3)])
    assert store.get_class("g", "a").etag == etags[-1]


def test_a_class_is_changed_only_while_it_has_the_etag_that_is_given(store: GalleryStore) -> None:
    (stored,), _ = store.put_classes("g", [new_class("a", 1)])
    changed = store.update_class("g", "a", display_name="A", etag=stored.record.etag)
    before = store.get_gallery("g")
    with pytest.raises(AbortedError, match="changed meanwhile; read it again") as refused:
        store.update_class("g", "a", display_name="B", etag=stored.record.etag)
    assert refused.value.reason == "ETAG_MISMATCH"
    assert (store.get_class("g", "a"), store.get_gallery("g")) == (changed, before)
    assert store.update_class("g", "a", display_name="B", etag=changed.etag).display_name == "B"
