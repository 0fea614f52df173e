"""An index follows its truth: whoever changes a gallery, and whatever becomes of the index."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from exemplar_encoder.arrays import Floats, Ints
from exemplar_server.errors import NotFoundError, UnavailableError
from exemplar_server.store import GalleryChanges
from exemplar_server.store.index import gallery_index
from exemplar_server.store.index.flat import FlatIndex
from exemplar_server.store.index.kinds import ExactKind
from exemplar_server.store.index.vector_index import VectorIndex, fingerprint
from exemplar_server.store.index.vector_source import Filled, VectorSource
from exemplar_server.store.indexed_store import IndexedStore
from exemplar_server.store.truth import change_rows
from exemplar_server.store.truth.sql_truth import SqlTruth
from exemplar_server.store.truth.sqlite import SqliteDatabase
from tests.contract.stores import DIMENSION, MODEL, new_class, vector


class Faulty(FlatIndex):
    """An index that loses rows, notices that, fails, and is outgrown, as a test tells it to."""

    failing = False
    too_small = False

    def lose(self, rows: list[int]) -> None:
        super().remove(np.array(rows, np.int64))

    def put(self, rows: Ints, vectors: Floats) -> None:
        if self.failing:
            raise UnavailableError("INDEX_UNAVAILABLE", "the index is away", retry_after=1.0)
        super().put(rows, vectors)

    def outgrown(self) -> bool:
        return self.too_small


class FaultyKind(ExactKind):
    """Starts with faulty indexes, and builds sound ones once `may_build` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[Faulty] = []
        self.may_build = threading.Event()
        self.building = threading.Event()

    def start(self, source: VectorSource, saved: Path | None) -> tuple[VectorIndex, Filled]:
        index = Faulty(DIMENSION)
        self.made.append(index)
        return index, source.fill(index)

    def build(self, source: VectorSource) -> tuple[VectorIndex, Filled]:
        built = super().start(source, None)
        self.building.set()
        assert self.may_build.wait(60)
        return built


@pytest.fixture
def database(tmp_path: Path) -> SqliteDatabase:
    return SqliteDatabase(tmp_path)


@pytest.fixture
def kind() -> FaultyKind:
    return FaultyKind()


@pytest.fixture
def store(database: SqliteDatabase, kind: FaultyKind) -> Iterator[IndexedStore]:
    """Return a store whose gallery `g` holds classes c0 to c9."""
    opened = IndexedStore(database, kind, None)
    opened.create_gallery("g", MODEL, DIMENSION)
    opened.put_classes("g", [new_class(f"c{number}", number) for number in range(10)])
    yield opened
    kind.may_build.set()
    opened.close()


@pytest.fixture
def other(database: SqliteDatabase) -> SqlTruth:
    """Return another way to the same truth, of which the store is told nothing."""
    return SqlTruth(database)


def nearest(store: IndexedStore, seed: int, count: int = 1) -> list[str]:
    return [near.class_id for near in store.search("g", vector(seed)[None], count).results[0]]


def everything(store: IndexedStore) -> set[str]:
    return set(nearest(store, 0, 1000))


def test_what_another_changed_is_in_the_next_answer(store: IndexedStore, other: SqlTruth) -> None:
    assert nearest(store, 3) == ["c3"]
    other.put_classes("g", [new_class("new", 77), new_class("c3", 55, display_name="moved")])
    other.delete_class("g", "c4")
    found = store.search("g", np.stack([vector(77), vector(55), vector(4)]), 1)
    assert [near[0].class_id for near in found.results[:2]] == ["new", "c3"]
    assert found.results[1][0].display_name == "moved"
    assert found.results[2][0].class_id != "c4"
    assert (found.gallery.class_count, found.gallery.revision) == (10, other.version("g").revision)
    other.update_class("g", "c3", display_name="again")
    assert store.search("g", vector(55)[None], 1).results[0][0].display_name == "again"
    other.update_gallery("g", GalleryChanges(frozenset({"display_name"}), display_name="G"))
    assert store.get_gallery("g").display_name == store.search("g", vector(1)[None], 1).gallery.display_name == "G"


