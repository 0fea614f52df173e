"""What every gallery store promises, checked against a brute-force oracle."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from exemplar_encoder.calibration import gaps_of
from exemplar_server.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ServiceError,
)
from exemplar_server.store import (
    EmbeddedStore,
    Exemplar,
    GalleryChanges,
    GalleryStore,
    NewClass,
    NewExemplar,
)
from tests.calibrations import made_up

DIMENSION = 8
MODEL = "m" * 64

IMPLEMENTATIONS: dict[str, Callable[[Path], GalleryStore]] = {"embedded": EmbeddedStore}


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
def open_store(request: pytest.FixtureRequest) -> Callable[[Path], GalleryStore]:
    return IMPLEMENTATIONS[request.param]


@pytest.fixture
def store(open_store: Callable[[Path], GalleryStore], tmp_path: Path) -> Iterator[GalleryStore]:
    opened = open_store(tmp_path / "data")
    opened.create_gallery("g", MODEL, DIMENSION)
    yield opened
    opened.close()


def vector(seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=DIMENSION).astype(np.float32)
    return values / np.linalg.norm(values)


def exemplar(embedding: np.ndarray, image: bytes = b"image") -> NewExemplar:
    digest = hashlib.sha256(image).hexdigest()
    return NewExemplar(Exemplar(digest, 3, 4, "PNG", len(image)), image, embedding)


def seeded(class_id: str, seed: int) -> NewExemplar:
    return exemplar(vector(seed), f"{class_id}/{seed}".encode())


def new_class(class_id: str, *seeds: int, **fields: object) -> NewClass:
    return NewClass(class_id, [seeded(class_id, seed) for seed in seeds], **fields)  # type: ignore[arg-type]


def sha256(class_id: str, seed: int) -> str:
    return seeded(class_id, seed).exemplar.sha256


def renormalized_mean(seeds: Sequence[int]) -> np.ndarray:
    mean = np.mean([vector(seed).astype(np.float64) for seed in seeds], axis=0)
    return (mean / np.linalg.norm(mean)).astype(np.float32)


def nearest_by_brute_force(vectors: dict[str, np.ndarray], query: np.ndarray, count: int) -> list[tuple[str, float]]:
    distances = ((class_id, float(np.linalg.norm(held - query))) for class_id, held in vectors.items())
    return sorted(distances, key=lambda item: (round(item[1], 6), item[0]))[:count]


def assert_answers_like_brute_force(
    store: GalleryStore, gallery: str, vectors: dict[str, np.ndarray], query: np.ndarray, count: int
) -> None:
    found = store.search(gallery, query[None, :], count)
    assert found.class_count == len(vectors)
    gaps = gaps_of(np.array(list(vectors.values()), np.float32))
    if gaps is None:
        assert found.gaps is store.gaps(gallery) is None
    else:
        assert found.gaps is not None
        if len(vectors) <= 256:  # of a large gallery a sample may be measured
            assert found.gaps == pytest.approx(gaps, abs=1e-5)
        assert found.gaps.mean() == pytest.approx(gaps.mean(), abs=0.02)
        assert np.array_equal(store.gaps(gallery), found.gaps)
    expected = nearest_by_brute_force(vectors, query, count)
    assert [candidate.class_id for candidate in found.results[0]] == [class_id for class_id, _ in expected]
    assert [candidate.distance for candidate in found.results[0]] == pytest.approx([d for _, d in expected], abs=1e-6)


# Galleries


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
    with pytest.raises(FailedPreconditionError, match="1 classes") as refused:
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


# Classes


def test_a_stored_class_reads_back_as_it_was_given(store: GalleryStore) -> None:
    given = new_class("à/Ω"[0], 1, display_name="Ä", attributes={"ключ": "값"})
    (stored,), revision = store.put_classes("g", [given])
    assert stored.record == store.get_class("g", "à")
    assert not stored.replaced
    assert (stored.record.display_name, stored.record.attributes) == ("Ä", {"ключ": "값"})
    assert stored.record.exemplars == (given.exemplars[0].exemplar,)
    assert store.exemplar_image("g", "à", 0) == (given.exemplars[0].image, given.exemplars[0].exemplar)
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
    with pytest.raises(NotFoundError, match="no exemplar 1"):
        store.exemplar_image("g", "a", 1)


def test_of_two_with_the_same_id_in_one_call_the_last_stays(store: GalleryStore) -> None:
    stored, _ = store.put_classes("g", [new_class("a", 1), new_class("b", 2), new_class("a", 3)])
    assert [item.replaced for item in stored] == [False, False, True]
    assert_answers_like_brute_force(store, "g", {"a": vector(3), "b": vector(2)}, vector(1), 5)


def test_a_class_of_many_exemplars_is_found_by_their_renormalized_mean(store: GalleryStore) -> None:
    seeds = (1, 2, 3)
    store.put_classes("g", [NewClass("a", [exemplar(vector(seed), bytes([seed])) for seed in seeds])])
    assert_answers_like_brute_force(store, "g", {"a": renormalized_mean(seeds)}, vector(9), 5)
    assert [store.exemplar_image("g", "a", index)[0] for index in range(3)] == [b"\1", b"\2", b"\3"]


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


def test_an_image_is_found_by_its_bytes_in_its_own_gallery(store: GalleryStore) -> None:
    store.create_gallery("other", MODEL, DIMENSION)
    for gallery, class_id in (("g", "b"), ("g", "a"), ("other", "c")):
        store.put_classes(gallery, [NewClass(class_id, [exemplar(vector(1), b"same")])])
    assert store.classes_with_image("g", hashlib.sha256(b"same").hexdigest()) == ["a", "b"]
    assert store.classes_with_image("g", "0" * 64) == []


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
        revisions.append(store.search("g", vector(1)[None, :], 1).revision)
    assert revisions == sorted(set(revisions))


# Exemplars


@pytest.fixture
def roomy(store: GalleryStore) -> GalleryStore:
    """The gallery allows four exemplars a class, and holds `a` of two and `b` of one."""
    changes = GalleryChanges(frozenset({"max_exemplars_per_class"}), max_exemplars_per_class=4)
    store.update_gallery("g", changes)
    store.put_classes("g", [new_class("a", 1, 2, display_name="A", attributes={"k": "v"}), new_class("b", 9)])
    return store


def test_added_exemplars_come_after_the_others_and_move_the_class(roomy: GalleryStore) -> None:
    before = roomy.get_class("g", "a")
    record, revision = roomy.add_exemplars("g", "a", [seeded("a", 3), seeded("a", 4)])
    assert record == roomy.get_class("g", "a")
    assert record.exemplars == tuple(seeded("a", seed).exemplar for seed in (1, 2, 3, 4))
    assert (record.display_name, record.attributes, record.create_time) == ("A", {"k": "v"}, before.create_time)
    assert record.update_time > before.update_time
    assert [roomy.exemplar_image("g", "a", index)[0] for index in range(4)] == [b"a/1", b"a/2", b"a/3", b"a/4"]
    assert roomy.search("g", vector(0)[None, :], 1).revision == roomy.get_gallery("g").revision == revision
    expected = {"a": renormalized_mean((1, 2, 3, 4)), "b": vector(9)}
    assert_answers_like_brute_force(roomy, "g", expected, vector(3), 5)


def test_a_removed_exemplar_is_gone_and_the_others_move_up(roomy: GalleryStore) -> None:
    roomy.add_exemplars("g", "a", [seeded("a", 3)])
    record, revision = roomy.remove_exemplar("g", "a", sha256("a", 2))
    assert record == roomy.get_class("g", "a")
    assert record.exemplars == tuple(seeded("a", seed).exemplar for seed in (1, 3))
    assert [roomy.exemplar_image("g", "a", index)[0] for index in range(2)] == [b"a/1", b"a/3"]
    for index in (-1, 2):
        with pytest.raises(NotFoundError, match=f"no exemplar {index}"):
            roomy.exemplar_image("g", "a", index)
    assert roomy.classes_with_image("g", sha256("a", 2)) == []
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
    assert np.array_equal(roomy.gaps("g"), roomy.gaps("at-once"))
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


# Refusals


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_vector_that_is_not_finite_is_refused_and_changes_nothing(store: GalleryStore, bad: float) -> None:
    wrong = vector(1)
    wrong[3] = bad
    with pytest.raises(InvalidArgumentError):
        store.search("g", np.stack([vector(2), wrong]), 1)
    with pytest.raises(InvalidArgumentError):
        store.put_classes("g", [new_class("a", 1), NewClass("b", [exemplar(wrong)])])
    assert store.list_classes("g") == []
    store.put_classes("g", [new_class("a", 1)])
    with pytest.raises(InvalidArgumentError):
        store.add_exemplars("g", "a", [exemplar(wrong)])


def test_a_vector_of_another_dimension_is_refused_and_changes_nothing(store: GalleryStore) -> None:
    with pytest.raises(FailedPreconditionError) as refused:
        store.search("g", np.zeros((1, DIMENSION + 1), np.float32), 1)
    assert refused.value.reason == "DIMENSION_MISMATCH"
    with pytest.raises(FailedPreconditionError):
        store.put_classes("g", [new_class("a", 1), NewClass("b", [exemplar(np.zeros(3, np.float32))])])
    assert store.list_classes("g") == []


def test_a_gallery_that_does_not_exist_is_named(store: GalleryStore) -> None:
    calls: list[Callable[[], object]] = [
        lambda: store.get_gallery("none"),
        lambda: store.list_classes("none"),
        lambda: store.delete_gallery("none"),
        lambda: store.put_classes("none", [new_class("a", 1)]),
        lambda: store.search("none", vector(1)[None, :], 1),
        lambda: store.nearest_pairs("none", 1, 1.0),
        lambda: store.update_gallery("none", GalleryChanges(frozenset())),
        lambda: store.exemplar_image("none", "a", 0),
        lambda: store.exemplar_embeddings("none", "a"),
        lambda: store.add_exemplars("none", "a", [seeded("a", 1)]),
        lambda: store.remove_exemplar("none", "a", sha256("a", 1)),
    ]
    for call in calls:
        with pytest.raises(NotFoundError, match="'none'"):
            call()


# Answers


def test_many_queries_are_answered_as_each_would_be_alone(store: GalleryStore) -> None:
    vectors = {f"c{seed:03}": vector(seed) for seed in range(300)}
    store.put_classes("g", [new_class(class_id, int(class_id[1:])) for class_id in vectors])
    queries = np.stack([vector(1000 + seed) for seed in range(64)])
    together = store.search("g", queries, 7).results
    alone = [store.search("g", query[None, :], 7).results[0] for query in queries]
    assert together == alone
    for query in queries[:5]:
        assert_answers_like_brute_force(store, "g", vectors, query, 7)


def test_ties_are_ordered_by_class_id_even_beyond_what_is_asked_for(store: GalleryStore) -> None:
    ids = [f"c{number:03}" for number in np.random.default_rng(0).permutation(100)]
    store.put_classes("g", [NewClass(class_id, [exemplar(vector(1))]) for class_id in ids])
    store.put_classes("g", [new_class("near", 2)])
    found = store.search("g", vector(2)[None, :], 4).results[0]
    assert [candidate.class_id for candidate in found] == ["near", "c000", "c001", "c002"]
    assert found[0].distance == 0.0


def test_the_nearest_pairs_are_those_of_brute_force(store: GalleryStore) -> None:
    vectors = {f"c{seed:03}": vector(seed) for seed in range(120)}
    store.put_classes("g", [new_class(class_id, int(class_id[1:])) for class_id in vectors])
    ids = sorted(vectors)
    expected = sorted(
        (float(np.linalg.norm(vectors[a] - vectors[b])), a, b) for i, a in enumerate(ids) for b in ids[i + 1 :]
    )
    threshold = expected[200][0] + 1e-6
    pairs, close, revision = store.nearest_pairs("g", 30, threshold)
    assert [(pair.first, pair.second) for pair in pairs] == [(a, b) for _, a, b in expected[:30]]
    assert [pair.distance for pair in pairs] == pytest.approx([d for d, _, _ in expected[:30]], abs=1e-6)
    assert close == 201
    assert revision == store.get_gallery("g").revision


def test_everything_is_there_after_closing_and_opening(
    open_store: Callable[[Path], GalleryStore], tmp_path: Path
) -> None:
    store = open_store(tmp_path)
    store.create_gallery("g", MODEL, DIMENSION, "G", 0.05, 2)
    store.put_classes("g", [new_class(f"c{seed}", seed, attributes={"seed": str(seed)}) for seed in range(50)])
    store.put_classes("g", [new_class("c7", 77)])
    store.delete_class("g", "c9")
    store.add_exemplars("g", "c11", [seeded("c11", 78)])
    store.remove_exemplar("g", "c11", sha256("c11", 11))
    store.add_exemplars("g", "c11", [seeded("c11", 79)])
    store.update_gallery("g", GalleryChanges(frozenset({"calibration"}), calibration=made_up(1 / 3)))
    queries = np.stack([vector(seed) for seed in range(90, 110)])
    before = store.get_gallery("g"), store.list_classes("g"), store.search("g", queries, 6).results
    gaps = store.gaps("g")
    store.close()
    store = open_store(tmp_path)
    assert (store.get_gallery("g"), store.list_classes("g"), store.search("g", queries, 6).results) == before
    assert np.array_equal(store.gaps("g"), gaps)
    store.close()


def test_searches_beside_changes_each_see_one_state_whole(store: GalleryStore) -> None:
    """A search that saw half a change would name more classes, or fewer, than the state it says it saw."""
    store.put_classes("g", [new_class("c0", 0)])
    wrong: list[object] = []
    done = threading.Event()

    def search() -> None:
        while not done.is_set():
            try:
                found = store.search("g", vector(1)[None, :], 100)
            except (ServiceError, KeyError) as error:
                wrong.append(error)
                return
            if len(found.results[0]) != found.class_count:
                wrong.append(found)

    searchers = [threading.Thread(target=search) for _ in range(2)]
    for thread in searchers:
        thread.start()
    for number in range(40):
        store.put_classes("g", [new_class(f"c{number}", number), new_class("other", number)])
        store.delete_class("g", "other")
    done.set()
    for thread in searchers:
        thread.join()
    assert wrong == []


# Any sequence of changes


@dataclass
class _Model:
    """What a store must hold after the same changes, in the plainest form."""

    seeds: dict[str, list[int]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    def vectors(self) -> dict[str, np.ndarray]:
        return {class_id: renormalized_mean(seeds) for class_id, seeds in self.seeds.items()}


class AnySequenceOfChanges(RuleBasedStateMachine):
    """Enroll, replace, rename, add, remove, delete and reopen in any order: the store agrees with a dict."""

    ids = st.sampled_from(["a", "b", "c", "ä", "Z z"])
    one = st.integers(0, 5)
    several = st.lists(one, min_size=1, max_size=4, unique=True)
    open_store: Callable[[Path], GalleryStore]
    directories: Callable[[], Path]

    @initialize()
    def start(self) -> None:
        self.path = type(self).directories()
        self.store = type(self).open_store(self.path)
        self.store.create_gallery("g", MODEL, DIMENSION, max_exemplars_per_class=3)
        self.model = _Model()

    @rule(changes=st.lists(st.tuples(ids, several, st.text(max_size=3)), min_size=1, max_size=4))
    def enroll(self, changes: list[tuple[str, list[int], str]]) -> None:
        self.store.put_classes("g", [new_class(i, *seeds, display_name=name) for i, seeds, name in changes])
        for class_id, seeds, name in changes:
            self.model.seeds[class_id], self.model.names[class_id] = list(seeds), name

    @precondition(lambda self: self.model.seeds)
    @rule(data=st.data(), seeds=several)
    def add(self, data: st.DataObject, seeds: list[int]) -> None:
        class_id = data.draw(st.sampled_from(sorted(self.model.seeds)))
        held = self.model.seeds[class_id]
        grown = [*held, *(seed for seed in seeds if seed not in held)]
        added = [seeded(class_id, seed) for seed in seeds]
        if len(grown) > max(3, len(held)):
            with pytest.raises(FailedPreconditionError):
                self.store.add_exemplars("g", class_id, added)
        else:
            self.store.add_exemplars("g", class_id, added)
            self.model.seeds[class_id] = grown

    @precondition(lambda self: self.model.seeds)
    @rule(data=st.data(), seed=one)
    def remove(self, data: st.DataObject, seed: int) -> None:
        class_id = data.draw(st.sampled_from(sorted(self.model.seeds)))
        held = self.model.seeds[class_id]
        if seed in held and len(held) > 1:
            self.store.remove_exemplar("g", class_id, sha256(class_id, seed))
            held.remove(seed)
        else:
            with pytest.raises(FailedPreconditionError if seed in held else NotFoundError):
                self.store.remove_exemplar("g", class_id, sha256(class_id, seed))

    @rule(class_id=ids)
    def delete(self, class_id: str) -> None:
        if class_id in self.model.seeds:
            self.store.delete_class("g", class_id)
            del self.model.seeds[class_id], self.model.names[class_id]
        else:
            with pytest.raises(NotFoundError):
                self.store.delete_class("g", class_id)

    @precondition(lambda self: self.model.seeds)
    @rule(data=st.data(), name=st.text(max_size=3))
    def rename(self, data: st.DataObject, name: str) -> None:
        class_id = data.draw(st.sampled_from(sorted(self.model.seeds)))
        self.store.update_class("g", class_id, display_name=name)
        self.model.names[class_id] = name

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = type(self).open_store(self.path)

    @invariant()
    def agrees(self) -> None:
        listed = {record.id: record.display_name for record in self.store.list_classes("g")}
        assert listed == self.model.names
        assert list(listed) == sorted(listed)
        assert_answers_like_brute_force(self.store, "g", self.model.vectors(), vector(7), 3)
        for class_id, seeds in self.model.seeds.items():
            held = [item.sha256 for item in self.store.get_class("g", class_id).exemplars]
            assert held == [sha256(class_id, seed) for seed in seeds]

    def teardown(self) -> None:
        self.store.close()


def test_any_sequence_of_changes_leaves_what_a_dict_would_hold(
    open_store: Callable[[Path], GalleryStore], tmp_path_factory: pytest.TempPathFactory
) -> None:
    class Bound(AnySequenceOfChanges):
        pass

    Bound.open_store = staticmethod(open_store)  # type: ignore[assignment]
    Bound.directories = staticmethod(lambda: tmp_path_factory.mktemp("any"))  # type: ignore[assignment]
    case = Bound.TestCase
    case.settings = settings(
        max_examples=15, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
    )
    case().runTest()  # type: ignore[attr-defined]
