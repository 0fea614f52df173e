"""When two classes are too close to call: the margin that keeps wrong names rare among accepted queries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from exemplar_encoder import Calibration, DecisionRule
from exemplar_encoder.arrays import Bools, Floats, Floats64
from exemplar_trainer.calibration.observations import Observation

AMBIGUITY_ERROR_RATE = 0.02
"""The share of wrong names, among accepted ones, that the margin is set for."""

# Lots of galleries, by their spacing, that a margin is found for.
_LOTS = 8


def fit_margin(galleries: Sequence[Observation], calibration: Calibration) -> tuple[float, float]:
    """Return the margin that keeps wrong names rare enough, and the spacing from which on only ties are ambiguous.

    Galleries are taken together by their spacing, and a line over the inverse of it is drawn through the needs of
    each lot, then raised to the lot that needs most. Lots in which errors are rare without a margin say only that.

    Args:
        galleries: of any sizes.
        calibration: whose thresholds at the default rate decide what is accepted.

    Returns:
        `ambiguity_margin` and `ambiguity_spacing`, as `Calibration` has them.
    """
    found: list[tuple[Floats64, Floats, Bools]] = []
    for gallery in galleries:
        if gallery.way >= 2:
            rule = DecisionRule(calibration, gallery.way, gallery.gaps)
            accepted = rule.accepts(gallery.known)
            behind = gallery.known[accepted, 1] - gallery.known[accepted, 0]
            wrong = gallery.ranks[accepted] != 0
            found.append((np.full(len(wrong), max(rule.spacing, 1e-6)), behind, wrong))
    if not found:
        return 0.0, 0.0
    spacings, behind, wrong = (np.concatenate(each) for each in zip(*found, strict=True))
    order = np.argsort(spacings, kind="stable")
    lots = [lot for lot in np.array_split(order, _LOTS) if len(lot)]
    needed = [(float(spacings[lot].mean()), _least_margin(behind[lot], wrong[lot])) for lot in lots]
    x, y = np.array([(1 / spacing, least) for spacing, least in needed if least > 0]).reshape(-1, 2).T
    slope, start = np.polyfit(x, y, 1) if len(x) >= 2 else (0.0, 0.0)
    start += (y - start - slope * x).max(initial=0.0)
    if slope > 0 > start:
        return float(-start), float(-slope / start)
    return float(y.max(initial=0.0)), 0.0


def _least_margin(behind: Floats, wrong: Bools) -> float:
    """Return the least margin beyond which at most `AMBIGUITY_ERROR_RATE` of names are wrong."""
    order = np.argsort(-behind)
    margin, share = behind[order], np.cumsum(wrong[order]) / np.arange(1, len(order) + 1)
    good = np.flatnonzero(share <= AMBIGUITY_ERROR_RATE)
    if len(good) == 0:
        return float(margin.max(initial=0.0))
    return float(margin[good[-1]]) if good[-1] < len(order) - 1 else 0.0
