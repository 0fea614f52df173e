"""Verdicts, at and around the distances that decide them."""

from __future__ import annotations

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
    false_accept_rates=(0.01, 0.1),
    thresholds=((0.75, 1.0), (0.5, 0.75)),
    log_ratio_intercept=5.0,
    log_ratio_slope=8.0,
)


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
    assert decisions.decide(distances, 0.01, class_count).verdict == verdict


def test_the_rate_and_the_gallery_size_set_the_threshold(decisions: Decisions) -> None:
    assert decisions.decide([0.6], 0.01, 100).verdict == Verdict.UNKNOWN
    assert decisions.decide([0.6], 0.1, 100).verdict == Verdict.MATCH
    assert decisions.decide([0.6], 0.01, 1).verdict == Verdict.MATCH


def test_each_class_looked_at_gets_a_probability_and_nearer_means_likelier(decisions: Decisions) -> None:
    probabilities = decisions.decide([0.1, 0.3, 0.5], 0.01, 3).probabilities
    assert len(probabilities) == 3
    assert probabilities == sorted(probabilities, reverse=True)
    assert 0 < sum(probabilities) < 1


def test_thresholds_are_those_of_the_calibration_however_many_are_asked_for(decisions: Decisions) -> None:
    rates = np.linspace(0.011, 0.099, 3000)
    for _ in range(2):
        for rate in rates[:: 1 if _ else 7]:
            assert decisions.threshold(float(rate), 10) == CALIBRATION.threshold(float(rate), 10)
    assert len(decisions._thresholds) <= 1024
