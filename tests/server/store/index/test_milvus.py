"""An index on a Milvus server answers as the truth would, whatever that server lost, kept or was given."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymilvus import MilvusClient

from exemplar_encoder.arrays import Floats, Ints
from exemplar_server.errors import UnavailableError
from exemplar_server.store.index.milvus import MilvusIndex
from exemplar_server.store.index.milvus_collection import MilvusCollection, MilvusServer
from exemplar_server.store.index.vector_index import IndexBehind, fingerprint
from tests.milvus_server import MilvusProcess

pytestmark = pytest.mark.process

DIMENSION = 4
NUMBERS = itertools.count()


class Gallery:
    """A gallery in a truth of its own, and the index of one server of it."""

    def __init__(self, collection: MilvusCollection) -> None:
        self.truth: dict[int, Floats] = {}
        self.name = f"gallery {next(NUMBERS)}"
        self.collection = collection
        self.index = self.another_index()

    def another_index(self) -> MilvusIndex:
        return MilvusIndex(self.collection, self.name, self.stored)

    def stored(self, rows: Ints) -> tuple[Ints, Floats]:
        found = [row for row in reversed(rows.tolist()) if row in self.truth]
        return np.array(found, np.int64), self.vectors(found)

    def vectors(self, rows: list[int]) -> Floats:
        return np.array([self.truth[row] for row in rows], np.float32).reshape(-1, DIMENSION)

    def put(self, rows: list[int], vectors: Floats) -> None:
        self.truth |= dict(zip(rows, vectors, strict=True))
        self.index.put(np.array(rows, np.int64), vectors)

    def remove(self, rows: list[int]) -> None:
        for row in rows:
            self.truth.pop(row, None)
        self.index.remove(np.array(rows, np.int64))

    def mend(self) -> None:
        """Do what the index's owner does when it is doubtful."""
        rows, prints = self.index.fingerprints()
        held = list(zip(rows.tolist(), prints.tolist(), strict=True))
        there = list(self.truth)
        right = dict(zip(there, fingerprint(np.array(there, np.int64), self.vectors(there)).tolist(), strict=True))
        wrong = [row for row in there if (row, right[row]) not in held or rows.tolist().count(row) > 1]
        self.index.put(np.array(wrong, np.int64), self.vectors(wrong))
        self.index.remove(np.setdiff1d(rows, there))
        self.index.mended()

    def nearest(self, queries: Floats, count: int) -> list[list[tuple[float, int]]]:
        """Return the nearest rows with their distances, in order, mending the index where it is doubtful."""
        for _ in range(3):
            rows, distances = self.index.nearest(queries, count)
            if not self.index.doubtful(len(self.truth)):
                return [
                    sorted(zip(*pair, strict=True)) for pair in zip(distances.tolist(), rows.tolist(), strict=True)
                ]
            self.mend()
        raise AssertionError("it is still doubtful after it was mended")

    def check(self, queries: Floats, count: int = 3) -> None:
        """Compare an answer with one by brute force over the truth."""
        there = sorted(self.truth)
        distances = np.sqrt(np.square(self.vectors(there)[None] - queries[:, None]).sum(axis=-1))
        for found, exact in zip(self.nearest(queries, count), distances, strict=True):
            right = sorted(zip(exact.tolist(), there, strict=True))
            farthest = right[:count][-1][0] if right else 0.0
            assert [each for each in found if each[0] <= farthest] == [each for each in right if each[0] <= farthest]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusProcess]:
    with MilvusProcess(tmp_path_factory.mktemp("milvus")) as process:
        yield process


@pytest.fixture(scope="module")
def collection(server: MilvusProcess) -> Iterator[MilvusCollection]:
    opened = MilvusCollection(MilvusServer(server.address), "model", DIMENSION)
    yield opened
    opened.close()


@pytest.fixture
def gallery(collection: MilvusCollection) -> Gallery:
    return Gallery(collection)


@pytest.fixture
def intruder(server: MilvusProcess) -> Iterator[MilvusClient]:
    """Return a client of somebody else's on the same server."""
    client = MilvusClient(server.address, dedicated=True)
    yield client
    client.close()


def drawn(count: int, seed: int = 0) -> Floats:
    """Return points of a coarse grid, so that many distances are the same."""
    return np.random.default_rng(seed).integers(-3, 4, (count, DIMENSION)).astype(np.float32)


QUERIES = drawn(5, seed=1)


def filled(gallery: Gallery, count: int = 50) -> Gallery:
    gallery.put(list(range(1, count + 1)), drawn(count))
    return gallery


def tried_until_it_answers(gallery: Gallery) -> None:
    while True:
        try:
            return gallery.check(QUERIES)
        except UnavailableError as error:
            time.sleep(error.retry_after or 0)


STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "put", "remove"]), st.sets(st.integers(1, 12), min_size=1), st.integers(0, 99)),
    max_size=6,
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, count=st.integers(1, 14))
def test_it_holds_what_it_was_given_as_brute_force_says(
    collection: MilvusCollection, steps: list[tuple[str, set[int], int]], count: int
) -> None:
    gallery = Gallery(collection)
    for kind, rows, seed in steps:
        if kind == "put":
            gallery.put(sorted(rows), drawn(len(rows), seed))
        else:
            gallery.remove(sorted(rows))
        assert not gallery.index.doubtful(len(gallery.truth))
    gallery.check(QUERIES, count)
    assert sorted(gallery.index.rows().tolist()) == sorted(gallery.truth)
    assert len(gallery.index) == len(gallery.truth)
    all_rows = gallery.index.rows()
    assert np.array_equal(gallery.index.vectors(all_rows), gallery.vectors(all_rows.tolist()))
    held, prints = gallery.index.fingerprints()
    assert np.array_equal(prints, fingerprint(held, gallery.index.vectors(held)))
    assert sorted(held.tolist()) == sorted(gallery.truth)


def test_equal_distances_all_come_however_many_there_are(gallery: Gallery) -> None:
    gallery.put(list(range(1, 101)), np.ones((100, DIMENSION), np.float32))
    rows, _ = gallery.index.nearest(QUERIES, 1)
    assert all(set(found) >= gallery.truth.keys() for found in rows.tolist())


def test_a_put_of_what_is_there_writes_nothing(server: MilvusProcess, gallery: Gallery) -> None:
    filled(gallery)
    before = server.written()
    gallery.put([1, 2], drawn(50)[:2])
    gallery.index = gallery.another_index()
    gallery.put([1, 2], drawn(50)[:2])
    assert server.written() == before
    gallery.put([1, 2], drawn(2, seed=9))
    assert server.written() > before
    assert not gallery.index.doubtful(50)
    gallery.check(QUERIES)


def test_an_answer_does_not_depend_on_what_it_is_asked_with(gallery: Gallery) -> None:
    filled(gallery)
    queries = np.random.default_rng(2).normal(size=(40, DIMENSION)).astype(np.float32)
    together = gallery.nearest(queries, 2)
    assert [answer[:2] for answer in together] == [gallery.nearest(query[None], 2)[0][:2] for query in queries]


def test_another_server_finds_what_is_there(gallery: Gallery) -> None:
    filled(gallery)
    gallery.index = gallery.another_index()
    assert len(gallery.index) == 50
    assert not gallery.index.doubtful(50)
    gallery.check(QUERIES)


def test_two_galleries_of_a_collection_do_not_see_each_other(collection: MilvusCollection) -> None:
    first, second = filled(Gallery(collection)), filled(Gallery(collection), 20)
    second.remove([1, 2, 3])
    assert not first.index.doubtful(50)
    first.check(QUERIES)
    second.check(QUERIES)
    first.index.clear()
    assert len(first.index) == 0
    assert not first.index.doubtful(0)
    assert not second.index.doubtful(17)
    second.check(QUERIES)


def test_a_gallery_made_anew_is_empty(collection: MilvusCollection) -> None:
    gallery = filled(Gallery(collection))
    again = MilvusIndex(collection, gallery.name + " later", gallery.stored)
    assert len(again) == 0
    assert not again.doubtful(0)


def test_an_index_that_is_behind_is_noticed_and_mended(gallery: Gallery) -> None:
    filled(gallery)
    gallery.truth |= dict(zip(range(51, 61), drawn(10, seed=3), strict=True))
    del gallery.truth[7]
    assert gallery.index.doubtful(len(gallery.truth))
    gallery.check(QUERIES)


def test_a_foreign_entity_is_never_an_answer(gallery: Gallery, intruder: MilvusClient) -> None:
    filled(gallery)
    name = gallery.collection.name
    entity = {"gallery": gallery.index.gallery, "vector": QUERIES[0]}
    intruder.insert(name, [entity | {"key": 7, "row": 1}, entity | {"key": 8, "row": 900}])
    rows, _ = gallery.index.nearest(QUERIES, 1)
    assert 900 not in rows
    assert gallery.index.doubtful(50)
    gallery.check(QUERIES)
    assert not gallery.index.doubtful(50)


def test_an_entity_in_the_place_of_another_is_noticed_though_their_number_is_right(
    gallery: Gallery, intruder: MilvusClient
) -> None:
    filled(gallery)
    name = gallery.collection.name
    intruder.delete(name, filter=f'gallery == "{gallery.index.gallery}" and row == 1')
    intruder.insert(name, [{"gallery": gallery.index.gallery, "key": 5, "row": 1, "vector": QUERIES[0]}])
    gallery.check(QUERIES[:1], count=1)
    assert gallery.nearest(gallery.truth[1][None], 1)[0][0][0] == 0


