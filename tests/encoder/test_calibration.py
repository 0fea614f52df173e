"""The meaning that a calibration gives to a distance."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exemplar_encoder import Calibration, CalibrationError
from exemplar_encoder.arrays import Floats, Floats64
from exemplar_encoder.calibration import NEAREST_CONSIDERED, gaps_of, mean_gap

SIZES = (1, 2, 5, 20, 100)
RATES = tuple(np.geomspace(0.001, 1.0, 31).tolist())


def altered(calibration: Calibration, change: dict[str, object]) -> str:
    return json.dumps({**json.loads(calibration.to_json()), **change})


def points(count: int, likeness: float, rng: np.random.Generator) -> Floats:
    """Unit vectors of classes of one kind: the greater the likeness, the nearer they are to each other."""
    x = rng.normal(size=(count, 12)) * (1 - likeness)
    x[:, 0] += likeness * 4
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), dtype=np.float32)


def met(way: int, likeness: float, rng: np.random.Generator) -> tuple[Floats | None, Floats64]:
    """A gallery's gaps, and the distances of 20 strangers of its kind to its nearest class."""
    both = points(way + 20, likeness, rng)
    gallery, strangers = both[:way], both[way:]
    return gaps_of(gallery), np.linalg.norm(strangers[:, None] - gallery[None], axis=2).min(axis=1)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    rng = np.random.default_rng(0)
    galleries = {way: [met(way, 0.3, rng) for _ in range(400)] for way in SIZES}
    typical = tuple(
        float(np.mean([d.mean() if gaps is None else mean_gap(gaps, 0.5) for gaps, d in galleries[way]]))
        for way in SIZES
    )
    blank = Calibration(
        default_false_accept_rate=0.05,
        ambiguity_margin=0.02,
        ambiguity_error_rate=0.02,
        fitted_on="200 classes",
        gallery_sizes=SIZES,
        typical_spacings=typical,
        false_accept_rates=RATES,
        factors=((1.0,) * 31,) * 5,
        distance_weight=12.0,
        unknown_intercept=3.0,
        unknown_spacing=6.0,
        nearest_share=0.5,
        distance_power=2,
        ambiguity_spacing=0.0,
    )
    factors = []
    for way in SIZES:
        ratios = np.concatenate([d / blank.spacing(way, s) for s, d in galleries[way]])
        factors.append(tuple(np.quantile(ratios, RATES).tolist()))
    return dataclasses.replace(blank, factors=tuple(factors))


# Spacing


