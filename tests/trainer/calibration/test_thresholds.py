"""Thresholds set by some groups keep their rates for other groups."""

from __future__ import annotations

import numpy as np
import pytest

from exemplar_encoder.arrays import Floats64, Ints
from exemplar_trainer.calibration.observations import Observation
from exemplar_trainer.calibration.thresholds import fit_factors, kept_levels


def drawn_ratios(rng: np.random.Generator, groups: int) -> tuple[Floats64, Ints]:
    """Strangers of groups that differ: how near they come is normally distributed about their group's mean."""
    means = rng.normal(1.0, 0.15, groups)
    labels = rng.integers(0, groups, 3000)
    return rng.normal(means[labels], 0.15), labels


def test_thresholds_set_by_a_few_groups_keep_the_rate_for_others() -> None:
    rates = np.array([0.001, 0.01, 0.05, 1.0])
    plain: list[list[float]] = []
    kept: list[list[float]] = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        ratios, labels = drawn_ratios(rng, 6)
        strangers, _ = drawn_ratios(rng, 2000)  # of groups that set no threshold
        for levels, found in ((rates, plain), (kept_levels(ratios, labels, rates), kept)):
            found.append([float((strangers <= threshold).mean()) for threshold in np.quantile(ratios, levels)])
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


def test_the_factors_of_a_size_are_the_quantiles_at_those_levels_in_units_of_each_spacing() -> None:
    rates = np.array([0.01, 0.05, 0.2, 1.0])
    ratios, labels = drawn_ratios(np.random.default_rng(3), 5)
    spacings = np.array([0.5, 0.9, 0.7])
    nothing = np.zeros((0, 1), np.float32)

    def met(way: int, spacing: float, part: slice) -> Observation:
        strangers = (ratios[part, None] * spacing).astype(np.float32)
        return Observation(way, None, strangers, labels[part], nothing, np.zeros(0, np.int64))

    # The last gallery is of another size, and says nothing of this one.
    galleries = [met(20, 0.5, slice(0, 1500)), met(20, 0.9, slice(1500, 3000)), met(50, 0.7, slice(0, 100))]
    expected = np.quantile(ratios, kept_levels(ratios, labels, rates))
    np.testing.assert_allclose(fit_factors(galleries, spacings, 20, rates), expected, rtol=1e-3)
    assert fit_factors(galleries, spacings, 20, rates)[0] < 0.99 * np.quantile(ratios, 0.01)


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
