"""How well distances tell queries of enrolled classes from strangers, whatever the threshold.

Figures of open-set recognition: area under the ROC curve and false-positive rate at 95 % true positives of "is this
query of an enrolled class"; and OSCR, the curve of correct classification against false positives, with its area
(Dhamija, Günther & Boult, "Reducing Network Agnostophobia", NeurIPS 2018).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from exemplar_encoder.arrays import Bools, Floats64

_TRUE_POSITIVES = 0.95
_POINTS = 201

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Separation:
    """How well they are told apart; a curve is at most 201 points (strangers accepted, known queries), as shares.

    Attributes:
        auroc: probability that a known query is nearer its nearest class than a stranger is.
        false_positives: share of strangers accepted at the least distance that accepts 95 % of known queries.
        oscr: area under `oscr_curve`.
        roc: known queries accepted.
        oscr_curve: known queries accepted and named rightly.
    """

    auroc: float
    false_positives: float
    oscr: float
    roc: Points
    oscr_curve: Points


def separate(distance: Floats64, known: Bools, right: Bools) -> Separation:
    """Sweep the threshold over some queries, each by the distance to its nearest class.

    Args:
        distance: float64 `[queries]`.
        known: bool `[queries]`, whether the query's class was enrolled; some are and some are not.
        right: bool `[queries]`, whether the nearest class is the query's.
    """
    accepted, named = _curve(distance, known, known), _curve(distance, known, known & right)
    return Separation(
        auroc=_area(accepted),
        false_positives=float(accepted[np.argmax(accepted[:, 1] >= _TRUE_POSITIVES), 0]),
        oscr=_area(named),
        roc=_points(accepted),
        oscr_curve=_points(named),
    )


def _curve(distance: Floats64, known: Bools, positive: Bools) -> Floats64:
    """Return shares of strangers and of known queries that are positive, within each distinct distance; `[k, 2]`."""
    order = np.argsort(distance, kind="stable")
    last = np.append(np.diff(distance[order]) > 0, True)  # ties are accepted together
    x = np.cumsum(~known[order])[last] / max(1, int((~known).sum()))
    y = np.cumsum(positive[order])[last] / max(1, int(known.sum()))
    return np.concatenate([[[0.0, 0.0]], np.stack([x, y], axis=1)])


def _area(curve: Floats64) -> float:
    return float(np.trapezoid(curve[:, 1], curve[:, 0]))


def _points(curve: Floats64) -> Points:
    kept = curve[np.linspace(0, len(curve) - 1, min(_POINTS, len(curve))).astype(int)]
    return tuple((float(x), float(y)) for x, y in kept)