@pytest.mark.parametrize(("share", "count"), [(1.0, 30), (0.1, 3), (0.11, 4), (0.001, 1)])
def test_the_spacing_is_the_mean_of_the_least_distances_to_the_nearest_other(
    calibration: Calibration, share: float, count: int
) -> None:
    vectors = points(30, 0.3, np.random.default_rng(1))
    gaps = sorted(min(math.dist(a, b) for j, b in enumerate(vectors) if j != i) for i, a in enumerate(vectors))
    assert gaps_of(vectors) == pytest.approx(gaps, abs=1e-5)
    measured = sum(gaps[:count]) / count
    sharing = dataclasses.replace(calibration, nearest_share=share)
    expected = (30 * measured + sharing.spacing(30, None)) / 31
    assert sharing.spacing(30, gaps_of(vectors)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("count", [2, 5, 20, 100])
@pytest.mark.parametrize("move", [0.0, 0.1])
def test_one_thing_taught_twice_hardly_changes_the_spacing(calibration: Calibration, count: int, move: float) -> None:
    rng = np.random.default_rng(3)
    vectors = points(count, 0.3, rng)
    again = vectors[:1] + move * points(1, 0.0, rng)
    again /= np.linalg.norm(again)
    sharing = dataclasses.replace(calibration, nearest_share=0.1)
    before = sharing.spacing(count, gaps_of(vectors))
    after = sharing.spacing(count + 1, gaps_of(np.concatenate([vectors, again]).astype(np.float32)))
    assert after == pytest.approx(before, rel=0.15)


def test_a_gallery_whose_classes_all_coincide_has_no_spacing_to_speak_of(calibration: Calibration) -> None:
    assert calibration.spacing(100, np.zeros(100, np.float32)) < 0.02


def test_fewer_than_two_classes_have_no_gaps() -> None:
    assert gaps_of(np.zeros((0, 4), np.float32)) is None
    assert gaps_of(np.ones((1, 4), np.float32)) is None


def test_a_gallery_without_a_spacing_gets_the_typical_one(calibration: Calibration) -> None:
    assert calibration.spacing(1, None) == calibration.spacing(0, None) == calibration.typical_spacings[0]
    assert calibration.spacing(20, None) == pytest.approx(calibration.typical_spacings[3])
    assert calibration.spacing(10**9, None) == pytest.approx(calibration.typical_spacings[-1])


def test_the_more_classes_there_are_the_more_the_measured_spacing_counts(calibration: Calibration) -> None:
    shares = [
        (calibration.spacing(n, np.full(n, 0.1)) - calibration.spacing(n, None))
        / (0.1 - calibration.spacing(n, None))
        for n in (2, 4, 40, 4000)
    ]
    assert shares == pytest.approx([2 / 3, 4 / 5, 40 / 41, 4000 / 4001])


# Thresholds

rates = st.floats(1e-6, 1 - 1e-6)
counts = st.integers(1, 10_000_000)
spacings = st.floats(0, 2)


@given(rate=rates, other=rates, count=counts, spacing=spacings)
def test_a_threshold_never_falls_when_more_false_accepts_are_allowed(
    calibration: Calibration, rate: float, other: float, count: int, spacing: float
) -> None:
    low, high = sorted((rate, other))
    assert 0 <= calibration.threshold(low, count, spacing) <= calibration.threshold(high, count, spacing)


@given(rate=rates, count=counts, spacing=spacings, other=spacings)
def test_a_threshold_never_rises_as_classes_move_together(
    calibration: Calibration, rate: float, count: int, spacing: float, other: float
) -> None:
    near, far = sorted((spacing, other))
    assert calibration.threshold(rate, count, near) <= calibration.threshold(rate, count, far)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rate", RATES[::10])
def test_a_measured_factor_is_given_back(calibration: Calibration, size: int, rate: float) -> None:
    factor = calibration.factors[SIZES.index(size)][RATES.index(rate)]
    assert calibration.threshold(min(rate, 0.999999), size, 1.5) == pytest.approx(1.5 * factor, abs=1e-5)


@pytest.mark.slow
# Fewer than 20 classes hardly show how alike they are.
@pytest.mark.parametrize(
    ("count", "likeness"),
    [(1, 0.3), (3, 0.3)] + [(n, likeness) for n in (20, 47, 400) for likeness in (0.2, 0.3, 0.38)],
)
def test_the_realized_rate_is_the_one_that_was_asked_for_however_alike_the_classes_are(
    calibration: Calibration, count: int, likeness: float
) -> None:
    rng = np.random.default_rng(count)
    galleries = [met(count, likeness, rng) for _ in range(300)]
    for rate in (0.05, 0.2):
        accepted = [
            nearest <= calibration.threshold(rate, count, calibration.spacing(count, measured))
            for measured, nearest in galleries
        ]
        assert np.concatenate(accepted).mean() == pytest.approx(rate, rel=0.5)


def test_a_rate_below_all_that_was_measured_gets_the_least_one_s_threshold(calibration: Calibration) -> None:
    assert calibration.threshold(1e-9, 20, 1.0) == calibration.threshold(RATES[0], 20, 1.0)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 1.5, math.nan, math.inf])
def test_a_rate_that_is_none_is_refused_by_name(calibration: Calibration, rate: float) -> None:
    with pytest.raises(ValueError, match=f"between 0 and 1, not {rate}"):
        calibration.threshold(rate, 20, 1.0)


