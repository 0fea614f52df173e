"""Curves and areas of open-set recognition, against loops over pairs and thresholds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exemplar_trainer.evaluation.roc import separate

# Few distinct distances, so that ties are met; queries as (distance, known, right).
queries = st.lists(
    st.tuples(st.integers(0, 9).map(lambda n: n / 8), st.booleans(), st.booleans()), min_size=2, max_size=40
).filter(lambda rows: {known for _, known, _ in rows} == {False, True})


@given(rows=queries)
def test_areas_and_rates_are_what_loops_over_pairs_find(rows: list[tuple[float, bool, bool]]) -> None:
    found = separate(*(np.array(column) for column in zip(*rows, strict=True)))
    known = [(d, right) for d, there, right in rows if there]
    unknown = [d for d, there, _ in rows if not there]
    pairs = len(known) * len(unknown)
    beats = [((k < u) + 0.5 * (k == u), right) for k, right in known for u in unknown]
    assert found.auroc == pytest.approx(sum(score for score, _ in beats) / pairs)
    assert found.oscr == pytest.approx(sum(score for score, right in beats if right) / pairs)
    needed = sorted(d for d, _ in known)[math.ceil(0.95 * len(known)) - 1]
    assert found.false_positives == pytest.approx(sum(u <= needed for u in unknown) / len(unknown))


@given(rows=queries)
def test_each_point_of_a_curve_is_a_threshold(rows: list[tuple[float, bool, bool]]) -> None:
    found = separate(*(np.array(column) for column in zip(*rows, strict=True)))
    known = [(d, right) for d, there, right in rows if there]
    unknown = [d for d, there, _ in rows if not there]
    expected = [(0.0, 0.0, 0.0)]
    for threshold in sorted({d for d, _, _ in rows}):
        x = sum(d <= threshold for d in unknown) / len(unknown)
        accepted = sum(d <= threshold for d, _ in known) / len(known)
        named = sum(d <= threshold and right for d, right in known) / len(known)
        expected.append((x, accepted, named))
    assert found.roc == tuple(pytest.approx((x, y)) for x, y, _ in expected)
    assert found.oscr_curve == tuple(pytest.approx((x, y)) for x, _, y in expected)


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    rng = np.random.default_rng(0)
    known = rng.random(5000) < 0.5
    found = separate(rng.random(5000) + 0.3 * ~known, known, known & (rng.random(5000) < 0.9))
    for curve in (found.roc, found.oscr_curve):
        assert len(curve) == 201
        assert curve[0] == (0, 0)
        assert (np.diff(np.array(curve), axis=0) >= 0).all()
    assert found.roc[-1] == (1, 1)
    assert found.oscr_curve[-1] == pytest.approx((1, 0.9), abs=0.02)
