"""A gallery is searched exactly while it is small, by an approximate index beyond, and by a saved one after a start.

Whatever was saved, or happened to the database since, classes that are there are found where they are, and deleted
ones are not.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
import structlog

from exemplar_server.store.index import approximate, approximate_kind, gallery_index
from exemplar_server.store.index.approximate import ApproximateIndex
from exemplar_server.store.index.approximate_kind import ApproximateKind
from exemplar_server.store.index.flat import FlatIndex
from exemplar_server.store.index.gallery_index import GalleryIndex
from exemplar_server.store.index.vector_index import VectorIndex
from exemplar_server.store.index.vector_source import Filled, VectorSource
from exemplar_server.store.indexed_store import IndexedStore
from exemplar_server.store.truth import change_rows
from exemplar_server.store.truth.high_water_mark import MARK
from exemplar_server.store.truth.sqlite import DATABASE, SqliteDatabase
from tests.contract.stores import DIMENSION, MODEL, new_class, vector

EXACT = 300  # classes that are searched exactly
MANY = 700


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approximate_kind, "_FEWEST", 100)
    monkeypatch.setattr(approximate, "_ALL_LOOKED_AT", 50)


class Kind(ApproximateKind):
    """Counts what it builds, and waits for leave to hand it over."""

    def __init__(self, exact: int = EXACT) -> None:
        super().__init__(exact * DIMENSION)
        self.building = threading.Event()
        self.may_end = threading.Event()
        self.may_end.set()
        self.built: list[VectorIndex] = []

    def build(self, source: VectorSource) -> tuple[VectorIndex, Filled]:
        made = super().build(source)
        self.building.set()
        assert self.may_end.wait(60)
        self.built.append(made[0])
        return made


@contextmanager
def opened(folder: Path, kind: Kind | None = None) -> Iterator[IndexedStore]:
    store = IndexedStore(SqliteDatabase(folder), kind or Kind(), folder / "indexes")
    with closing(store):
        yield store


def held(store: IndexedStore) -> GalleryIndex:
    return store._indexes.get("g")


def index_of(store: IndexedStore) -> VectorIndex:
    return held(store)._index


def wait_until_built(store: IndexedStore) -> None:
    builder = held(store)._builder
    if builder is not None:
        builder.join(60)
        assert not builder.is_alive()


def put(store: IndexedStore, seeds: dict[str, int]) -> None:
    store.put_classes("g", [new_class(name, seed) for name, seed in seeds.items()])


def named(first: int, count: int) -> dict[str, int]:
    return {f"c{number}": number for number in range(first, first + count)}


def check(store: IndexedStore, seeds: dict[str, int], *deleted: int) -> None:
    """Search classes where they are, and deleted ones where they were."""
    names = list(seeds)
    queries = np.stack([vector(seeds[name]) for name in names])
    found = store.search("g", queries, 3)
    assert found.gallery.class_count == len(seeds)
    assert [near[0].class_id for near in found.results] == names
    assert max(near[0].distance for near in found.results) < 1e-6
    for seed in deleted:
        assert {near.class_id for near in store.search("g", vector(seed)[None], 5).results[0]} <= seeds.keys()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the data of a store whose gallery `g` has many classes, and a saved index."""
    with opened(tmp_path / "data") as store:
        store.create_gallery("g", MODEL, DIMENSION)
        put(store, named(0, MANY))
        wait_until_built(store)
        assert isinstance(index_of(store), ApproximateIndex)
    assert saved(tmp_path / "data").exists()
    return tmp_path / "data"


def saved(folder: Path) -> Path:
    return folder / "indexes" / "g.index"


def comparisons(logs: list[structlog.typing.EventDict]) -> list[str]:
    return [entry["event"] for entry in logs if entry["log_level"] == "warning"]


def test_a_gallery_is_searched_exactly_until_it_is_large(tmp_path: Path) -> None:
    kind, seeds = Kind(), named(0, EXACT)
    with opened(tmp_path, kind) as store:
        store.create_gallery("g", MODEL, DIMENSION)
        put(store, seeds)
        check(store, seeds)
        assert isinstance(index_of(store), FlatIndex)
        assert not kind.built
        put(store, {"one more": 9999})
        wait_until_built(store)
        assert isinstance(index_of(store), ApproximateIndex)
        check(store, seeds | {"one more": 9999})
    assert saved(tmp_path).exists()