def test_an_empty_gallery_has_the_threshold_of_one_class(calibration: Calibration) -> None:
    assert calibration.threshold(0.05, 0, 1.0) == calibration.threshold(0.05, 1, 1.0)


# Probabilities


def by_hand(calibration: Calibration, distances: list[float], spacing: float) -> list[float]:
    """A softmax with one loop: each of the nearest classes, and none of them."""
    power = calibration.distance_power
    weights = [math.exp(-calibration.distance_weight * distance**power) for distance in distances]
    nobody = math.exp(-(calibration.unknown_intercept + calibration.unknown_spacing * spacing))
    evidence = sum(weights[:NEAREST_CONSIDERED]) + nobody
    return [weight / evidence for weight in weights]


@pytest.mark.parametrize(
    "distances", [[0.3], [0.3, 0.9], [0.8, 0.81, 1.1], [0.5] * 16, [0.5 + i / 50 for i in range(30)]]
)
@pytest.mark.parametrize("spacing", [0.4, 1.0])
@pytest.mark.parametrize("power", [1, 2])
def test_probabilities_agree_with_a_softmax_by_hand(
    calibration: Calibration, distances: list[float], spacing: float, power: int
) -> None:
    calibration = dataclasses.replace(calibration, distance_power=power)
    expected = by_hand(calibration, distances, spacing)
    assert calibration.probabilities(distances, spacing) == pytest.approx(expected, rel=1e-9)


ascending = st.lists(st.floats(0, 2), min_size=1, max_size=40).map(sorted)


@given(distances=ascending, spacing=spacings)
def test_probabilities_descend_and_leave_room_for_no_class(
    calibration: Calibration, distances: list[float], spacing: float
) -> None:
    p = calibration.probabilities(distances, spacing)
    assert ((p >= 0) & (p <= 1)).all()
    assert (np.diff(p) <= 0).all()
    assert p[:NEAREST_CONSIDERED].sum() <= 1 + 1e-12


def test_a_probability_does_not_depend_on_how_many_matches_are_shown(calibration: Calibration) -> None:
    distances = np.linspace(0.9, 1.1, 40)
    shown = calibration.probabilities(distances[:NEAREST_CONSIDERED], 1.0)
    assert np.array_equal(shown, calibration.probabilities(distances, 1.0)[:NEAREST_CONSIDERED])


def test_a_close_match_is_likely_and_a_far_one_is_not(calibration: Calibration) -> None:
    assert calibration.probabilities([0.1, 1.4], 1.0)[0] > 0.99
    assert calibration.probabilities([1.4, 1.4], 1.0)[0] < 0.1


def test_two_equally_close_classes_share_the_probability(calibration: Calibration) -> None:
    p = calibration.probabilities([0.1, 0.1], 1.0)
    assert p[0] == p[1] == pytest.approx(0.5, abs=0.01)


def test_the_same_distance_means_less_where_classes_are_nearer_to_each_other(calibration: Calibration) -> None:
    values = [calibration.probabilities([0.7], spacing)[0] for spacing in (1.4, 1.0, 0.6)]
    assert values == sorted(values, reverse=True)


def test_extreme_distances_and_weights_stay_finite(calibration: Calibration) -> None:
    steep = dataclasses.replace(calibration, distance_weight=5000.0, unknown_intercept=2000.0)
    assert np.isfinite(steep.probabilities([0.0, 2.0], 1.0)).all()
    assert steep.probabilities([0.0, 2.0], 1.0)[0] == pytest.approx(1.0)


def test_no_distances_have_no_probabilities(calibration: Calibration) -> None:
    assert calibration.probabilities([], 1.0).shape == (0,)


# Text


@pytest.mark.parametrize(("spacing", "margin"), [(0.45, 0.3), (0.6, 0.15), (0.9, 0.045), (1.3, 0.065), (0.0, 2.0)])
def test_the_margin_grows_as_classes_move_together_and_never_beyond_all_distances(
    calibration: Calibration, spacing: float, margin: float
) -> None:
    changed = dataclasses.replace(calibration, ambiguity_margin=0.3, ambiguity_spacing=0.9)
    assert changed.margin(spacing) == pytest.approx(margin)
    # Where no spacing was fitted, one margin for all; a twentieth of the spacing is a tie in any case.
    assert calibration.margin(spacing) == pytest.approx(max(calibration.ambiguity_margin, 0.05 * spacing))


