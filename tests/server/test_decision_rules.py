"""Decision rules: one for each state of a gallery and each rate, made once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from exemplar_encoder import DecisionRule
from exemplar_server.decision_rules import DecisionRules
from exemplar_server.store import Gallery
from tests.calibrations import made_up

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GALLERY = Gallery("g", "", "m", 4, 7, 20, None, None, NOW, NOW)
GAPS = np.full(20, 0.5, np.float32)


def numbers(rule: DecisionRule) -> tuple[float, float, float]:
    return rule.threshold, rule.margin, rule.false_accept_rate


def test_a_rule_is_made_once_for_a_state_and_a_rate() -> None:
    rules = DecisionRules(made_up())
    first = rules.rule(GALLERY, GAPS)
    assert rules.rule(replace(GALLERY), GAPS) is first
    assert rules.rule(GALLERY, GAPS, 0.5) is rules.rule(GALLERY, GAPS, 0.5) is not first
    assert numbers(first) == numbers(DecisionRule(made_up(), 20, GAPS))


@pytest.mark.parametrize(
    "changed",
    [
        replace(GALLERY, revision=8, class_count=21),
        replace(GALLERY, false_accept_rate=0.9),
        replace(GALLERY, calibration=made_up(2.0)),
        replace(GALLERY, create_time=datetime(2026, 1, 2, tzinfo=UTC)),  # deleted, and made anew
    ],
)
def test_another_state_of_the_gallery_gets_another_rule(changed: Gallery) -> None:
    rules = DecisionRules(made_up())
    first = rules.rule(GALLERY, GAPS)
    gaps = np.full(20, 0.4, np.float32)
    calibration = changed.calibration or made_up()
    expected = DecisionRule(calibration, changed.class_count, gaps, changed.false_accept_rate)
    assert numbers(rules.rule(changed, gaps)) == numbers(expected)
    assert numbers(expected) != numbers(first)


def test_the_rate_asked_for_goes_before_the_gallery_s_and_that_before_the_calibration_s() -> None:
    rules = DecisionRules(made_up())
    assert rules.rule(GALLERY, GAPS).false_accept_rate == made_up().default_false_accept_rate
    lax = replace(GALLERY, false_accept_rate=0.5)
    assert rules.rule(lax, GAPS).false_accept_rate == 0.5
    assert rules.rule(lax, GAPS, 0.25).false_accept_rate == 0.25


def test_any_number_of_rates_leaves_only_so_many_rules_behind() -> None:
    rules = DecisionRules(made_up())
    for number in range(1, 5000):
        rules.rule(GALLERY, GAPS, number / 5000)
    assert len(rules._kept) <= 1024
    assert rules.rule(GALLERY, GAPS, 0.5).false_accept_rate == 0.5


def test_a_rule_for_classes_to_come_is_not_that_of_the_gallery_as_it_is() -> None:
    rules = DecisionRules(made_up())
    assert numbers(rules.make(GALLERY, 1, GAPS)) == numbers(DecisionRule(made_up(), 1, GAPS))
    assert numbers(rules.rule(GALLERY, GAPS)) == numbers(DecisionRule(made_up(), 20, GAPS))
