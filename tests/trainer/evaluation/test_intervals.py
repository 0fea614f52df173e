"""95 % intervals, against published quantiles and the formulas written out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from exemplar_trainer.evaluation.intervals import half_interval, share_interval, wilson

# Student's t for a two-sided 95 % interval by degrees of freedom, from the tables.
QUANTILES = {1: 12.706, 2: 4.3027, 3: 3.1824, 4: 2.7764, 5: 2.5706, 6: 2.4469, 10: 2.2281, 30: 2.0423, 399: 1.9659}


@pytest.mark.parametrize("freedom", QUANTILES)
def test_the_interval_of_a_mean_has_students_quantile_from_two_values_on(freedom: int) -> None:
    values = np.random.default_rng(0).normal(size=freedom + 1)
    spread = math.sqrt(sum((value - values.mean()) ** 2 for value in values) / freedom)
    expected = QUANTILES[freedom] * spread / math.sqrt(freedom + 1)
    assert half_interval(values) == pytest.approx(expected, rel=1e-3)


def test_a_single_value_has_no_interval_of_a_mean() -> None:
    assert math.isnan(half_interval(np.array([0.5])))


@pytest.mark.parametrize(("share", "count"), [(0.0, 20), (0.5, 20), (0.95, 20), (1.0, 1), (0.75, 400)])
def test_the_ends_of_wilsons_interval_are_the_shares_that_lie_1_96_deviations_away(share: float, count: int) -> None:
    low, high = wilson(share, count)
    assert low < high
    for end in (low, high):
        assert abs(share - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / count), abs=1e-6)


def test_a_single_task_and_tasks_that_are_all_alike_have_an_interval_by_their_queries() -> None:
    assert share_interval(np.array([0.9]), 20) == wilson(0.9, 20)
    assert share_interval(np.array([1.0, 1.0, 1.0]), 60) == wilson(1.0, 60)
    low, high = share_interval(np.array([0.8, 1.0]), 40)
    assert (low, high) == (0.0, 1.0)  # of two tasks, 12.7 standard errors, cut at what a share can be
