"""A fitted calibration keeps its word on classes that it was not fitted on."""

from __future__ import annotations

import math
import tracemalloc
from functools import cache

import numpy as np
import pytest

from exemplar_encoder import Calibration
from exemplar_encoder.calibration import NEAREST_CONSIDERED, gaps_of
from exemplar_trainer.calibration.cross_fit import CalibrationCheck, check_calibration
from exemplar_trainer.calibration.from_held_out import fit_calibration, pair_distances
from exemplar_trainer.calibration.thresholds import Met, fit_softmax, kept_levels, meet
from exemplar_trainer.data.image_set import ImageSet
from tests.trainer.synthetic_sets import gaussian_embeddings, synthetic_set

SET = synthetic_set({f"G{index}": 25 for index in range(6)}, images_per_class=8)
EMBEDDINGS = gaussian_embeddings(SET, spread=0.9, dimension=32)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return fit_calibration(EMBEDDINGS, SET)


def test_pairs_are_those_of_one_class_and_those_of_two_in_one_group() -> None:
    images = synthetic_set({"A": 2, "B": 2}, images_per_class=3)
    embeddings = gaussian_embeddings(images, spread=1.0)
    genuine, impostor = [], []
    for i in range(12):
        for j in range(i + 1, 12):
            d = math.dist(embeddings[i].tolist(), embeddings[j].tolist())
            if images.labels[i] == images.labels[j]:
                genuine.append(d)
            elif images.groups[images.labels[i]] == images.groups[images.labels[j]]:
                impostor.append(d)
    found = pair_distances(embeddings, images)
    assert sorted(found[0]) == pytest.approx(sorted(genuine), abs=1e-3)
    assert sorted(found[1]) == pytest.approx(sorted(impostor), abs=1e-3)


def test_pairs_of_any_two_classes_count_where_no_group_has_two() -> None:
    images = synthetic_set({"A": 1, "B": 1, "C": 1}, images_per_class=2)
    genuine, impostor = pair_distances(gaussian_embeddings(images, spread=1.0), images)
    assert (len(genuine), len(impostor)) == (3, 12)


@pytest.mark.parametrize(("classes", "each"), [(300, 40), (30_000, 2)])
def test_a_very_large_set_is_sampled_and_both_kinds_of_pairs_remain(classes: int, each: int) -> None:
    images = synthetic_set({"": classes}, images_per_class=each)
    embeddings = gaussian_embeddings(images, spread=0.5, dimension=8)
    tracemalloc.start()
    try:
        genuine, impostor = pair_distances(embeddings, images)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(genuine) >= 1500
    assert len(genuine) + len(impostor) <= 4000 * 3999 // 2
    assert peak < 800 * 1024 * 1024


def test_a_very_large_set_is_calibrated_in_bounded_memory() -> None:
    images = synthetic_set({"": 12_000}, images_per_class=2)
    embeddings = gaussian_embeddings(images, spread=0.5, dimension=8)
    tracemalloc.start()
    try:
        fitted = fit_calibration(embeddings, images)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert fitted.class_count == 12_000
    assert peak < 1_500 * 1024 * 1024


def strangers_met(
    embeddings: np.ndarray, images: ImageSet, way: int, draws: int, seed: int
) -> list[tuple[np.ndarray | None, float]]:
    """A gallery's gaps and the distance of a stranger of its group to its nearest class, again and again."""
    rng = np.random.default_rng(seed)
    groups = [classes for classes in images.classes_by_group.values() if len(classes) > way]
    found = []
    for _ in range(draws):
        chosen = rng.permutation(groups[rng.integers(len(groups))])[: way + 1]
        stranger, *enrolled = (rng.choice(images.members[label]) for label in chosen)
        nearest = min(math.dist(embeddings[stranger], embeddings[exemplar]) for exemplar in enrolled)
        found.append((gaps_of(embeddings[enrolled]), nearest))
    return found