def test_a_gallery_that_another_made_anew_is_searched_as_it_is_now(store: IndexedStore, other: SqlTruth) -> None:
    revision = store.get_gallery("g").revision
    other.delete_gallery("g", force=True)
    other.create_gallery("g", MODEL, DIMENSION)
    other.put_classes("g", [new_class("fresh", 1)])
    assert other.version("g").revision == revision
    assert everything(store) == {"fresh"}
    other.delete_gallery("g", force=True)
    with pytest.raises(NotFoundError, match="no gallery 'g'"):
        store.search("g", vector(1)[None], 1)


def test_an_index_too_far_behind_begins_anew(
    store: IndexedStore, other: SqlTruth, kind: FaultyKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_rows, "KEPT_REVISIONS", 3)
    for number in range(2):
        other.put_classes("g", [new_class(f"d{number}", 20 + number)])
    assert nearest(store, 20) == ["d0"]
    assert len(kind.made) == 1
    for number in range(5):
        other.put_classes("g", [new_class(f"e{number}", 40 + number)])
    other.delete_class("g", "c0")
    assert everything(store) == {*(f"c{n}" for n in range(1, 10)), "d0", "d1", *(f"e{n}" for n in range(5))}
    assert len(kind.made) == 2


def test_an_index_that_lost_rows_is_mended_before_it_answers(store: IndexedStore, kind: FaultyKind) -> None:
    assert nearest(store, 5) == ["c5"]
    kind.made[0].lose(kind.made[0].rows()[:7].tolist())
    assert nearest(store, 5) == ["c5"]
    assert len(everything(store)) == 10


def test_a_change_that_the_index_could_not_take_is_acknowledged_and_found_once_it_can(
    store: IndexedStore, kind: FaultyKind
) -> None:
    kind.made[0].failing = True
    stored, _ = store.put_classes("g", [new_class("new", 77)])
    assert stored[0].record.id == "new"
    with pytest.raises(UnavailableError, match="the index is away"):
        nearest(store, 77)
    kind.made[0].failing = False
    assert nearest(store, 77) == ["new"]


def test_changes_and_searches_go_on_while_another_index_is_built(store: IndexedStore, kind: FaultyKind) -> None:
    kind.made[0].too_small = True
    store.put_classes("g", [new_class("first", 70)])
    assert kind.building.wait(60)
    kind.made[0].too_small = False
    store.put_classes("g", [new_class("second", 71), new_class("c1", 72)])
    store.delete_class("g", "c2")
    expected = everything(store)
    assert {"first", "second"} <= expected
    held = store._indexes.get("g")
    assert held._index is kind.made[0]
    kind.may_build.set()
    assert held._builder is not None
    held._builder.join(60)
    assert held._index is not kind.made[0]
    assert everything(store) == expected
    assert nearest(store, 72) == ["c1"]
    store.put_classes("g", [new_class("third", 73)])
    assert nearest(store, 73) == ["third"]


def test_every_acknowledged_class_is_found_at_once_beside_other_changes_and_searches(store: IndexedStore) -> None:
    def enroll(start: int) -> None:
        for number in range(start, start + 40):
            store.put_classes("g", [new_class(f"n{number}", number)])
            assert nearest(store, number) == [f"n{number}"]
            if number % 3 == 0:
                store.delete_class("g", f"n{number}")
                assert nearest(store, number) != [f"n{number}"]

    with ThreadPoolExecutor(4) as pool:
        for outcome in [pool.submit(enroll, 100 * (1 + each)) for each in range(4)]:
            outcome.result()


def fill_with_rows(index: FlatIndex, rows: Ints, vectors: Floats) -> None:
    index.put(rows, vectors)


def fill_with_others_vectors(index: FlatIndex, rows: Ints, vectors: Floats) -> None:
    index.put(rows, vectors[::-1].copy())


def fill_with_strangers(index: FlatIndex, rows: Ints, vectors: Floats) -> None:
    index.put(np.concatenate([rows[:5], rows + 1000]), np.concatenate([vectors[:5], vectors]))


