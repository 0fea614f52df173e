"""What a distance is said to mean."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exemplar_encoder import Calibration
from exemplar_encoder.calibration import NEAREST_CONSIDERED

SIZES = (1, 5, 20, 100, 1000)
RATES = tuple(np.geomspace(0.001, 1.0, 31).tolist())

# A stranger's distance to each class of a gallery is drawn from this normal distribution.
MEAN, DEVIATION = 1.3, 0.1


def nearest_of(count: int, draws: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(MEAN, DEVIATION, (draws, count)).min(axis=1)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    nearest = np.random.default_rng(0).normal(MEAN, DEVIATION, (20_000, SIZES[-1]))
    quantiles = [np.quantile(nearest[:, :size].min(axis=1), RATES) for size in SIZES]
    return Calibration(
        default_false_accept_rate=0.05,
        ambiguity_margin=0.02,
        ambiguity_error_rate=0.02,
        class_count=200,
        gallery_sizes=SIZES,
        false_accept_rates=RATES,
        thresholds=tuple(tuple(row.tolist()) for row in quantiles),
        log_ratio_intercept=12.0,
        log_ratio_slope=11.0,
    )


# Thresholds

rates = st.floats(1e-6, 1 - 1e-6)
counts = st.integers(1, 10_000_000)


@given(rate=rates, other=rates, count=counts)
def test_a_threshold_never_falls_when_more_false_accepts_are_allowed(
    calibration: Calibration, rate: float, other: float, count: int
) -> None:
    low, high = sorted((rate, other))
    assert calibration.threshold(low, count) <= calibration.threshold(high, count)


@given(rate=rates, count=counts, other=counts)
def test_a_threshold_never_rises_with_the_number_of_classes(
    calibration: Calibration, rate: float, count: int, other: int
) -> None:
    few, many = sorted((count, other))
    assert calibration.threshold(rate, few) >= calibration.threshold(rate, many) - 1e-12


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rate", RATES[::10])
def test_a_measured_threshold_is_given_back(calibration: Calibration, size: int, rate: float) -> None:
    row = calibration.thresholds[SIZES.index(size)]
    assert calibration.threshold(min(rate, 0.999999), size) == pytest.approx(row[RATES.index(rate)], abs=1e-5)


@pytest.mark.parametrize("count", [1, 3, 20, 47, 400, 1000, 3000])
@pytest.mark.parametrize("rate", [0.01, 0.05, 0.2])
def test_the_realised_rate_is_the_one_that_was_asked_for(calibration: Calibration, count: int, rate: float) -> None:
    nearest = nearest_of(count, 20_000 if count <= 1000 else 6_000, seed=count)
    realised = (nearest <= calibration.threshold(rate, count)).mean()
    assert realised == pytest.approx(rate, rel=0.35)


def test_a_rate_below_all_that_was_measured_gets_the_least_one_s_threshold(calibration: Calibration) -> None:
    assert calibration.threshold(1e-9, 20) == calibration.threshold(RATES[0], 20)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 1.5, math.nan, math.inf])
def test_a_rate_that_is_none_is_refused_by_name(calibration: Calibration, rate: float) -> None:
    with pytest.raises(ValueError, match=f"between 0 and 1, not {rate}"):
        calibration.threshold(rate, 20)


def test_an_empty_gallery_has_the_threshold_of_one_class(calibration: Calibration) -> None:
    assert calibration.threshold(0.05, 0) == calibration.threshold(0.05, 1)


# Probabilities


def by_hand(calibration: Calibration, distances: list[float], class_count: int) -> list[float]:
    """Bayes' rule with one loop: hypotheses are each class, and no class at all."""
    weights = []
    for position in range(class_count):
        distance = distances[min(position, len(distances) - 1, NEAREST_CONSIDERED - 1)]
        ratio = math.exp(calibration.log_ratio_intercept - calibration.log_ratio_slope * distance)
        weights.append(0.5 / class_count * ratio)
    evidence = sum(weights) + 0.5
    return [weight / evidence for weight in weights[: len(distances)]]


@pytest.mark.parametrize(
    ("distances", "class_count"),
    [([0.3], 1), ([0.3, 0.9], 2), ([0.8, 0.81, 1.1], 3), ([0.5] * 16, 400), ([0.9 + i / 50 for i in range(16)], 16)],
)
def test_probabilities_agree_with_bayes_by_hand(
    calibration: Calibration, distances: list[float], class_count: int
) -> None:
    expected = by_hand(calibration, distances, class_count)
    assert calibration.probabilities(distances, class_count) == pytest.approx(expected, rel=1e-9)