@cache
def fitted_on_others(likeness: float) -> Calibration:
    return fit_calibration(gaussian_embeddings(SET, 0.9, 32, seed=0, likeness=likeness), SET)


def share_accepted(calibration: Calibration, likeness: float, way: int, rate: float, measured: bool = True) -> float:
    unseen = gaussian_embeddings(SET, 0.9, 32, seed=1, likeness=likeness)
    accepted = [
        nearest <= calibration.threshold(rate, way, calibration.spacing(way, gaps if measured else None))
        for gaps, nearest in strangers_met(unseen, SET, way, 3000, seed=2)
    ]
    return float(np.mean(accepted))


@pytest.mark.parametrize("likeness", [0.0, 0.6])
@pytest.mark.parametrize("way", [1, 5, 20])
@pytest.mark.parametrize("rate", [0.05, 0.1, 0.3])
def test_strangers_of_the_same_kind_are_given_a_name_as_often_as_was_asked(
    likeness: float, way: int, rate: float
) -> None:
    assert share_accepted(fitted_on_others(likeness), likeness, way, rate) == pytest.approx(rate, rel=0.5)


@pytest.mark.parametrize("rate", [0.05, 0.1])
@pytest.mark.parametrize(("fitted", "likeness"), [(0.0, 0.6), (0.6, 0.0)])
def test_a_gallery_unlike_those_of_the_fit_shows_it_by_its_spacing(
    fitted: float, likeness: float, rate: float
) -> None:
    calibration = fitted_on_others(fitted)
    with_spacing, without = (share_accepted(calibration, likeness, 20, rate, each) for each in (True, False))
    assert abs(math.log((with_spacing + 1e-3) / rate)) < abs(math.log((without + 1e-3) / rate)) / 1.5


@pytest.fixture(scope="module")
def check() -> CalibrationCheck:
    return check_calibration(EMBEDDINGS, SET)


def test_the_cross_fitted_check_finds_the_rates_that_were_asked_for(check: CalibrationCheck) -> None:
    assert check.way == 12  # half of a group of 25
    assert check.realized_rates == pytest.approx(check.false_accept_rates, abs=0.025)
    assert check.known_accepted == tuple(sorted(check.known_accepted))
    assert check.known_accepted[-1] > 0.5


def test_stated_probabilities_come_true(check: CalibrationCheck) -> None:
    assert check.expected_calibration_error < 0.1
    assert sum(share for _, _, share in check.bins) == pytest.approx(1)
    assert check.expected_calibration_error == pytest.approx(sum(abs(p - q) * w for p, q, w in check.bins))


def test_the_softmax_is_the_one_of_least_loss() -> None:
    rng = np.random.default_rng(0)
    galleries, apart = [], rng.uniform(0.5, 1.2, 30)
    for _ in apart:
        known = np.sort(rng.uniform(0.2, 1.3, (20, 4)), axis=1).astype(np.float32)
        strangers = np.sort(rng.uniform(0.6, 1.4, (20, 4)), axis=1).astype(np.float32)
        ranks = rng.choice(4, 20, p=[0.8, 0.1, 0.05, 0.05])
        galleries.append(Met(4, None, strangers, np.zeros(20, dtype=np.int64), known, ranks))

    def loss(weight: float, intercept: float, slope: float) -> float:
        total = 0.0
        for gallery, spacing in zip(galleries, apart, strict=True):
            nobody = math.exp(-intercept - slope * spacing)
            for distances, rank in zip(gallery.known.tolist(), gallery.ranks.tolist(), strict=True):
                weights = [math.exp(-weight * d * d) for d in distances]
                total -= math.log(weights[rank] / (sum(weights) + nobody))
            for distances in gallery.strangers.tolist():
                total -= math.log(nobody / (sum(math.exp(-weight * d * d) for d in distances) + nobody))
        return total

    found = fit_softmax(galleries, apart)
    for change in np.concatenate([np.eye(3), -np.eye(3)]) * 0.05:
        assert loss(*found) < loss(*(np.array(found) + change))