def test_a_late_write_of_an_old_vector_does_not_hide_the_new_one(gallery: Gallery) -> None:
    filled(gallery)
    late = gallery.another_index()
    late.rows()
    gallery.put([1], QUERIES[:1])
    late.put(np.array([1], np.int64), drawn(50)[:1])
    rows, distances = gallery.index.nearest(QUERIES[:1], 1)
    assert 1 in rows[distances == 0]
    assert not gallery.index.doubtful(50)
    gallery.check(QUERIES)


def test_a_late_write_of_a_deleted_row_is_noticed(gallery: Gallery) -> None:
    filled(gallery)
    late = gallery.another_index()
    gallery.remove([1])
    late.put(np.array([1], np.int64), drawn(50)[:1])
    gallery.check(drawn(50)[:1])


def test_a_row_that_is_being_deleted_is_left_out_and_makes_it_doubtful(
    gallery: Gallery,
) -> None:
    filled(gallery)
    del gallery.truth[1]
    rows, _ = gallery.index.nearest(drawn(50)[:1], 50)
    assert set(rows[0].tolist()) - {-1} == gallery.truth.keys()
    assert gallery.index.doubtful(50)
    with pytest.raises(IndexBehind):
        gallery.index.vectors(gallery.index.rows())
    gallery.index.remove(np.array([1], np.int64))
    gallery.index.mended()
    assert not gallery.index.doubtful(49)


def test_an_emptied_server_is_filled_again(gallery: Gallery, intruder: MilvusClient) -> None:
    filled(gallery)
    intruder.drop_collection(gallery.collection.name)
    assert gallery.index.doubtful(50)
    gallery.check(QUERIES)
    gallery.put([51], drawn(1, seed=4))
    gallery.check(QUERIES)


def test_a_server_that_lost_writes_when_it_was_killed_is_mended(server: MilvusProcess, gallery: Gallery) -> None:
    for row in range(1, 21):
        gallery.put([row], drawn(1, seed=row))
    server.kill()
    server.lose_writes()
    server.start()
    assert 0 < len(gallery.another_index()) < 20
    assert gallery.index.doubtful(20)
    gallery.check(QUERIES)
    assert not gallery.index.doubtful(20)
    gallery.index = gallery.another_index()
    gallery.check(QUERIES)


def test_several_writers_are_right_after_a_kill(server: MilvusProcess, collection: MilvusCollection) -> None:
    galleries = [Gallery(collection) for _ in range(4)]
    halfway = threading.Barrier(len(galleries) + 1)

    def write(gallery: Gallery) -> None:
        for row in range(1, 41):
            if row == 20:
                halfway.wait()
            with suppress(UnavailableError):
                gallery.put([row], drawn(1, seed=row))

    writers = [threading.Thread(target=write, args=[gallery]) for gallery in galleries]
    for writer in writers:
        writer.start()
    halfway.wait()
    server.kill()
    for writer in writers:
        writer.join()
    server.start()
    for gallery in galleries:
        tried_until_it_answers(gallery)


def test_a_server_that_is_away_is_told_with_a_time_to_come_back(server: MilvusProcess, gallery: Gallery) -> None:
    filled(gallery)
    server.kill()
    calls: list[Callable[[], object]] = [
        lambda: gallery.index.nearest(QUERIES, 1),
        lambda: gallery.index.doubtful(50),
        lambda: gallery.put([51], drawn(1)),
        lambda: gallery.remove([1]),
        lambda: gallery.index.fingerprints(),
        lambda: len(gallery.another_index()),
    ]
    for call in calls:
        with pytest.raises(UnavailableError, match="does not answer") as caught:
            call()
        assert caught.value.reason == "INDEX_UNAVAILABLE"
        assert caught.value.retry_after
    server.start()
    tried_until_it_answers(gallery)
    assert 51 in gallery.index.rows()


@pytest.mark.slow
def test_many_calls_to_a_server_that_is_silent_all_end(server: MilvusProcess, gallery: Gallery) -> None:
    filled(gallery)
    ended: list[UnavailableError] = []

    def ask() -> None:
        with pytest.raises(UnavailableError) as caught:
            gallery.index.nearest(QUERIES, 1)
        ended.append(caught.value)

    server.pause()
    askers = [threading.Thread(target=ask) for _ in range(8)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    server.resume()
    assert len(ended) == 8
    tried_until_it_answers(gallery)


def test_a_server_that_is_not_there_yet_is_found_when_it_comes(tmp_path: Path) -> None:
    with MilvusProcess(tmp_path) as server:
        server.kill()
        gallery = Gallery(MilvusCollection(MilvusServer(server.address), "model", DIMENSION))
        for _ in range(2):
            with pytest.raises(UnavailableError):
                filled(gallery)
        server.start()
        tried_until_it_answers(gallery)
        gallery.collection.close()