ascending = st.lists(st.floats(0, 2), min_size=1, max_size=40).map(sorted)


@given(distances=ascending, more=st.integers(0, 100_000))
def test_probabilities_descend_and_leave_room_for_no_class(
    calibration: Calibration, distances: list[float], more: int
) -> None:
    p = calibration.probabilities(distances, len(distances) + more)
    assert ((p >= 0) & (p <= 1)).all()
    assert (np.diff(p) <= 0).all()
    assert p[:NEAREST_CONSIDERED].sum() <= 1 + 1e-12


@pytest.mark.parametrize("class_count", [40, 1000])
def test_a_probability_does_not_depend_on_how_many_matches_are_shown(
    calibration: Calibration, class_count: int
) -> None:
    distances = np.linspace(0.9, 1.1, 40)
    shown = calibration.probabilities(distances[:NEAREST_CONSIDERED], class_count)
    assert np.array_equal(shown, calibration.probabilities(distances, class_count)[:NEAREST_CONSIDERED])


def test_a_close_match_is_likely_and_a_far_one_is_not(calibration: Calibration) -> None:
    assert calibration.probabilities([0.1, 1.4], 2)[0] > 0.99
    assert calibration.probabilities([1.4, 1.4], 2)[0] < 0.1


def test_two_equally_close_classes_share_the_probability(calibration: Calibration) -> None:
    p = calibration.probabilities([0.1, 0.1], 2)
    assert p[0] == p[1] == pytest.approx(0.5, abs=0.01)


def test_the_same_distance_means_less_in_a_larger_gallery(calibration: Calibration) -> None:
    d = [0.7] + [1.2] * 15
    values = [calibration.probabilities(d, count)[0] for count in (16, 100, 1000, 100_000)]
    assert values == sorted(values, reverse=True)


def test_extreme_distances_and_slopes_stay_finite(calibration: Calibration) -> None:
    steep = dataclasses.replace(calibration, log_ratio_intercept=2000.0, log_ratio_slope=5000.0)
    assert np.isfinite(steep.probabilities([0.0, 2.0], 2)).all()
    assert steep.probabilities([0.0, 2.0], 2)[0] == pytest.approx(1.0)


def test_no_distances_have_no_probabilities(calibration: Calibration) -> None:
    assert calibration.probabilities([], 0).shape == (0,)


# Text


def test_a_calibration_survives_json(calibration: Calibration) -> None:
    assert Calibration.from_json(calibration.to_json()) == calibration


@pytest.mark.parametrize("text", ["", "null", "[]", "3", "{}", '"text"', "{", "\ufeff{}"])
def test_text_that_is_no_calibration_is_refused(text: str) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        Calibration.from_json(text)


@pytest.mark.parametrize(
    "change",
    [
        {"default_false_accept_rate": 0},
        {"default_false_accept_rate": "0.05"},
        {"default_false_accept_rate": math.nan},
        {"ambiguity_margin": math.nan},
        {"ambiguity_margin": -0.1},
        {"log_ratio_slope": math.inf},
        {"log_ratio_intercept": None},
        {"gallery_sizes": []},
        {"gallery_sizes": [0, 5, 20, 100, 1000]},
        {"gallery_sizes": [5, 1, 20, 100, 1000]},
        {"gallery_sizes": 5},
        {"false_accept_rates": list(RATES[:-1])},
        {"false_accept_rates": [0.0, *RATES[1:]]},
        {"false_accept_rates": list(RATES[::-1])},
        {"thresholds": []},
        {"thresholds": [[math.nan] * 31] * 5},
        {"thresholds": [[1.0] * 30] * 5},
        {"thresholds": [list(range(31, 0, -1))] * 5},
        {"thresholds": [[row] * 31 for row in range(5)]},
        {"thresholds": [["far"] * 31] * 5},
        {"thresholds": [[0.5] * 31] * 4 + [[0.5] * 30]},
        {"unheard": 1},
    ],
)
def test_numbers_that_no_fit_produces_are_refused(calibration: Calibration, change: dict[str, object]) -> None:
    fields = {**json.loads(calibration.to_json()), **change}
    with pytest.raises((ValueError, TypeError, KeyError)):
        Calibration.from_json(json.dumps(fields))


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Calibration)])
def test_a_missing_number_is_refused(calibration: Calibration, name: str) -> None:
    fields = json.loads(calibration.to_json())
    del fields[name]
    with pytest.raises((ValueError, TypeError, KeyError)):
        Calibration.from_json(json.dumps(fields))