def test_with_no_limit_given_it_is_approximate_from_the_fewest_on(tmp_path: Path) -> None:
    kind = Kind(exact=0)
    with opened(tmp_path, kind) as store:
        store.create_gallery("g", MODEL, DIMENSION)
        put(store, named(0, 150))
        wait_until_built(store)
        assert isinstance(index_of(store), ApproximateIndex)
        check(store, named(0, 150))


def test_an_index_is_taken_into_use_while_reads_and_writes_go_on(tmp_path: Path) -> None:
    kind, seeds = Kind(), named(0, MANY)
    kind.may_end.clear()
    failures: list[BaseException] = []
    later: dict[str, int] = {}
    ended = threading.Event()

    def check_some() -> None:
        expected = dict(list(seeds.items())[:20]) | later
        queries = np.stack([vector(seed) for seed in expected.values()])
        found = store.search("g", queries, 1).results
        assert [near[0].class_id for near in found] == list(expected)

    def search() -> None:
        try:
            while not ended.is_set():
                check_some()
        except Exception as error:  # noqa: BLE001 - to be told by the test's own thread
            failures.append(error)

    with opened(tmp_path, kind) as store:
        store.create_gallery("g", MODEL, DIMENSION)
        put(store, seeds)
        assert kind.building.wait(60)
        readers = [threading.Thread(target=search) for _ in range(3)]
        for reader in readers:
            reader.start()
        for number in range(40):
            name = f"new{number}"
            put(store, {name: 5000 + number})
            later = later | {name: 5000 + number}
            store.delete_class("g", f"c{600 + number}")
            if number == 20:
                kind.may_end.set()
        wait_until_built(store)
        for number in range(40, 50):
            put(store, {f"new{number}": 5000 + number})
            later = later | {f"new{number}": 5000 + number}
        ended.set()
        for reader in readers:
            reader.join(60)
        assert not failures
        assert isinstance(index_of(store), ApproximateIndex)
        found = store.search("g", np.stack([vector(600 + number) for number in range(40)]), 5).results
        assert not {near.class_id for nears in found for near in nears} & {f"c{600 + n}" for n in range(40)}
        assert held(store).gallery.class_count == MANY + 10
        check_some()


def test_a_saved_index_is_used_after_a_start_and_goes_on_from_there(folder: Path) -> None:
    kind, seeds = Kind(), named(0, MANY)
    with structlog.testing.capture_logs() as logs, opened(folder, kind) as store:
        assert isinstance(index_of(store), ApproximateIndex)
        check(store, seeds)
        put(store, {"new": 5000, "c3": 5001})
        store.delete_class("g", "c4")
        seeds = {**seeds, "new": 5000, "c3": 5001}
        del seeds["c4"]
        check(store, seeds, 3, 4)
    assert (comparisons(logs), kind.built) == ([], [])
    with opened(folder, kind) as store:
        check(store, seeds, 3, 4)
    assert kind.built == []


def test_a_saved_index_of_an_earlier_state_catches_up(folder: Path, tmp_path: Path) -> None:
    shutil.copy(saved(folder), tmp_path / "earlier")
    seeds = named(0, MANY)
    with opened(folder) as store:
        put(store, {"new": 5000, "c3": 5001})
        store.delete_class("g", "c4")
    shutil.copy(tmp_path / "earlier", saved(folder))
    seeds = {**seeds, "new": 5000, "c3": 5001}
    del seeds["c4"]
    kind = Kind()
    with structlog.testing.capture_logs() as logs, opened(folder, kind) as store:
        assert isinstance(index_of(store), ApproximateIndex)
        check(store, seeds, 3, 4)
    assert (comparisons(logs), kind.built) == ([], [])


def test_a_saved_index_too_far_behind_is_compared(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_rows, "KEPT_REVISIONS", 3)
    shutil.copy(saved(folder), tmp_path / "earlier")
    seeds = named(0, MANY)
    with opened(folder) as store:
        for number in range(6):
            put(store, {f"c{number}": 5000 + number})
            seeds[f"c{number}"] = 5000 + number
        store.delete_class("g", "c9")
        del seeds["c9"]
    shutil.copy(tmp_path / "earlier", saved(folder))
    with structlog.testing.capture_logs() as logs, opened(folder) as store:
        check(store, seeds, 0, 9)
    assert comparisons(logs) == ["comparing a saved index with the database"]