def test_a_calibration_survives_json(calibration: Calibration) -> None:
    assert Calibration.from_json(calibration.to_json()) == calibration


@pytest.mark.parametrize("text", ["", "null", "[]", "3", "{}", '"text"', "{", "\ufeff{}"])
def test_text_that_is_no_calibration_is_refused(text: str) -> None:
    with pytest.raises(CalibrationError):
        Calibration.from_json(text)


@pytest.mark.parametrize(
    "change",
    [
        {"default_false_accept_rate": 0},
        {"default_false_accept_rate": "0.05"},
        {"default_false_accept_rate": math.nan},
        {"ambiguity_margin": math.nan},
        {"ambiguity_margin": -0.1},
        {"ambiguity_spacing": math.inf},
        {"ambiguity_spacing": -0.1},
        {"distance_weight": math.inf},
        {"distance_weight": -1.0},
        {"unknown_intercept": None},
        {"unknown_spacing": math.nan},
        {"gallery_sizes": []},
        {"gallery_sizes": [0, 2, 5, 20, 100]},
        {"gallery_sizes": [5, 1, 2, 20, 100]},
        {"gallery_sizes": 5},
        {"typical_spacings": [1.0] * 4},
        {"typical_spacings": [1.0, 1.0, -1.0, 1.0, 1.0]},
        {"false_accept_rates": [0.05]},
        {"false_accept_rates": [0.0, *RATES[1:]]},
        {"false_accept_rates": list(RATES[::-1])},
        {"factors": []},
        {"factors": [[math.nan] * 31] * 5},
        {"factors": [[1.0] * 30] * 5},
        {"factors": [list(range(31, 0, -1))] * 5},
        {"factors": [["far"] * 31] * 5},
        {"factors": [[-0.5] * 31] * 5},
        {"factors": [[0.5] * 31] * 4 + [[0.5] * 30]},
        {"nearest_share": 0.0},
        {"nearest_share": 1.01},
        {"nearest_share": math.nan},
        {"distance_power": 0},
        {"distance_power": 3},
        {"unheard": 1},
    ],
)
def test_numbers_that_no_fit_produces_are_refused_by_their_name(
    calibration: Calibration, change: dict[str, object]
) -> None:
    with pytest.raises(CalibrationError) as caught:
        Calibration.from_json(altered(calibration, change))
    assert caught.value.field.partition(".")[0] == next(iter(change))


@pytest.mark.parametrize("change", [{"ambiguity_margin": -1.0}, {"gallery_sizes": ()}, {"distance_power": 3}])
def test_numbers_that_no_fit_produces_are_refused_without_text_too(
    calibration: Calibration, change: dict[str, Any]
) -> None:
    with pytest.raises(CalibrationError, match=next(iter(change))):
        dataclasses.replace(calibration, **change)


REQUIRED = [field.name for field in dataclasses.fields(Calibration) if field.default is dataclasses.MISSING]


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_number_is_refused_by_its_name(calibration: Calibration, name: str) -> None:
    fields = json.loads(calibration.to_json())
    del fields[name]
    with pytest.raises(CalibrationError) as caught:
        Calibration.from_json(json.dumps(fields))
    assert caught.value.field == name


def test_the_numbers_of_another_method_are_refused(calibration: Calibration) -> None:
    with pytest.raises(CalibrationError, match="method"):
        Calibration.from_json(altered(calibration, {"method": "spacing/2"}))


def test_what_it_was_fitted_on_is_kept_in_words(calibration: Calibration) -> None:
    words = "9 classes, 45 queries – größtenteils"
    changed = dataclasses.replace(calibration, fitted_on=words)
    assert Calibration.from_json(changed.to_json()).fitted_on == words
