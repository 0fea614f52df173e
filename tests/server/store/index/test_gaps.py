"""A gallery's gaps are kept up as classes come and go, and depend on what is there alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exemplar_encoder.arrays import Floats
from exemplar_encoder.calibration import gaps_of, mean_gap
from exemplar_server.store.index import gaps as module
from exemplar_server.store.index.flat import FlatIndex
from exemplar_server.store.index.gaps import Gaps


def vectors(count: int, seed: int = 0) -> Floats:
    x = np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32)
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))


class Kept:
    """An index and its gaps, changed together as the store changes them."""

    def __init__(self) -> None:
        self.index = FlatIndex(8)
        self.gaps = Gaps(self.index)

    def add(self, rows: list[int], values: Floats) -> None:
        numbers = np.array(rows, np.int64)
        self.index.put(numbers, values)
        self.gaps.added(numbers, values)

    def remove(self, rows: list[int]) -> None:
        numbers = np.array(rows, np.int64)
        self.index.remove(numbers)
        self.gaps.removed(numbers)


def listed(gaps: Floats | None) -> list[float] | None:
    return None if gaps is None else gaps.tolist()


def afresh(kept: Kept) -> list[float] | None:
    """Return the gaps of the same rows, added at once in another order."""
    rows, values = kept.index.rows(), kept.index.vectors(kept.index.rows())
    order = np.random.default_rng(1).permutation(len(rows))
    other = Kept()
    other.add(rows[order].tolist(), values[order])
    return listed(other.gaps.value())


def test_a_small_gallery_s_gaps_are_the_exact_ones() -> None:
    kept = Kept()
    for row, vector in enumerate(vectors(40)):
        kept.add([row], vector[None])
        expected = gaps_of(vectors(40)[: row + 1])
        assert kept.gaps.value() == (expected if expected is None else pytest.approx(expected, abs=1e-5))


def test_no_classes_and_one_class_have_none() -> None:
    kept = Kept()
    assert kept.gaps.value() is None
    kept.add([7], vectors(1))
    assert kept.gaps.value() is None
    kept.remove([7])
    assert kept.gaps.value() is None


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(["add", "replace", "remove", "ask"]), st.integers(1, 9)), max_size=30))
def test_after_any_changes_it_is_that_of_what_is_left(changes: list[tuple[str, int]]) -> None:
    rng = np.random.default_rng(0)
    kept, held, fresh = Kept(), list[int](), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SAMPLE", 12)  # so that classes are in the sample and out of it
        for seed, (what, count) in enumerate(changes):
            if what == "add":
                rows = list(range(fresh, fresh + count))
                fresh += count
                kept.add(rows, vectors(count, seed))
                held += rows
            elif what == "ask":
                kept.gaps.value()
            elif held:
                rows = rng.choice(held, min(count, len(held)), replace=False).tolist()
                kept.remove(rows)
                if what == "replace":
                    kept.add(rows, vectors(len(rows), seed))
                else:
                    held = [row for row in held if row not in rows]
        assert listed(kept.gaps.value()) == afresh(kept)


def test_a_class_whose_nearest_is_gone_finds_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SAMPLE", 4)
    kept = Kept()
    kept.add(list(range(40)), vectors(40))
    before = listed(kept.gaps.value())
    outside = np.setdiff1d(kept.gaps._neighbor, kept.gaps._rows)
    assert len(outside) > 0
    kept.remove(outside.tolist())
    assert listed(kept.gaps.value()) == afresh(kept) != before


def test_a_large_gallery_s_gaps_are_those_of_a_sample_and_like_the_exact_ones() -> None:
    kept = Kept()
    values = vectors(3000)
    for start in range(0, 3000, 64):
        kept.add(list(range(start, min(3000, start + 64))), values[start : start + 64])
    for share in (0.1, 1.0):
        measured, computed = kept.gaps.value(), gaps_of(values)
        assert measured is not None
        assert computed is not None
        sampled, exact = mean_gap(measured, share), mean_gap(computed, share)
        assert sampled == pytest.approx(exact, rel=0.05)
    assert listed(kept.gaps.value()) == afresh(kept)
    assert len(kept.gaps._rows) == 256


def test_classes_in_the_same_place_have_no_gaps_between_them() -> None:
    kept = Kept()
    kept.add(list(range(30)), np.repeat(vectors(1), 30, axis=0))
    assert listed(kept.gaps.value()) == [0.0] * 30
