"""A large gallery's index finds what is nearest, follows every change, and comes back from its file or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exemplar_encoder.arrays import Floats, Ints
from exemplar_server.store.index import approximate
from exemplar_server.store.index.approximate import ApproximateIndex, sample_size
from exemplar_server.store.index.vector_index import exact_distances, fingerprint

DIMENSION = 32
COUNT = 6_000
LARGE = 1_000_000


def points(count: int, seed: int, dimension: int = DIMENSION) -> Floats:
    """Return unit vectors whose values vary less and less."""
    spread = np.exp(-np.arange(dimension) / dimension)
    x = np.random.default_rng(seed).normal(size=(count, dimension)) * spread
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)


def numbers(*rows: int) -> Ints:
    return np.array(rows, np.int64)


def filled(vectors: Floats, trained_for: int) -> ApproximateIndex:
    """Return an index that holds `vectors` in rows from 1 on."""
    index = ApproximateIndex.trained(vectors.shape[1], trained_for, vectors)
    index.put(np.arange(1, len(vectors) + 1), vectors)
    return index


def nearest_row(index: ApproximateIndex, query: Floats) -> int:
    rows, distances = index.nearest(query[None], 1)
    return int(rows[0, distances[0].argmin()])


@pytest.mark.parametrize("kind", ["like the sample", "unlike the sample", "far from the origin"])
def test_the_nearest_is_that_of_an_exact_search_however_vectors_lie(kind: str) -> None:
    vectors = points(COUNT, 1)
    index = ApproximateIndex.trained(DIMENSION, COUNT, vectors)
    if kind == "unlike the sample":
        vectors = np.roll(vectors, 16, axis=1) * np.linspace(0.1, 30, COUNT, dtype=np.float32)[:, None]
    elif kind == "far from the origin":
        vectors += np.float32(7)
    for first in range(0, COUNT, 1_000):
        index.put(np.arange(first + 1, first + 1_001), vectors[first : first + 1_000])
    queries = vectors[::100] + points(COUNT // 100, 2) * np.float32(0.7)
    assert index.exact
    for batch in (queries[:1], queries):
        rows, distances = index.nearest(batch, 3)
        exact = exact_distances(np.broadcast_to(vectors, (len(batch), *vectors.shape)), batch)
        assert np.array_equal(distances.min(axis=1), exact.min(axis=1))
        at = rows[np.arange(len(batch)), distances.argmin(axis=1)]
        assert np.array_equal(exact[np.arange(len(batch)), at - 1], exact.min(axis=1))


def test_the_nearest_is_found_though_its_code_is_the_worst() -> None:
    vectors = points(COUNT, 1)
    vectors[4_321] *= 40
    index = filled(vectors, COUNT)
    assert nearest_row(index, vectors[4_321] * np.float32(0.99)) == 4_322


def test_most_of_a_large_gallery_is_found_by_what_lies_near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approximate, "EXACT_UP_TO", 1_000)
    vectors = points(COUNT, 3)
    index = filled(vectors, COUNT)
    assert not index.exact
    noisy = vectors + points(COUNT, 4) * np.float32(0.2)
    found = np.array([nearest_row(index, query) for query in noisy[::20]])
    assert (found == np.arange(1, COUNT + 1, 20)).mean() > 0.95


@settings(max_examples=60, deadline=None)
@given(
    changes=st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.lists(st.integers(1, 40), min_size=1, max_size=9, unique=True)),
            st.tuples(st.just("remove"), st.lists(st.integers(1, 40), max_size=9, unique=True)),
            st.tuples(st.just("save"), st.just([1])),
        ),
        max_size=12,
    ),
    large=st.booleans(),
    all_looked_at=st.sampled_from([0, 1_000]),
)
def test_it_holds_what_was_put_and_not_removed(
    changes: list[tuple[str, list[int]]],
    large: bool,
    all_looked_at: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(approximate, "_ALL_LOOKED_AT", all_looked_at)
        sample = points(300, 5, 8)
        index = ApproximateIndex.trained(8, 300, sample)
        if large:
            patched.setattr(approximate, "EXACT_UP_TO", 0)
            index = ApproximateIndex.trained(8, 300, sample)
            index._lists.nprobe = index._lists.nlist
        held: dict[int, Floats] = {}
        for step, (kind, rows) in enumerate(changes):
            if kind == "put":
                vectors = points(len(rows), step, 8)
                index.put(numbers(*rows), vectors)
                held.update(zip(rows, vectors, strict=True))
            elif kind == "remove":
                index.remove(numbers(*rows))
                for row in rows:
                    held.pop(row, None)
            else:
                path = tmp_path_factory.getbasetemp() / "held.index"
                index.save(path, b"state")
                index = ApproximateIndex.load(path)[0]
                index._lists.nprobe = index._lists.nlist
            check(index, held)


def check(index: ApproximateIndex, held: dict[int, Floats]) -> None:
    assert len(index) == len(held)
    assert index.doubtful(len(held) + 1)
    rows, prints = index.fingerprints()
    assert sorted(rows.tolist()) == sorted(index.rows().tolist()) == sorted(held)
    vectors = np.array([held[row] for row in rows.tolist()], np.float32).reshape(-1, 8)
    assert np.array_equal(index.vectors(rows), vectors)
    assert np.array_equal(prints, fingerprint(rows, vectors))
    found, distances = index.nearest(points(2, 77, 8), 50)
    for one, far in zip(found, distances, strict=True):
        there = one[one > 0]
        assert sorted(there.tolist()) == sorted(held), "all are asked for"
        assert np.isinf(far[one < 0]).all()
        assert np.isfinite(far[one > 0]).all()


def test_a_code_that_was_replaced_is_found_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approximate, "EXACT_UP_TO", 1_000)
    vectors = points(COUNT, 6)
    index = filled(vectors, COUNT)
    assert nearest_row(index, vectors[10]) == 11
    index.put(numbers(11), -vectors[10][None])
    assert nearest_row(index, -vectors[10]) == 11
    index.remove(np.arange(2, 60))
    slots = index._codes.search(vectors[:60], 200)[1]
    held = set(index._slots.values())
    assert set(slots.ravel().tolist()) <= held | {-1}
    assert index._inverted.compute_ntotal() == len(index)


def test_a_row_is_taken_out_of_another_list_than_its_vector_would_come_into(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approximate, "EXACT_UP_TO", 1_000)
    index = filled(points(2_000, 7), 2_000)
    index._vectors[2] = -index._vectors[2]
    index.remove(numbers(3))
    assert index._inverted.compute_ntotal() == 1_999


def test_what_is_put_after_removals_is_found_by_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approximate, "_ALL_LOOKED_AT", 0)
    for limit in (0, 10_000):
        monkeypatch.setattr(approximate, "EXACT_UP_TO", limit)
        vectors = points(COUNT, 10)
        index = filled(vectors[:5_000], COUNT)
        index.remove(np.arange(1_000, 5_001, 2))
        index.put(np.arange(5_001, 6_001), vectors[5_000:])
        index._lists.nprobe = index._lists.nlist
        found = index._codes.search(vectors[5_000:], 3)[1]
        slots = np.array([index._slots[row] for row in range(5_001, 6_001)])
        assert (found == slots[:, None]).any(axis=1).mean() > 0.98


def test_it_is_outgrown_by_many_more_vectors_or_by_others() -> None:
    vectors = points(3_000, 8)
    index = ApproximateIndex.trained(DIMENSION, 700, vectors)
    index.put(np.arange(1, 2_801), vectors[:2_800])
    assert not index.outgrown()
    index.put(np.arange(2_801, 3_001), vectors[2_800:])
    assert index.outgrown()
    other = ApproximateIndex.trained(DIMENSION, 3_000, vectors)
    other.put(np.arange(1, 3_001), vectors * np.float32(5))
    assert other.outgrown()


@pytest.mark.parametrize("sample", [0, 1, 15, 16, 40])
def test_any_sample_will_do(sample: int) -> None:
    vectors = points(40, 9, 7)
    for count in (0, 40, LARGE):
        index = ApproximateIndex.trained(7, count if sample > 20 else min(count, 1_000), vectors[:sample])
        assert index.nearest(vectors[:2], 3)[0].shape == (2, 0)
        index.put(np.arange(1, 41), vectors)
        assert nearest_row(index, vectors[33]) == 34


def test_more_is_trained_on_the_more_there_is() -> None:
    sizes = [sample_size(count) for count in (0, 1, 1_000, 100_000, LARGE, 10 * LARGE)]
    assert sizes == sorted(sizes)
    assert sizes[-1] <= LARGE


def test_a_saved_index_answers_as_before(tmp_path: Path) -> None:
    vectors = points(COUNT, 10)
    index = filled(vectors, COUNT)
    index.remove(np.arange(1, 1_000))
    index.save(tmp_path / "index", b"version 7")
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
    loaded, about = ApproximateIndex.load(tmp_path / "index")
    assert about == b"version 7"
    queries = points(20, 11)
    before, after = index.nearest(queries, 4), loaded.nearest(queries, 4)
    assert np.array_equal(np.sort(before[0]), np.sort(after[0]))
    assert np.array_equal(np.sort(before[1]), np.sort(after[1]))
    loaded.put(numbers(5), queries[:1])
    loaded.remove(numbers(2_000))
    assert nearest_row(loaded, queries[0]) == 5


def test_a_file_that_is_not_as_it_was_written_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "index"
    filled(points(300, 12), 300).save(path, b"about")
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for place in [0, 20, 30, len(whole) - 1, *random.integers(0, len(whole), 40).tolist()]:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << int(random.integers(8))
        path.write_bytes(flipped)
        with pytest.raises(ValueError, match="it "):
            ApproximateIndex.load(path)
    for size in [0, 5, 19, 40, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="it "):
            ApproximateIndex.load(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(ValueError, match="not whole"):
        ApproximateIndex.load(path)


def test_a_save_that_fails_leaves_the_file_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = filled(points(300, 13), 300)
    index.save(tmp_path / "index", b"first")

    def full(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="space"):
        index.save(tmp_path / "index", b"second")
    monkeypatch.undo()
    assert ApproximateIndex.load(tmp_path / "index")[1] == b"first"


def test_faiss_rounds_distances_of_codes_by_no_more_than_is_allowed_for() -> None:
    vectors = points(2_000, 14)
    index = filled(vectors, 2_000)
    queries = points(50, 15)
    squared, slots = index._codes.search(queries, 500)
    rotated = index._rotation.apply(vectors)
    told = index._lists.pq.decode(index._lists.pq.compute_codes(rotated))[slots]
    true = np.square(told - index._rotation.apply(queries)[:, None]).sum(axis=-1)
    assert (np.abs(squared - true) <= index._blurs(queries)[:, None]).all()
