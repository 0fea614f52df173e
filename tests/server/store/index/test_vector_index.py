"""Every index in memory answers as a search of all vectors does, after any changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exemplar_encoder.arrays import Floats
from exemplar_server.store.index.vector_index import VectorIndex, exact_distances, fingerprint
from tests.server.store.index.makers import MAKERS, Maker

DIMENSION = 3

# Few vectors, so that many are equally far; the row is often one that is there.
VECTORS = st.tuples(*[st.integers(-2, 2)] * DIMENSION)
PUTS = st.dictionaries(st.integers(1, 60), VECTORS, max_size=30)
REMOVALS = st.lists(st.integers(1, 60), unique=True, max_size=30)
CHANGES = st.lists(st.one_of(PUTS, REMOVALS), max_size=8)

Change = Mapping[int, tuple[int, ...]] | Sequence[int]


def put(index: VectorIndex, held: Mapping[int, Sequence[float]]) -> None:
    vectors = np.array(list(held.values()), np.float32).reshape(-1, index.dimension)
    index.put(np.array(list(held), np.int64), vectors)


def apply(index: VectorIndex, model: dict[int, Sequence[float]], change: Change) -> None:
    """Make a change, of the index and of a dictionary beside it."""
    if isinstance(change, Mapping):
        model.update(change)
        put(index, change)
    else:
        for row in change:
            model.pop(row, None)
        index.remove(np.array(change, np.int64))


def check_contents(index: VectorIndex, model: Mapping[int, Sequence[float]]) -> None:
    assert len(index) == len(model)
    assert not index.doubtful(len(model))
    assert index.doubtful(len(model) + 1)
    rows, fingerprints = index.fingerprints()
    assert sorted(rows.tolist()) == sorted(index.rows().tolist()) == sorted(model)
    expected = np.array([model[row] for row in rows.tolist()], np.float32).reshape(-1, index.dimension)
    assert np.array_equal(index.vectors(rows), expected)
    assert np.array_equal(fingerprints, fingerprint(rows, expected))


def check_nearest(index: VectorIndex, model: Mapping[int, Sequence[float]], queries: Floats, count: int) -> None:
    """Compare with the distances to all: every row as near as the `count`-th nearest is there, with its distance."""
    rows, distances = index.nearest(queries, count)
    assert rows.shape == distances.shape
    assert rows.shape[1] >= min(count, len(model))
    assert (rows.dtype.name, distances.dtype.name) == ("int64", "float32")
    numbers = list(model)
    vectors = np.array(list(model.values()), np.float32).reshape(1, -1, index.dimension)
    expected = exact_distances(np.repeat(vectors, len(queries), axis=0), queries)
    for found, found_distances, exact in zip(rows, distances, expected, strict=True):
        assert np.array_equal(found == -1, np.isinf(found_distances))
        answer = dict(zip(found[found > 0].tolist(), found_distances[found > 0].tolist(), strict=True))
        assert len(answer) == (found > 0).sum(), "a row is there twice"
        truth = dict(zip(numbers, exact.tolist(), strict=True))
        assert answer.items() <= truth.items()
        if truth:
            last = sorted(truth.values())[min(count, len(truth)) - 1]
            assert {row for row, distance in truth.items() if distance <= last} <= answer.keys()


@pytest.mark.parametrize("make", MAKERS)
@settings(max_examples=150, deadline=None)
@given(changes=CHANGES, queries=st.lists(VECTORS, min_size=1, max_size=3), count=st.integers(1, 70))
def test_an_index_answers_as_a_search_of_all_vectors_does(
    make: Maker, changes: list[Change], queries: list[tuple[int, ...]], count: int
) -> None:
    index = make(DIMENSION)
    model: dict[int, Sequence[float]] = {}
    check_nearest(index, model, np.array(queries, np.float32), count)
    for change in changes:
        apply(index, model, change)
        check_contents(index, model)
        check_nearest(index, model, np.array(queries, np.float32), count)
    index.close()


@pytest.mark.parametrize("make", MAKERS)
def test_rounding_far_from_the_origin_hides_no_neighbor(make: Maker) -> None:
    rng = np.random.default_rng(0)
    for spread in 0.05, 0.1, 0.2, 0.4:
        values = np.float32(300) + rng.normal(scale=spread, size=(2000, 8)).astype(np.float32)
        model: dict[int, Sequence[float]] = dict(enumerate(values, start=1))
        index = make(8)
        put(index, model)
        for queries in values[:1], values[7:107]:
            check_nearest(index, model, queries + np.float32(0.01), 5)
        index.close()


@pytest.mark.parametrize("make", MAKERS)
def test_a_distance_does_not_depend_on_what_it_is_batched_with(make: Maker) -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(500, 64)).astype(np.float32)
    queries = rng.normal(size=(40, 64)).astype(np.float32)
    index = make(64)
    put(index, dict(enumerate(values, start=1)))
    batch = index.nearest(queries, 3)
    for place, query in enumerate(queries):
        rows, distances = index.nearest(query[None], 3)
        alone = dict(zip(rows[0].tolist(), distances[0].tolist(), strict=True))
        together = dict(zip(batch[0][place].tolist(), batch[1][place].tolist(), strict=True))
        assert {row: together[row] for row in alone if row in together} == {
            row: alone[row] for row in alone if row in together
        }
        assert len(alone.keys() & together.keys()) >= 3
    index.close()


@pytest.mark.parametrize("make", MAKERS)
def test_putting_the_same_again_changes_nothing(make: Maker) -> None:
    index = make(DIMENSION)
    model: dict[int, Sequence[float]] = {row: (row % 5, row % 3, 1) for row in range(1, 41)}
    for _ in range(3):
        put(index, model)
        check_contents(index, model)
        check_nearest(index, model, np.zeros((1, DIMENSION), np.float32), 40)
    index.close()


@pytest.mark.parametrize("make", MAKERS)
def test_what_an_index_returns_is_a_copy(make: Maker) -> None:
    index = make(DIMENSION)
    put(index, {1: (1, 0, 0), 2: (0, 2, 0)})
    rows = index.rows()
    vectors = index.vectors(rows)
    index.remove(np.array([1], np.int64))
    put(index, {2: (0, 0, 7)})
    assert sorted(rows.tolist()) == [1, 2]
    assert sorted(vectors.tolist()) == [[0, 2, 0], [1, 0, 0]]
    index.close()