@pytest.mark.parametrize("spoil", [fill_with_rows, fill_with_others_vectors, fill_with_strangers])
def test_filling_leaves_just_what_the_truth_has(
    store: IndexedStore, spoil: Callable[[FlatIndex, Ints, Floats], None]
) -> None:
    page = store.vectors("g")
    index = FlatIndex(DIMENSION)
    spoil(index, page.rows, page.vectors)
    filled = VectorSource(store, "g").fill(index)
    rows, prints = index.fingerprints()
    order = np.argsort(rows)
    assert rows[order].tolist() == page.rows.tolist()
    assert prints[order].tolist() == fingerprint(page.rows, page.vectors).tolist()
    assert filled.version == store.version("g")


def test_a_fingerprint_changes_with_the_row_and_with_any_bit_of_the_vector() -> None:
    rows, vectors = np.arange(1, 4), np.stack([vector(1), vector(1), vector(2)])
    prints = fingerprint(rows, vectors)
    assert len(set(prints.tolist())) == 3
    assert fingerprint(rows[1:], vectors[1:]).tolist() == prints[1:].tolist()
    for place in range(DIMENSION):
        words = vectors.copy().view(np.uint32)
        words[0, place] ^= np.uint32(1 << (place % 32))
        assert fingerprint(rows, words.view(np.float32))[0] != prints[0]


def test_a_sample_to_train_on_comes_from_all_over_the_gallery(store: IndexedStore) -> None:
    store.put_classes("g", [new_class(f"s{number}", 100 + number) for number in range(400)])
    page = store.vectors("g")
    taken = VectorSource(store, "g").sample(64)
    places = sorted(int(np.flatnonzero((page.vectors == one).all(axis=1))[0]) for one in taken)
    assert len(set(places)) == len(taken) <= 64
    assert places[0] < 20
    assert places[-1] > 380
    store.create_gallery("empty", MODEL, DIMENSION)
    assert VectorSource(store, "empty").sample(5).shape == (0, DIMENSION)


def test_a_copy_that_was_put_in_place_at_the_same_revision_is_searched_as_it_is(
    store: IndexedStore, other: SqlTruth
) -> None:
    assert nearest(store, 3) == ["c3"]
    gallery, classes = other.get_gallery("g"), other.class_copies("g", limit=1000)
    other.delete_gallery("g", force=True)
    other.load_gallery(gallery)
    other.load_classes("g", classes[::-1])
    other.finish_load(gallery)
    assert other.get_gallery("g") == gallery
    assert nearest(store, 3) == ["c3"]
    assert everything(store) == {f"c{number}" for number in range(10)}


def test_on_demand_an_index_is_compared_with_the_truth_and_built_anew_where_it_differs(
    store: IndexedStore, kind: FaultyKind
) -> None:
    kind.may_build.set()
    held = store._indexes.get("g")
    assert held.compare()
    row = store.vectors("g").rows[:1]
    FlatIndex.put(kind.made[0], row, vector(99)[None])  # the right number of rows, and one of them wrong
    assert not held._index.doubtful(10)
    store.compare_indexes()
    assert held._builder is not None
    held._builder.join(60)
    assert nearest(store, 0) == ["c0"]
    assert held.compare()


def test_a_search_that_outlives_its_gallery_is_told_to_try_again_where_it_was_made_anew(
    store: IndexedStore, other: SqlTruth
) -> None:
    held = store._indexes.get("g")
    store.delete_gallery("g", force=True)
    other.create_gallery("g", MODEL, DIMENSION)
    other.put_classes("g", [new_class("new", 5)])
    with pytest.raises(UnavailableError, match="try again"):
        held.search(vector(5)[None], 1, 1)
    assert nearest(store, 5) == ["new"]


def test_the_last_of_several_builds_puts_the_turns_of_threads_back() -> None:
    before = sys.getswitchinterval()
    first, second = ExitStack(), ExitStack()
    first.enter_context(gallery_index._quick_turns)
    second.enter_context(gallery_index._quick_turns)
    first.close()
    assert sys.getswitchinterval() < before
    second.close()
    assert sys.getswitchinterval() == before


def test_a_gallery_that_is_refused_whole_raises_an_error_of_its_own_each_time(store: IndexedStore) -> None:
    store._indexes._broken["x"] = "its row does not match its checksum"
    errors = [store._indexes.broken("x") for _ in range(2)]
    assert errors[0] is not errors[1]  # else each that is raised would hold the calls before it in memory
