"""The shift of queries from classes, derived a second time pair by pair, and what it is for queries of two kinds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from exemplar_encoder.arrays import Floats
from exemplar_encoder.kinds_of_picture import OTHER_KIND, Cloud, shift


def around(seed: int, count: int, toward: float = 0.0) -> Floats:
    """Return unit vectors in 32 dimensions, drawn around a point on the first axis."""
    x = np.random.default_rng(seed).normal(size=(count, 32))
    x[:, 0] += toward * np.sqrt(32)
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)


def squared(one: Floats, other: Floats) -> float:
    return sum((float(a) - float(b)) ** 2 for a, b in zip(one, other, strict=True))


def within(vectors: Floats) -> float:
    return float(np.mean([squared(a, b) for a, b in itertools.combinations(vectors, 2)]))


@pytest.mark.parametrize("length", [1.0, 3.0])
def test_it_is_the_mean_over_all_pairs(length: float) -> None:
    queries, classes = around(1, 9, 1.0) * np.float32(length), around(2, 5)
    between = float(np.mean([squared(a, b) for a in queries for b in classes]))
    expected = 1 - (within(queries) + within(classes)) / 2 / between
    assert shift(Cloud.of(queries), Cloud.of(classes)) == pytest.approx(expected, abs=1e-5)


def test_sums_added_up_are_those_of_all() -> None:
    queries, classes = around(1, 9, 1.0), Cloud.of(around(2, 5))
    together = Cloud.of(queries[:4]) + Cloud.of(queries[4:])
    assert shift(together, classes) == pytest.approx(shift(Cloud.of(queries), classes), abs=1e-6)


@pytest.mark.parametrize("count", [10, 30, 300])
def test_queries_drawn_as_the_classes_are_have_none_however_few_they_are(count: int) -> None:
    found = [shift(Cloud.of(around(2 * seed, count)), Cloud.of(around(2 * seed + 1, 20))) for seed in range(50)]
    assert abs(float(np.mean(found))) < 0.01
    assert max(found) < OTHER_KIND


def test_queries_to_one_side_of_the_classes_have_one_that_grows_to_1() -> None:
    classes = Cloud.of(around(0, 20))
    found = [shift(Cloud.of(around(1, 30, toward)), classes) for toward in (0.0, 0.5, 1.0, 2.0)]
    assert found == sorted(found)
    assert found[-1] > OTHER_KIND
    points = np.eye(2, 32, dtype=np.float32)
    assert shift(Cloud.of(points[[0, 0, 0]]), Cloud.of(points[[1, 1]])) == 1.0


def test_one_point_is_not_to_one_side_of_itself() -> None:
    point = Cloud.of(around(0, 1))
    assert shift(point, point) == 0.0
