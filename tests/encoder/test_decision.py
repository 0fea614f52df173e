"""Verdicts, at and around the distances that decide them; of one query and of many."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exemplar_encoder import Calibration, DecisionRule, Verdict
from exemplar_encoder.arrays import Floats

CALIBRATION = Calibration(
    default_false_accept_rate=0.1,
    ambiguity_margin=0.125,
    ambiguity_error_rate=0.1,
    fitted_on="nothing",
    gallery_sizes=(1, 100),
    typical_spacings=(1.0, 1.0),
    false_accept_rates=(0.01, 0.1),
    factors=((0.75, 1.0), (0.5, 0.75)),
    distance_weight=8.0,
    unknown_intercept=1.0,
    unknown_spacing=4.0,
    nearest_share=1.0,
    distance_power=1,
    ambiguity_spacing=0.0,
)


def gaps(each: float) -> Floats:
    return np.full(100, each, np.float32)


def verdict(distances: list[float], rate: float, class_count: int = 100, apart: float | None = None) -> Verdict:
    measured = None if apart is None else gaps(apart)
    return DecisionRule(CALIBRATION, class_count, measured, rate).decide(distances).verdict


@pytest.mark.parametrize(
    ("distances", "class_count", "expected"),
    [
        ([0.5, 0.625], 100, Verdict.MATCH),
        ([0.5, 0.624], 100, Verdict.AMBIGUOUS),
        ([0.0, 0.0], 100, Verdict.AMBIGUOUS),
        ([0.51, 1.0], 100, Verdict.UNKNOWN),
        ([0.51, 0.51], 100, Verdict.UNKNOWN),
        ([0.75], 1, Verdict.MATCH),
        ([0.76], 1, Verdict.UNKNOWN),
    ],
)
def test_the_threshold_decides_first_and_then_the_margin(
    distances: list[float], class_count: int, expected: Verdict
) -> None:
    assert verdict(distances, 0.01, class_count) == expected


def test_the_rate_and_the_gallery_size_set_the_threshold() -> None:
    assert verdict([0.6], 0.01) == Verdict.UNKNOWN
    assert verdict([0.6], 0.1) == Verdict.MATCH
    assert verdict([0.6], 0.01, class_count=1) == Verdict.MATCH


def test_where_no_rate_is_asked_for_the_calibration_s_own_holds() -> None:
    rule = DecisionRule(CALIBRATION, 100, None)
    assert (rule.false_accept_rate, rule.threshold) == (0.1, 0.75)


def test_a_rate_below_all_that_was_measured_is_said_to_be_the_least_one() -> None:
    assert DecisionRule(CALIBRATION, 100, None, 0.001).false_accept_rate == 0.01


def test_classes_that_are_nearer_to_each_other_ask_for_a_closer_match() -> None:
    assert verdict([0.45], 0.01, apart=1.0) == Verdict.MATCH
    assert verdict([0.45], 0.01, apart=0.8) == Verdict.UNKNOWN
    loose, crowded = (DecisionRule(CALIBRATION, 100, gaps(apart), 0.01) for apart in (1.0, 0.8))
    assert crowded.threshold == pytest.approx((80 + 1) / 101 * 0.5)
    assert crowded.decide([0.45]).probabilities < loose.decide([0.45]).probabilities


def test_the_nearer_classes_are_to_each_other_the_farther_the_second_must_be() -> None:
    calibration = replace(CALIBRATION, ambiguity_margin=0.25, ambiguity_spacing=0.9)
    loose, crowded = (DecisionRule(calibration, 100, gaps(apart)) for apart in (1.0, 0.6))
    assert loose.decide([0.2, 0.26]).verdict == Verdict.MATCH
    assert loose.decide([0.2, 0.24]).verdict == Verdict.AMBIGUOUS, "a tie"
    assert crowded.margin == pytest.approx(0.25 * (0.9 / (60 + 1) * 101 - 1))
    assert crowded.decide([0.2, 0.31]).verdict == Verdict.AMBIGUOUS
    assert crowded.decide([0.2, 0.33]).verdict == Verdict.MATCH


def test_each_class_looked_at_gets_a_probability_and_nearer_means_likelier() -> None:
    probabilities = DecisionRule(CALIBRATION, 3, gaps(1.0)).decide([0.1, 0.3, 0.5]).probabilities
    assert len(probabilities) == 3
    assert probabilities == sorted(probabilities, reverse=True)
    assert 0 < sum(probabilities) < 1


distance = st.integers(0, 1024).map(lambda n: n / 512)  # exact in float32


@given(queries=st.lists(st.lists(distance, min_size=20, max_size=20).map(sorted), min_size=1, max_size=30))
def test_many_queries_are_decided_as_each_is_alone(queries: list[list[float]]) -> None:
    rule = DecisionRule(CALIBRATION, 100, gaps(0.8))
    together = np.array(queries, np.float32)
    alone = [rule.decide(each) for each in queries]
    accepted = [each.verdict != Verdict.UNKNOWN for each in alone]
    assert rule.accepts(together).tolist() == accepted
    clear = rule.accepts(together) & rule.tells_apart(together)
    assert clear.tolist() == [each.verdict == Verdict.MATCH for each in alone]
    probabilities = CALIBRATION.probabilities(together, rule.spacing)
    assert probabilities.tolist() == [each.probabilities for each in alone]


def around(value: float) -> list[np.float32]:
    """Return the float32 numbers next to one that is none, and itself rounded to one."""
    rounded = np.float32(value)
    return [np.nextafter(rounded, np.float32(0)), rounded, np.nextafter(rounded, np.float32(4))]


@pytest.mark.parametrize("apart", np.linspace(0.1, 1.1, 21))
def test_a_query_at_the_very_threshold_is_decided_among_many_as_it_is_alone(apart: float) -> None:
    rule = DecisionRule(CALIBRATION, 100, gaps(apart))
    distances = around(rule.threshold)
    alone = [rule.decide([float(each)]).verdict != Verdict.UNKNOWN for each in distances]
    assert rule.accepts(np.array(distances, np.float32)[:, None]).tolist() == alone


@pytest.mark.parametrize("apart", np.linspace(0.1, 1.1, 21))
def test_a_query_at_the_very_margin_is_decided_among_many_as_it_is_alone(apart: float) -> None:
    rule = DecisionRule(replace(CALIBRATION, ambiguity_margin=apart / 10), 100, gaps(1.0))
    nearest = [np.float32(each) for each in (0.0, 0.03, 0.05)]
    queries = np.array(
        [[first, second] for first in nearest for second in around(float(first) + rule.margin)], np.float32
    )
    alone = [rule.decide(each).verdict == Verdict.MATCH for each in queries.tolist()]
    assert rule.tells_apart(queries).tolist() == alone


def test_a_lone_class_is_told_apart_from_no_other() -> None:
    rule = DecisionRule(CALIBRATION, 1, None)
    assert rule.tells_apart(np.array([[0.1], [2.0]], np.float32)).tolist() == [True, True]
