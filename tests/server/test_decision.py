"""Verdicts, at and around the distances that decide them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from exemplar_encoder import Calibration
from exemplar_server.decision import Decisions, Verdict

CALIBRATION = Calibration(
    default_false_accept_rate=0.05,
    ambiguity_margin=0.125,
    ambiguity_error_rate=0.1,
    class_count=100,
    gallery_sizes=(1, 100),
    typical_spacings=(1.0, 1.0),
    false_accept_rates=(0.01, 0.1),
    factors=((0.75, 1.0), (0.5, 0.75)),
    distance_weight=8.0,
    unknown_intercept=1.0,
    unknown_spacing=4.0,
)


def gaps(each: float) -> np.ndarray:
    return np.full(100, each, np.float32)


@pytest.fixture
def decisions() -> Decisions:
    return Decisions(CALIBRATION)


@pytest.mark.parametrize(
    ("distances", "class_count", "verdict"),
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
    decisions: Decisions, distances: list[float], class_count: int, verdict: Verdict
) -> None:
    assert decisions.decide(distances, 0.01, class_count, None).verdict == verdict


def test_the_rate_and_the_gallery_size_set_the_threshold(decisions: Decisions) -> None:
    assert decisions.decide([0.6], 0.01, 100, None).verdict == Verdict.UNKNOWN
    assert decisions.decide([0.6], 0.1, 100, None).verdict == Verdict.MATCH
    assert decisions.decide([0.6], 0.01, 1, None).verdict == Verdict.MATCH


def test_classes_that_are_nearer_to_each_other_ask_for_a_closer_match(decisions: Decisions) -> None:
    assert decisions.decide([0.45], 0.01, 100, gaps(1.0)).verdict == Verdict.MATCH
    crowded = decisions.decide([0.45], 0.01, 100, gaps(0.8))
    assert crowded.verdict == Verdict.UNKNOWN
    assert crowded.threshold == decisions.threshold(0.01, 100, gaps(0.8)) == pytest.approx((80 + 1) / 101 * 0.5)
    assert crowded.probabilities < decisions.decide([0.45], 0.01, 100, gaps(1.0)).probabilities


def test_the_nearer_classes_are_to_each_other_the_farther_the_second_must_be() -> None:
    decisions = Decisions(replace(CALIBRATION, ambiguity_margin=0.25, ambiguity_spacing=0.9))
    assert decisions.decide([0.2, 0.26], 0.1, 100, gaps(1.0)).verdict == Verdict.MATCH
    assert decisions.decide([0.2, 0.24], 0.1, 100, gaps(1.0)).verdict == Verdict.AMBIGUOUS, "a tie"
    crowded = decisions.decide([0.2, 0.31], 0.1, 100, gaps(0.6))
    assert crowded.verdict == Verdict.AMBIGUOUS
    assert crowded.margin == pytest.approx(0.25 * (0.9 / (60 + 1) * 101 - 1))
    assert decisions.decide([0.2, 0.33], 0.1, 100, gaps(0.6)).verdict == Verdict.MATCH


def test_each_class_looked_at_gets_a_probability_and_nearer_means_likelier(decisions: Decisions) -> None:
    probabilities = decisions.decide([0.1, 0.3, 0.5], 0.01, 3, gaps(1.0)).probabilities
    assert len(probabilities) == 3
    assert probabilities == sorted(probabilities, reverse=True)
    assert 0 < sum(probabilities) < 1
