"""95 % intervals: of a mean by Student's t, of a share by Wilson, of any other figure by drawing tasks again.

An interval says how far a figure may be off for other tasks from the same images; it has a width, or there is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from exemplar_encoder.arrays import Floats64, Ints

Interval = tuple[float, float]

CONFIDENCE = 0.95

RESAMPLES = 200


def half_interval(values: Floats64) -> float:
    """Return half of the interval of a mean, by Student's t over independent values; NaN for a single one."""
    if len(values) < 2:
        return math.nan
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)
    return float(quantile * stats.sem(values))


def wilson(share: float, count: int) -> Interval:
    """Return the interval of a share of `count` independent queries; it has a width at 0 and 1 too.

    Wilson, JASA 1927.
    """
    found = stats.binomtest(round(share * count), count).proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)


def share_interval(values: Floats64, queries: int) -> Interval:
    """Return the interval of the mean over tasks of the shares that were right.

    By Student's t over the tasks; by Wilson over all `queries` where there is one task, or where tasks do not differ.
    """
    mean, half = float(values.mean()), half_interval(values)
    if not half > 0:
        return wilson(mean, queries)
    return max(0.0, mean - half), min(1.0, mean + half)


def bootstrap(figures: Callable[[Ints], Floats64], tasks: Sequence[Ints], seed: int) -> list[Interval | None]:
    """Return intervals of figures: the middle 95 % of them when as many tasks are drawn again, with replacement.

    An interval is widened to its figure where it leaves it out, as that of a calibration error may: noise adds to it,
    and drawing again adds noise. (Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.)

    Args:
        figures: of some rows of queries, float64 `[k]`.
        tasks: for each task its rows.
        seed: of the draw.

    Returns:
        For each of the `k` figures its interval; None where every draw gave the same, as it does of a single task.
    """
    found = figures(np.concatenate(tasks))
    if len(tasks) < 2:
        return [None] * len(found)

    def of_draws(draws: Ints, axis: int) -> Floats64:
        return np.stack([figures(np.concatenate([tasks[at] for at in draw])) for draw in draws], axis=axis)

    low, high = stats.bootstrap(
        (np.arange(len(tasks)),),
        of_draws,
        vectorized=True,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng([seed, len(tasks)]),
    ).confidence_interval
    ends = np.stack([np.minimum(low, found), np.maximum(high, found)], axis=1)
    return [(float(start), float(end)) if end > start else None for start, end in ends]
