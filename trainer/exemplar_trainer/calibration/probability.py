"""How likely a class is at a distance: a softmax over the nearest classes and "none of them"."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from exemplar_encoder.arrays import Floats64, Ints
from exemplar_encoder.calibration import NEAREST_CONSIDERED
from exemplar_trainer.calibration.observations import Observation

DISTANCE_POWER = 2


def fit_softmax(galleries: Sequence[Observation], spacings: Floats64) -> tuple[float, float, float]:
    """Fit a multinomial logistic regression of the right class, or none near, on squared distances and the spacing.

    Each gallery counts its known and its unknown queries alike. Newton's method on a convex loss.

    Args:
        galleries: of any sizes.
        spacings: of each gallery, float64 `[galleries]`.

    Returns:
        The weight of distance, and intercept and slope of "none of them", as `Calibration` has them.
    """
    distances, truths, apart, weights = [], [], [], []
    for gallery, spacing in zip(galleries, spacings, strict=True):
        for nearest, ranks in ((gallery.known, gallery.ranks), (gallery.strangers, None)):
            if not len(nearest):
                continue
            padded = np.full((len(nearest), NEAREST_CONSIDERED), np.inf)
            padded[:, : nearest.shape[1]] = nearest
            distances.append(padded)
            truths.append(np.full(len(nearest), NEAREST_CONSIDERED) if ranks is None else ranks)
            apart.append(np.full(len(nearest), spacing))
            weights.append(np.full(len(nearest), 0.5 / len(nearest) / len(galleries)))
    return _least_loss(*(np.concatenate(each) for each in (distances, truths, apart, weights)))


def _least_loss(distances: Floats64, truth: Ints, spacing: Floats64, weight: Floats64) -> tuple[float, float, float]:
    """Return the parameters of least loss over queries.

    A class has one feature, its closeness; "none of them" has two, -1 and the spacing's negative. No alternative has
    both, so the products between them vanish and are not computed.
    """
    there = np.isfinite(distances)
    closeness = np.where(there, -(np.where(there, distances, 0.0) ** DISTANCE_POWER), 0.0)
    none = truth == NEAREST_CONSIDERED
    right = np.where(none, 0.0, np.take_along_axis(closeness, np.where(none, 0, truth)[:, None], axis=1)[:, 0])
    theta = np.array([1.0, 0.0, 0.0])
    ridge = 1e-6 * np.eye(3)  # keeps the fit finite where everything can be told apart
    for _ in range(100):
        z = np.where(there, theta[0] * closeness, -np.inf)
        unknown = -(theta[1] + theta[2] * spacing)
        top = np.maximum(z.max(axis=1), unknown)
        p, p_none = np.exp(z - top[:, None]), np.exp(unknown - top)
        total = p.sum(axis=1) + p_none
        p, p_none = p / total[:, None], p_none / total
        mean = (p * closeness).sum(axis=1)
        free = p_none * (1 - p_none)
        missed = p_none - none
        gradient = np.array([weight @ (right - mean), weight @ missed, weight @ (spacing * missed)]) - ridge @ theta
        rows = [
            [(p * closeness**2).sum(axis=1) - mean**2, mean * p_none, mean * p_none * spacing],
            [mean * p_none, free, free * spacing],
            [mean * p_none * spacing, free * spacing, free * spacing**2],
        ]
        curvature = np.array([[weight @ each for each in row] for row in rows]) + ridge
        step = np.linalg.solve(curvature, gradient)
        theta += step * min(1.0, 5.0 / max(np.abs(step).max(), 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    return max(0.0, float(theta[0])), float(theta[1]), float(theta[2])