def test_a_saved_index_of_another_history_at_the_same_revision_is_mended(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery_index, "_NEARLY", 1)  # so that it is saved at every end
    (tmp_path / "copy").mkdir()
    for name in (DATABASE, MARK):
        shutil.copy(folder / name, tmp_path / "copy")
    with opened(folder) as store:
        put(store, {"here": 5000, "c3": 5001})
        store.delete_class("g", "c4")
        revision = store.get_gallery("g").revision
    index = saved(folder).read_bytes()
    for name in (DATABASE, MARK):
        shutil.copy(tmp_path / "copy" / name, folder)
    seeds = {**named(0, MANY), "there": 6000, "c5": 6001}
    del seeds["c6"]
    with opened(folder) as store:  # the index is saved at its end, so the other is put back
        put(store, {"there": 6000, "c5": 6001})
        store.delete_class("g", "c6")
        assert store.get_gallery("g").revision == revision
        assert store.get_gallery("g").class_count == MANY
    saved(folder).write_bytes(index)
    with structlog.testing.capture_logs() as logs, opened(folder) as store:
        check(store, seeds, 5, 6, 5000, 5001)
    assert comparisons(logs) == ["comparing a saved index with the database"]


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    return content[:-5000] + bytes([content[-5000] ^ 4]) + content[-4999:]


def foreign(content: bytes) -> bytes:
    return b"\x89PNG\r\n" * 100


@pytest.mark.parametrize("damage", [half, flipped, foreign])
@pytest.mark.parametrize("exact", [EXACT, 0])
def test_a_file_that_cannot_be_used_costs_time_alone(
    damage: Callable[[bytes], bytes], exact: int, folder: Path
) -> None:
    saved(folder).write_bytes(damage(saved(folder).read_bytes()))
    kind = Kind(exact)
    with structlog.testing.capture_logs() as logs, opened(folder, kind) as store:
        check(store, named(0, MANY))
        wait_until_built(store)
        assert isinstance(index_of(store), ApproximateIndex)
        check(store, named(0, MANY))
    assert comparisons(logs) == ["a saved index cannot be used"]
    assert len(kind.built) == 1
    with opened(folder, kind) as store:  # what was built has taken the file's place
        check(store, named(0, MANY))
    assert len(kind.built) == 1


def test_what_stands_in_the_file_s_place_costs_time_alone(folder: Path) -> None:
    saved(folder).unlink()
    saved(folder).mkdir()
    with structlog.testing.capture_logs() as logs, opened(folder) as store:
        check(store, named(0, MANY))
        wait_until_built(store)
        check(store, named(0, MANY))
    assert set(comparisons(logs)) == {
        "a saved index cannot be used",
        "an index cannot be saved; it will be built anew",
    }


def test_a_saved_index_of_another_dimension_is_not_used(folder: Path) -> None:
    index = ApproximateIndex.trained(3, 200, np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32))
    index.save(saved(folder), b'{"revision": 1, "time": 1}')
    with structlog.testing.capture_logs() as logs, opened(folder) as store:
        check(store, named(0, MANY))
    assert comparisons(logs) == ["a saved index cannot be used"]


def test_a_gallery_that_lost_nearly_all_its_classes_can_still_be_indexed(folder: Path) -> None:
    saved(folder).unlink()
    with opened(folder) as store, store._database.transaction() as writer:
        writer.execute("DELETE FROM classes WHERE row > (SELECT min(row) + 3 FROM classes)")
    with opened(folder, Kind(0)) as store:
        assert (len(index_of(store)), held(store)._filled.missing) == (4, MANY - 4)


def test_deleted_and_made_anew_a_gallery_does_not_find_what_was_before(folder: Path) -> None:
    with opened(folder) as store:
        store.delete_gallery("g", force=True)
        assert not saved(folder).exists()
        store.create_gallery("g", MODEL, DIMENSION)
        put(store, {"only": 1})
        assert [near.class_id for near in store.search("g", vector(5)[None], 5).results[0]] == ["only"]
