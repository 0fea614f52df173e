"""An approximate index is saved whole, passes over what is stale, grows beyond its room, and says when it is outgrown.

How much it finds is a matter for benchmarks. Here a vector is searched with itself, and is found at distance 0.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from exemplar_encoder.arrays import Floats, Ints
from exemplar_server.store.index.approximate import ApproximateIndex, sample_size
from tests.server.store.index.test_vector_index import check_contents

DIMENSION = 16
COUNT = 3000


def drawn(count: int, seed: int = 0, dimension: int = DIMENSION) -> Floats:
    return np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)


def numbers(first: int, last: int) -> Ints:
    return np.arange(first, last + 1)


def filled(vectors: Floats) -> ApproximateIndex:
    index = ApproximateIndex.trained(vectors.shape[1], len(vectors), vectors)
    index.put(numbers(1, len(vectors)), vectors)
    return index


def modeled(rows: Ints, vectors: Floats) -> dict[int, Floats]:
    return dict(zip(rows.tolist(), vectors, strict=True))


def check_found(index: ApproximateIndex, model: dict[int, Floats]) -> None:
    """Search some vectors with themselves, one by one and together."""
    rows = np.array(sorted(model), np.int64)[:: max(1, len(model) // 200)]
    queries = np.stack([model[row] for row in rows.tolist()])
    for answers in (index.nearest(queries, 1), [np.concatenate(parts) for parts in _each(index, queries[:50])]):
        for row, found, distances in zip(rows.tolist(), *answers, strict=False):
            assert distances[found == row].tolist() == [0.0]
            assert set(found.tolist()) - {-1} <= model.keys()


def _each(index: ApproximateIndex, queries: Floats) -> zip[tuple[Ints | Floats, ...]]:
    answers = [index.nearest(query[None], 1) for query in queries]
    width = min(rows.shape[1] for rows, _ in answers)
    return zip(*(_closest(*answer, width) for answer in answers), strict=True)


def _closest(rows: Ints, distances: Floats, width: int) -> tuple[Ints, Floats]:
    order = np.argsort(distances, axis=1)[:, :width]
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(distances, order, axis=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "g.index"


def test_a_saved_index_is_loaded_as_it_was_and_goes_on_from_there(path: Path) -> None:
    vectors = drawn(COUNT)
    index, model = filled(vectors), modeled(numbers(1, COUNT), vectors)
    index.remove(numbers(1, 10))
    index.put(numbers(20, 29), drawn(10, seed=1))
    index.save(path, b"about it")
    loaded, about = ApproximateIndex.load(path)
    assert about == b"about it"
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    for row in range(1, 11):
        del model[row]
    model |= modeled(numbers(20, 29), drawn(10, seed=1))
    queries = drawn(5, seed=2)
    for held, expected in zip(loaded.nearest(queries, 3), index.nearest(queries, 3), strict=True):
        assert np.array_equal(held, expected)
    later = drawn(100, seed=3)
    loaded.put(numbers(COUNT + 1, COUNT + 100), later)
    loaded.put(numbers(20, 24), later[:5] + 1)
    loaded.remove(numbers(100, 199))
    model |= modeled(numbers(COUNT + 1, COUNT + 100), later) | modeled(numbers(20, 24), later[:5] + 1)
    model = {row: vector for row, vector in model.items() if not 100 <= row <= 199}
    check_contents(loaded, model)
    check_found(loaded, model)
    loaded.save(path, b"")
    again, about = ApproximateIndex.load(path)
    assert about == b""
    check_contents(again, model)
    check_found(again, model)


def test_an_empty_index_can_be_saved(path: Path) -> None:
    ApproximateIndex.trained(DIMENSION, COUNT, drawn(100)).save(path, b"x")
    loaded, _ = ApproximateIndex.load(path)
    assert len(loaded) == 0
    loaded.put(numbers(1, 5), drawn(5))
    check_found(loaded, modeled(numbers(1, 5), drawn(5)))


def torn(content: bytes) -> bytes:
    return content[:-1]


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def longer(content: bytes) -> bytes:
    return content + b"\0"


def flipped(place: float) -> Callable[[bytes], bytes]:
    def damage(content: bytes) -> bytes:
        at = int(place * (len(content) - 1))
        return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]

    return damage


def grown_head(content: bytes) -> bytes:
    return content.replace(b'"dimension": 16', b'"dimension": 99999999', 1)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (torn, "not whole"),
        (cut, "not whole"),
        (longer, "not whole"),
        *((flipped(place), "checksum") for place in (0.01, 0.1, 0.5, 0.9, 1.0)),
        (flipped(0), "no saved index"),
        (grown_head, "no saved index"),
        (lambda _: b"", "no saved index"),
        (lambda _: b"\n" * 5000, "no saved index"),
        (lambda _: b"[" * 5000, "no saved index"),
        (lambda _: b'{"format": 1, "dimension": 16, "sizes": 3}\n', "no saved index"),
        (lambda _: b"SQLite format 3\0" * 400, "no saved index"),
    ],
)
def test_a_file_that_is_not_just_what_was_saved_is_refused(
    damage: Callable[[bytes], bytes], reason: str, path: Path
) -> None:
    filled(drawn(1500)).save(path, b"about")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=reason):
        ApproximateIndex.load(path)


def test_a_file_of_another_format_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = filled(drawn(100))
    with monkeypatch.context() as patch:
        patch.setattr("exemplar_server.store.index.approximate._FORMAT", 2)
        index.save(path, b"")
    with pytest.raises(ValueError, match="its format is 2, this program knows 1"):
        ApproximateIndex.load(path)


def test_what_is_saved_halfway_leaves_the_earlier_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = filled(drawn(100))
    index.save(path, b"first")

    def full(file: int) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="no space left"):
            index.save(path, b"second")
    assert ApproximateIndex.load(path)[1] == b"first"
    index.save(path, b"third")
    assert ApproximateIndex.load(path)[1] == b"third"


def test_replacing_everything_again_and_again_leaves_what_was_put_last() -> None:
    index = filled(drawn(COUNT))
    for seed in range(1, 8):
        index.put(numbers(1, COUNT), drawn(COUNT, seed))
    model = modeled(numbers(1, COUNT), drawn(COUNT, seed=7))
    check_contents(index, model)
    check_found(index, model)
    rows, _ = index.nearest(drawn(1, seed=3), 50)
    assert (rows >= 0).sum() >= 50, "there are enough that are not stale"


def test_one_class_replaced_many_times_in_one_place_hides_no_other() -> None:
    vectors = drawn(COUNT)
    index, model = filled(vectors), modeled(numbers(1, COUNT), vectors)
    place = vectors[:1]
    for step in range(290):
        index.put(numbers(7, 7), place + np.float32(1e-4) * step)
    index.put(numbers(7, 7), vectors[6:7])
    assert not index.outgrown()
    check_found(index, model)
    rows, distances = index.nearest(place, 16)
    assert distances[rows == 1].tolist() == [0.0]
    assert (rows >= 0).sum() >= 16


def test_it_is_outgrown_when_more_than_a_tenth_is_stale() -> None:
    index = filled(drawn(COUNT))
    index.remove(numbers(1, COUNT // 10))
    assert not index.outgrown()
    index.remove(numbers(COUNT, COUNT))
    assert index.outgrown()


def test_it_grows_beyond_its_room_and_says_that_it_is_outgrown() -> None:
    index = ApproximateIndex.trained(DIMENSION, 600, drawn(600))
    vectors, model = drawn(5000), dict[int, Floats]()
    for first in range(0, 5000, 700):
        part = vectors[first : first + 700]
        index.put(numbers(first + 1, first + len(part)), part)
        model |= modeled(numbers(first + 1, first + len(part)), part)
        assert index.outgrown() == (len(index) > 1200)
        check_contents(index, model)
        check_found(index, model)


@pytest.mark.parametrize("dimension", [3, 15, 127])
def test_an_odd_dimension_is_searched_like_any_other(dimension: int, path: Path) -> None:
    vectors = drawn(1500, dimension=dimension)
    index = filled(vectors)
    check_found(index, modeled(numbers(1, 1500), vectors))
    index.save(path, b"")
    check_found(ApproximateIndex.load(path)[0], modeled(numbers(1, 1500), vectors))


def test_so_many_may_be_asked_for_as_there_are() -> None:
    vectors = drawn(1500)
    index = filled(vectors)
    index.remove(numbers(1, 100))
    rows, _ = index.nearest(vectors[:2], 1500)
    assert [sorted(set(found.tolist()) - {-1}) for found in rows] == [list(range(101, 1501))] * 2


def test_few_to_train_on_are_enough_for_many() -> None:
    index = ApproximateIndex.trained(DIMENSION, 1_000_000, drawn(40))
    vectors = drawn(COUNT, seed=1)
    index.put(numbers(1, COUNT), vectors)
    check_found(index, modeled(numbers(1, COUNT), vectors))
    assert sample_size(1_000_000) > 10_000
