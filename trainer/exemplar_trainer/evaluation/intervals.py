"""95 % intervals: of a mean by Student's t, of a share by Wilson, of any other figure by drawing tasks again.

An interval says how far a figure may be off for other tasks from the same images; it has a width, or there is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from exemplar_encoder.arrays import Floats64, Ints

Interval = tuple[float, float]

RESAMPLES = 200

_Z = 1.959964
_STUDENT = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706)  # by degrees of freedom, from 1; more are approximated


def half_interval(values: Floats64) -> float:
    """Half of the interval of a mean, by Student's t over independent values; NaN for a single one."""
    if len(values) < 2:
        return math.nan
    return _student(len(values) - 1) * float(values.std(ddof=1)) / math.sqrt(len(values))


def wilson(share: float, count: int) -> Interval:
    """The interval of a share of `count` independent queries (Wilson, JASA 1927); it has a width at 0 and 1 too."""
    shrink = 1 + _Z**2 / count
    middle = (share + _Z**2 / (2 * count)) / shrink
    half = _Z * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2)) / shrink
    return max(0.0, middle - half), min(1.0, middle + half)


def share_interval(values: Floats64, queries: int) -> Interval:
    """The interval of the mean over tasks of the shares that were right.

    By Student's t over the tasks; by Wilson over all `queries` where there is one task, or where tasks do not differ.
    """
    mean, half = float(values.mean()), half_interval(values)
    if not half > 0:
        return wilson(mean, queries)
    return max(0.0, mean - half), min(1.0, mean + half)


def bootstrap(
    figures: Callable[[Ints], Floats64], tasks: Sequence[Ints], known: npt.NDArray[np.bool_], seed: int
) -> list[Interval | None]:
    """Intervals of figures: the middle 95 % of what they are when as many tasks are drawn again, with replacement.

    Of a single task the known and the unknown queries are drawn again, each from their own. An interval is widened to
    its figure where it leaves it out, as that of a calibration error may: noise adds to it, and drawing again adds
    noise. (Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.)

    Args:
        figures: of some rows of queries, float64 `[k]`.
        tasks: for each task its rows; each has known and unknown queries.
        known: bool `[queries]`.
        seed: of the draw.

    Returns:
        For each of the `k` figures its interval; None where every draw gave the same.
    """
    rng = np.random.default_rng([seed, len(tasks)])
    units = [list(tasks)] if len(tasks) > 1 else [[*rows[:, None]] for rows in _by_kind(tasks[0], known)]
    drawn = []
    for _ in range(RESAMPLES):
        rows = [unit[at] for unit in units for at in rng.integers(len(unit), size=len(unit))]
        drawn.append(figures(np.concatenate(rows)))
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    found = figures(np.concatenate(tasks))
    ends = np.stack([np.minimum(low, found), np.maximum(high, found)], axis=1)
    return [(float(start), float(end)) if end > start else None for start, end in ends]


def _by_kind(rows: Ints, known: npt.NDArray[np.bool_]) -> tuple[Ints, Ints]:
    return rows[known[rows]], rows[~known[rows]]


def _student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t."""
    if freedom <= len(_STUDENT):
        return _STUDENT[freedom - 1]
    # Its expansion in 1 / freedom (Abramowitz & Stegun 26.7.5): within 0.1 % from 6 on.
    first, second = (_Z**3 + _Z) / 4, (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / 96
    third = (3 * _Z**7 + 19 * _Z**5 + 17 * _Z**3 - 15 * _Z) / 384
    return _Z + first / freedom + second / freedom**2 + third / freedom**3