def drawn_ratios(rng: np.random.Generator, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Strangers of groups that differ: how near they come is normally distributed about their group's mean."""
    means = rng.normal(1.0, 0.15, groups)
    labels = rng.integers(0, groups, 3000)
    return rng.normal(means[labels], 0.15), labels


def test_thresholds_set_by_a_few_groups_keep_the_rate_for_others() -> None:
    rates = np.array([0.001, 0.01, 0.05, 1.0])
    plain, kept = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        ratios, labels = drawn_ratios(rng, 6)
        strangers, _ = drawn_ratios(rng, 2000)  # of groups that set no threshold
        for levels, found in ((rates, plain), (kept_levels(ratios, labels, rates), kept)):
            found.append([(strangers <= threshold).mean() for threshold in np.quantile(ratios, levels)])
    assert np.mean(plain, axis=0)[1] > 0.02  # where 0.01 was asked for
    assert np.mean(kept, axis=0)[1] == pytest.approx(0.01, rel=0.3)
    assert np.mean(kept, axis=0)[2] == pytest.approx(0.05, rel=0.3)


def test_each_group_is_judged_by_a_quantile_over_the_others() -> None:
    rates = np.array([0.01, 0.05, 0.2])
    ratios, labels = drawn_ratios(np.random.default_rng(0), 5)
    levels = kept_levels(ratios, labels, rates)
    realized = np.zeros(3)
    for group in range(5):
        thresholds = np.quantile(ratios[labels != group], levels)
        realized += [(ratios[labels == group] <= threshold).sum() / len(ratios) for threshold in thresholds]
    assert (levels < rates).all()
    np.testing.assert_allclose(realized, rates, rtol=0.1)


def test_a_threshold_is_never_laxer_than_what_all_strangers_say() -> None:
    rates = np.array([0.01, 0.05, 0.2, 1.0])
    ratios = np.tile(np.linspace(0, 1, 20), 4)  # four groups that are the same
    assert (kept_levels(ratios, np.repeat(np.arange(4), 20), rates) <= rates).all()


def test_a_group_nearer_than_all_others_leaves_the_least_level() -> None:
    rates = np.array([0.01, 0.05, 1.0])
    ratios = np.concatenate([np.linspace(0.0, 0.1, 100), np.linspace(1.0, 2.0, 300)])
    assert kept_levels(ratios, np.repeat(np.arange(4), 100), rates)[1] == pytest.approx(0.001)


@pytest.mark.parametrize("groups", [1, 2])
def test_with_less_than_three_groups_there_is_nothing_to_leave_out(groups: int) -> None:
    rates = np.array([0.01, 0.05, 1.0])
    ratios, labels = drawn_ratios(np.random.default_rng(0), groups)
    assert kept_levels(ratios, labels, rates) is rates


def test_a_query_whose_class_is_not_even_among_the_nearest_counts_as_one_misnamed() -> None:
    classes = np.eye(40, dtype=np.float32)
    slightly = classes[7] + 0.1 * classes[np.arange(40) != 3].sum(axis=0)  # all but class 3 are nearer than class 3
    known = np.stack([classes[3], slightly / np.linalg.norm(slightly)]).astype(np.float32)
    met = meet(classes, known, np.array([3, 3]), known[:0])
    assert met.ranks.tolist() == [0, NEAREST_CONSIDERED]
    assert met.known.shape == (2, NEAREST_CONSIDERED)
    np.testing.assert_allclose(met.known[0], [0.0] + [np.sqrt(2.0)] * (NEAREST_CONSIDERED - 1), atol=1e-5)


def wrong_names(calibration: Calibration, way: int, background: np.ndarray, margin: bool) -> np.ndarray:
    """For each query that is accepted and, by the margin, not ambiguous, whether its name is wrong; many galleries.

    A gallery that is to hold more classes than the set has is filled up with the background.
    """
    rng = np.random.default_rng(5)
    wrong = []
    for _ in range(60):
        enrolled = rng.permutation(150)[: min(way, 135)]
        pairs = np.array([rng.choice(SET.members[label], 2, replace=False) for label in enrolled])
        filling = background[rng.permutation(len(background))[: way - len(enrolled)]]
        classes = np.concatenate([EMBEDDINGS[pairs[:, 0]], filling])
        distances = np.linalg.norm(EMBEDDINGS[pairs[:, 1]][:, None] - classes[None], axis=2)
        best, second = np.sort(distances, axis=1)[:, :2].T
        spacing = calibration.spacing(way, gaps_of(classes))
        named = best <= calibration.threshold(0.05, way, spacing)
        if margin:
            named &= second - best >= calibration.margin(spacing)
        wrong.append((distances.argmin(axis=1) != np.arange(len(enrolled)))[named])
    return np.concatenate(wrong)


@pytest.fixture(scope="module")
def background() -> np.ndarray:
    """An embedding of each of 450 other classes."""
    others = synthetic_set({f"T{index}": 25 for index in range(18)}, images_per_class=1)
    return gaussian_embeddings(others, spread=0.9, dimension=32, seed=7)


@pytest.mark.parametrize("way", [50, 135, 500])
def test_the_margin_keeps_wrong_names_among_accepted_queries_rare(way: int, background: np.ndarray) -> None:
    calibration = fit_calibration(EMBEDDINGS, SET, background=background)
    before = wrong_names(calibration, way, background, margin=False)
    after = wrong_names(calibration, way, background, margin=True)
    assert after.mean() < calibration.ambiguity_error_rate + 0.015
    assert after.mean() < before.mean()
    if way > 50:
        assert before.mean() > 2 * calibration.ambiguity_error_rate
        assert after.mean() > 0.005, "no more is called ambiguous than has to be"


def test_few_classes_far_from_each_other_need_no_margin(calibration: Calibration) -> None:
    typical = dict(zip(calibration.gallery_sizes, calibration.typical_spacings, strict=True))
    assert calibration.margin(typical[5]) == pytest.approx(0.05 * typical[5])  # ties aside
    assert calibration.margin(typical[100]) > 1.5 * 0.05 * typical[100]


def test_a_network_that_hardly_errs_needs_no_margin() -> None:
    sure = gaussian_embeddings(SET, spread=0.5, dimension=32)
    assert fit_calibration(sure, SET).margin(0.5) == pytest.approx(0.05 * 0.5)


def test_the_same_set_and_seed_give_the_same_calibration(calibration: Calibration) -> None:
    assert fit_calibration(EMBEDDINGS, SET) == calibration
    assert calibration.class_count == 150


@pytest.mark.parametrize("groups", [{"": 4}, {"": 5}, {"A": 2, "B": 2}, {"A": 1, "B": 1, "C": 1, "D": 1}, {"A": 4}])
@pytest.mark.parametrize("each", [2, 5])
@pytest.mark.parametrize("spread", [0.001, 1.0, 1000.0])
def test_the_smallest_sets_are_calibrated_and_checked(groups: dict[str, int], each: int, spread: float) -> None:
    images = synthetic_set(groups, images_per_class=each)
    embeddings = gaussian_embeddings(images, spread=spread)
    fitted = fit_calibration(embeddings, images)
    assert 0 <= fitted.threshold(0.05, 3, fitted.spacing(3, None)) <= 2.5
    check = check_calibration(embeddings, images)
    assert check.way >= 1
    assert all(0 <= rate <= 1 for rate in check.realized_rates + check.known_accepted)


def test_embeddings_that_all_coincide_are_still_calibrated() -> None:
    images = synthetic_set({"A": 6, "B": 6})
    same = np.tile(np.eye(4, dtype=np.float32)[0], (len(images.labels), 1))
    fitted = fit_calibration(same, images)
    assert np.isfinite(fitted.probabilities([0.0], 0.0)).all()
    check_calibration(same, images)
