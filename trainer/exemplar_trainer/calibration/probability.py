"""How likely a class is at a distance: a softmax over the nearest classes and "none of them"."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from exemplar_encoder.arrays import Floats64
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
    features, truths, weights = [], [], []
    for gallery, spacing in zip(galleries, spacings, strict=True):
        for distances, ranks in ((gallery.known, gallery.ranks), (gallery.strangers, None)):
            if not len(distances):
                continue
            x = np.zeros((len(distances), NEAREST_CONSIDERED + 1, 3))
            x[:, :-1, 0] = -np.inf
            x[:, : distances.shape[1], 0] = -(distances.astype(np.float64) ** DISTANCE_POWER)
            x[:, -1, 1:] = -1.0, -spacing
            features.append(x)
            truths.append(np.full(len(distances), NEAREST_CONSIDERED) if ranks is None else ranks)
            weights.append(np.full(len(distances), 0.5 / len(distances) / len(galleries)))
    x, truth, weight = np.concatenate(features), np.concatenate(truths), np.concatenate(weights)
    there = np.isfinite(x[:, :, 0])
    x[~there] = 0.0
    right = x[np.arange(len(x)), truth]
    theta = np.array([1.0, 0.0, 0.0])
    ridge = 1e-6 * np.eye(3)  # keeps the fit finite where everything can be told apart
    for _ in range(100):
        z = np.where(there, x @ theta, -np.inf)
        p = np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True))
        mean = np.einsum("qk,qkf->qf", p, x)
        gradient = weight @ (right - mean) - ridge @ theta
        second = np.einsum("q,qk,qkf,qkg->fg", weight, p, x, x, optimize=True)
        curvature = second - np.einsum("q,qf,qg->fg", weight, mean, mean) + ridge
        step = np.linalg.solve(curvature, gradient)
        theta += step * min(1.0, 5.0 / max(np.abs(step).max(), 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    return max(0.0, float(theta[0])), float(theta[1]), float(theta[2])
