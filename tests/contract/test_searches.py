"""The answers of every gallery store, checked against a brute-force oracle, and its refusals."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from exemplar_server.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ServiceError,
)
from exemplar_server.store import (
    GalleryChanges,
    GalleryStore,
    NewClass,
)
from tests.calibrations import made_up
from tests.contract.stores import (
    DIMENSION,
    MODEL,
    assert_answers_like_brute_force,
    exemplar,
    listed,
    new_class,
    seeded,
    sha256,
    vector,
)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38, -3e38])
def test_a_vector_that_has_no_distances_is_refused_and_changes_nothing(store: GalleryStore, bad: float) -> None:
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
        lambda: store.exemplar_image("none", "a", sha256("a", 1)),
        lambda: store.exemplar_embeddings("none", "a"),
        lambda: store.add_exemplars("none", "a", [seeded("a", 1)]),
        lambda: store.remove_exemplar("none", "a", sha256("a", 1)),
    ]
    for call in calls:
        with pytest.raises(NotFoundError, match="'none'"):
            call()


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


def test_a_pair_at_the_very_threshold_is_counted_as_its_distance_says(store: GalleryStore) -> None:
    store.put_classes("g", [new_class(f"c{seed}", seed) for seed in range(20)])
    for pair in store.nearest_pairs("g", 190, 0.0)[0]:
        # A number that is no float32, and rounds to the distance.
        for threshold in (pair.distance * (1 - 1e-9), pair.distance, pair.distance * (1 + 1e-9)):
            pairs, close, _ = store.nearest_pairs("g", 190, threshold)
            assert close == sum(each.distance < threshold for each in pairs)


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
    assert listed(store.gaps("g")) == listed(gaps)
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
            if len(found.results[0]) != found.gallery.class_count:
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
