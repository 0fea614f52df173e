"""Every gallery store's promises about the exemplars of a class."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from exemplar_encoder import EncodedImage, Region
from exemplar_server.errors import (
    FailedPreconditionError,
    NotFoundError,
    ServiceError,
)
from exemplar_server.store import (
    Exemplar,
    GalleryChanges,
    GalleryStore,
    NewClass,
    NewExemplar,
)
from tests.contract.stores import (
    DIMENSION,
    MODEL,
    assert_answers_like_brute_force,
    listed,
    new_class,
    renormalized_mean,
    seeded,
    sha256,
    vector,
)


def test_added_exemplars_come_after_the_others_and_move_the_class(roomy: GalleryStore) -> None:
    before = roomy.get_class("g", "a")
    record, revision = roomy.add_exemplars("g", "a", [seeded("a", 3), seeded("a", 4)])
    assert record == roomy.get_class("g", "a")
    assert record.exemplars == tuple(seeded("a", seed).exemplar for seed in (1, 2, 3, 4))
    assert (record.display_name, record.attributes, record.create_time) == ("A", {"k": "v"}, before.create_time)
    assert record.update_time > before.update_time
    assert [roomy.exemplar_image("g", "a", sha256("a", seed))[0] for seed in (1, 4)] == [b"a/1", b"a/4"]
    assert roomy.search("g", vector(0)[None, :], 1).gallery == roomy.get_gallery("g")
    assert roomy.get_gallery("g").revision == revision
    expected = {"a": renormalized_mean((1, 2, 3, 4)), "b": vector(9)}
    assert_answers_like_brute_force(roomy, "g", expected, vector(3), 5)


def test_a_removed_exemplar_is_gone_and_the_others_move_up(roomy: GalleryStore) -> None:
    roomy.add_exemplars("g", "a", [seeded("a", 3)])
    record, revision = roomy.remove_exemplar("g", "a", sha256("a", 2))
    assert record == roomy.get_class("g", "a")
    assert record.exemplars == tuple(seeded("a", seed).exemplar for seed in (1, 3))
    assert [roomy.exemplar_image("g", "a", sha256("a", seed))[0] for seed in (1, 3)] == [b"a/1", b"a/3"]
    with pytest.raises(NotFoundError, match=f"no exemplar with SHA-256 {sha256('a', 2)}"):
        roomy.exemplar_image("g", "a", sha256("a", 2))
    assert roomy.classes_with_exemplar("g", sha256("a", 2)) == []
    assert roomy.get_gallery("g").revision == revision
    expected = {"a": renormalized_mean((1, 3)), "b": vector(9)}
    assert_answers_like_brute_force(roomy, "g", expected, vector(2), 5)


def test_the_embeddings_of_a_class_are_those_of_its_exemplars_in_order(roomy: GalleryStore) -> None:
    roomy.add_exemplars("g", "a", [seeded("a", 3)])
    found = roomy.exemplar_embeddings("g", "a")
    assert list(found) == [sha256("a", seed) for seed in (1, 2, 3)]
    assert np.array_equal(list(found.values()), [vector(seed) for seed in (1, 2, 3)])


def test_a_class_is_found_as_if_what_it_has_become_had_been_enrolled_at_once(roomy: GalleryStore) -> None:
    roomy.remove_exemplar("g", "a", sha256("a", 1))
    roomy.add_exemplars("g", "a", [seeded("a", 4), seeded("a", 5)])
    roomy.create_gallery("at-once", MODEL, DIMENSION)
    roomy.put_classes("at-once", [new_class("a", 2, 4, 5), new_class("b", 9)])
    queries = np.stack([vector(seed) for seed in range(40, 60)])

    def answers(gallery: str) -> list[list[tuple[str, float]]]:
        found = roomy.search(gallery, queries, 2).results
        return [[(candidate.class_id, candidate.distance) for candidate in candidates] for candidates in found]

    assert answers("g") == answers("at-once")
    assert listed(roomy.gaps("g")) == listed(roomy.gaps("at-once"))
    assert roomy.nearest_pairs("g", 1, 9.0)[:2] == roomy.nearest_pairs("at-once", 1, 9.0)[:2]


def test_an_exemplar_that_is_there_already_is_passed_over(roomy: GalleryStore) -> None:
    before = roomy.get_class("g", "a"), roomy.get_gallery("g").revision
    assert roomy.add_exemplars("g", "a", [seeded("a", 2), seeded("a", 1)]) == before
    assert roomy.get_gallery("g").revision == before[1]
    record, _ = roomy.add_exemplars("g", "a", [seeded("a", 2), seeded("a", 3), seeded("a", 3)])
    assert record.exemplars == tuple(seeded("a", seed).exemplar for seed in (1, 2, 3))


def test_more_exemplars_than_the_gallery_allows_are_refused_saying_what_to_do(roomy: GalleryStore) -> None:
    before = roomy.get_class("g", "a"), roomy.get_gallery("g")
    too_many = [seeded("a", seed) for seed in (2, 3, 4, 5)]
    with pytest.raises(
        FailedPreconditionError, match=r"allows 4 .* remove some .* max_exemplars_per_class"
    ) as refused:
        roomy.add_exemplars("g", "a", too_many)
    assert refused.value.reason == "TOO_MANY_EXEMPLARS"
    assert (roomy.get_class("g", "a"), roomy.get_gallery("g")) == before
    roomy.update_gallery("g", GalleryChanges(frozenset({"max_exemplars_per_class"})))
    with pytest.raises(FailedPreconditionError, match="allows 1"):
        roomy.add_exemplars("g", "b", [seeded("b", 1)])


def test_the_last_exemplar_stays_and_the_refusal_says_to_delete_the_class(roomy: GalleryStore) -> None:
    before = roomy.get_gallery("g")
    with pytest.raises(FailedPreconditionError, match="delete the class instead") as refused:
        roomy.remove_exemplar("g", "b", sha256("b", 9))
    assert refused.value.reason == "LAST_EXEMPLAR"
    assert roomy.get_gallery("g") == before


def test_an_exemplar_or_a_class_that_is_not_there_is_named(roomy: GalleryStore) -> None:
    with pytest.raises(NotFoundError, match=f"'b' of gallery 'g' has no exemplar with SHA-256 {sha256('a', 1)}"):
        roomy.remove_exemplar("g", "b", sha256("a", 1))
    for call in (
        lambda: roomy.add_exemplars("g", "c", [seeded("c", 1)]),
        lambda: roomy.remove_exemplar("g", "c", sha256("c", 1)),
        lambda: roomy.exemplar_embeddings("g", "c"),
    ):
        with pytest.raises(NotFoundError, match="no class 'c'"):
            call()


def test_exemplars_added_beside_each_other_are_all_kept_up_to_what_is_allowed(store: GalleryStore) -> None:
    changes = GalleryChanges(frozenset({"max_exemplars_per_class"}), max_exemplars_per_class=10)
    store.update_gallery("g", changes)
    store.put_classes("g", [new_class("a", 0), new_class("b", 99)])
    refused: list[int] = []

    def add(seed: int) -> None:
        try:
            store.add_exemplars("g", "a", [seeded("a", seed)])
        except FailedPreconditionError:
            refused.append(seed)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(1, 13)))
    kept = [seed for seed in range(13) if seed not in refused]
    assert len(kept) == 10
    assert {item.sha256 for item in store.get_class("g", "a").exemplars} == {sha256("a", seed) for seed in kept}
    expected = {"a": renormalized_mean(kept), "b": vector(99)}
    assert_answers_like_brute_force(store, "g", expected, vector(50), 5)


def test_removals_beside_each_other_take_one_exemplar_each_and_leave_one(store: GalleryStore) -> None:
    store.put_classes("g", [new_class("a", *range(8)), new_class("b", 99)])
    outcomes: list[str] = []

    def remove(seed: int) -> None:
        try:
            store.remove_exemplar("g", "a", sha256("a", seed))
        except ServiceError as error:
            outcomes.append(error.reason)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(remove, [*range(8), *range(7)]))
    (last,) = store.get_class("g", "a").exemplars
    assert set(outcomes) == {"EXEMPLAR_NOT_FOUND", "LAST_EXEMPLAR"}
    (seed,) = (seed for seed in range(8) if sha256("a", seed) == last.sha256)
    assert_answers_like_brute_force(store, "g", {"a": vector(seed), "b": vector(99)}, vector(50), 5)


def test_an_exemplar_may_be_removed_that_is_not_there_where_that_is_allowed(roomy: GalleryStore) -> None:
    removed = roomy.remove_exemplar("g", "a", sha256("a", 1), allow_missing=True)
    assert removed[0].exemplars == (seeded("a", 2).exemplar,)
    assert roomy.remove_exemplar("g", "a", sha256("a", 1), allow_missing=True) == removed
    assert roomy.get_gallery("g").revision == removed[1]
    with pytest.raises(FailedPreconditionError, match="delete the class instead"):
        roomy.remove_exemplar("g", "a", sha256("a", 2), allow_missing=True)
    with pytest.raises(NotFoundError, match="no class 'c'"):
        roomy.remove_exemplar("g", "c", sha256("c", 1), allow_missing=True)


def test_parts_of_one_picture_are_exemplars_of_their_own(roomy: GalleryStore) -> None:
    content = b"a picture of two things"
    regions = [Region(0, 0, 8, 16), Region(8, 0, 8, 16), Region(0.0, 0.5, 1.0, 0.5, "fraction"), None]
    parts = []
    for seed, region in enumerate(regions):
        name = EncodedImage(content, region).sha256()
        parts.append(NewExemplar(Exemplar(name, 16, 16, "PNG", len(content), region), content, vector(seed)))
    (stored,), _ = roomy.put_classes("g", [NewClass("parts", parts)])
    assert stored.record == roomy.get_class("g", "parts")
    assert [item.region for item in stored.record.exemplars] == regions
    for part in parts:
        assert roomy.exemplar_image("g", "parts", part.exemplar.sha256) == (content, part.exemplar)
    roomy.remove_exemplar("g", "parts", parts[0].exemplar.sha256)
    kept = [part.exemplar for part in parts[1:]]
    assert list(roomy.get_class("g", "parts").exemplars) == kept
