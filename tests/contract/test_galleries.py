"""Every gallery store's promises about galleries."""

from __future__ import annotations

import pytest

from exemplar_server.errors import (
    AbortedError,
    AlreadyExistsError,
    FailedPreconditionError,
    NotFoundError,
)
from exemplar_server.store import (
    GalleryChanges,
    GalleryStore,
)
from tests.calibrations import made_up
from tests.contract.stores import (
    DIMENSION,
    MODEL,
    new_class,
    vector,
)


def test_a_new_gallery_is_empty_and_keeps_its_settings(store: GalleryStore) -> None:
    created = store.create_gallery("stamps", MODEL, DIMENSION, "Stamps", 0.02, 4)
    assert created == store.get_gallery("stamps")
    assert (created.display_name, created.false_accept_rate, created.max_exemplars_per_class) == ("Stamps", 0.02, 4)
    assert (created.model, created.dimension, created.class_count) == (MODEL, DIMENSION, 0)
    assert store.search("stamps", vector(1)[None, :], 5).results == [[]]


def test_a_gallery_id_cannot_be_taken_twice(store: GalleryStore) -> None:
    with pytest.raises(AlreadyExistsError, match="'g'"):
        store.create_gallery("g", MODEL, DIMENSION)


def test_an_update_changes_only_the_fields_named(store: GalleryStore) -> None:
    store.create_gallery("stamps", MODEL, DIMENSION, "Stamps", 0.02, 4)
    changes = GalleryChanges(frozenset({"false_accept_rate"}), display_name="ignored", false_accept_rate=None)
    updated = store.update_gallery("stamps", changes)
    assert (updated.display_name, updated.false_accept_rate, updated.max_exemplars_per_class) == ("Stamps", None, 4)
    assert updated == store.get_gallery("stamps")


def test_a_calibration_is_set_kept_beside_other_changes_and_cleared(store: GalleryStore) -> None:
    assert store.get_gallery("g").calibration is None
    fitted = made_up(1 / 3)
    updated = store.update_gallery("g", GalleryChanges(frozenset({"calibration"}), calibration=fitted))
    assert updated.calibration == fitted
    store.put_classes("g", [new_class("a", 1)])
    store.update_gallery("g", GalleryChanges(frozenset({"display_name"}), display_name="G"))
    assert store.get_gallery("g").calibration == store.list_galleries()[0].calibration == fitted
    cleared = store.update_gallery("g", GalleryChanges(frozenset({"calibration"})))
    assert (cleared.calibration, cleared.display_name, cleared.class_count) == (None, "G", 1)
    assert cleared.revision > updated.revision


def test_galleries_are_listed_by_id_a_page_at_a_time(store: GalleryStore) -> None:
    for name in ("b", "c", "a"):
        store.create_gallery(name, MODEL, DIMENSION)
    assert [gallery.id for gallery in store.list_galleries(limit=3)] == ["a", "b", "c"]
    assert [gallery.id for gallery in store.list_galleries(after="c")] == ["g"]


def test_a_gallery_that_holds_classes_is_deleted_only_with_force(store: GalleryStore) -> None:
    store.put_classes("g", [new_class("a", 1)])
    with pytest.raises(FailedPreconditionError, match=r"\(classes: 1\)") as refused:
        store.delete_gallery("g")
    assert refused.value.reason == "GALLERY_NOT_EMPTY"
    store.delete_gallery("g", force=True)
    with pytest.raises(NotFoundError):
        store.search("g", vector(1)[None, :], 1)
    store.create_gallery("g", MODEL, DIMENSION)
    assert store.list_classes("g") == []


def test_one_gallery_knows_nothing_of_another(store: GalleryStore) -> None:
    store.create_gallery("other", MODEL, DIMENSION)
    store.put_classes("g", [new_class("a", 1)])
    store.put_classes("other", [new_class("b", 1)])
    assert [c.class_id for c in store.search("g", vector(1)[None, :], 9).results[0]] == ["a"]
    with pytest.raises(NotFoundError, match="no class 'b'"):
        store.get_class("g", "b")


def test_a_gallery_may_be_deleted_that_is_not_there_where_that_is_allowed(store: GalleryStore) -> None:
    store.delete_gallery("none", allow_missing=True)
    store.put_classes("g", [new_class("a", 1)])
    with pytest.raises(FailedPreconditionError, match=r"\(classes: 1\)"):
        store.delete_gallery("g", allow_missing=True)
    store.delete_gallery("g", force=True, allow_missing=True)
    assert store.list_galleries() == []


def test_a_change_of_settings_changes_the_etag_and_a_change_of_classes_does_not(store: GalleryStore) -> None:
    etags = [store.get_gallery("g").etag]
    changes = [
        GalleryChanges(frozenset({"display_name"}), display_name="G"),
        GalleryChanges(frozenset({"false_accept_rate"}), false_accept_rate=0.1),
        GalleryChanges(frozenset({"max_exemplars_per_class"}), max_exemplars_per_class=2),
        GalleryChanges(frozenset({"calibration"}), calibration=made_up()),
        GalleryChanges(frozenset({"calibration"}), calibration=made_up(0.6)),
    ]
    etags += [store.update_gallery("g", change).etag for change in changes]
    assert len(set(etags)) == len(etags)
    store.put_classes("g", [new_class("a", 1)])
    assert store.get_gallery("g").etag == store.list_galleries()[0].etag == etags[-1]


def test_a_gallery_is_changed_only_while_it_has_the_etag_that_is_given(store: GalleryStore) -> None:
    stale = store.get_gallery("g").etag
    renamed = GalleryChanges(frozenset({"display_name"}), display_name="G")
    changed = store.update_gallery("g", renamed, etag=stale)
    again = GalleryChanges(frozenset({"display_name"}), display_name="again")
    with pytest.raises(AbortedError, match="changed meanwhile; read it again") as refused:
        store.update_gallery("g", again, etag=stale)
    assert refused.value.reason == "ETAG_MISMATCH"
    assert store.get_gallery("g") == changed
    assert store.update_gallery("g", again, etag=changed.etag).display_name == "again"
