"""The softmax of a calibration is the one of least loss, written out in loops."""

from __future__ import annotations

import math

import numpy as np

from exemplar_trainer.calibration.observations import Observation
from exemplar_trainer.calibration.probability import fit_softmax


def test_the_softmax_is_the_one_of_least_loss() -> None:
    rng = np.random.default_rng(0)
    galleries, spacings = [], rng.uniform(0.5, 1.2, 30)
    for _ in spacings:
        known = np.sort(rng.uniform(0.2, 1.3, (20, 4)), axis=1).astype(np.float32)
        strangers = np.sort(rng.uniform(0.6, 1.4, (20, 4)), axis=1).astype(np.float32)
        ranks = rng.choice(4, 20, p=[0.8, 0.1, 0.05, 0.05])
        galleries.append(Observation(4, None, strangers, np.zeros(20, dtype=np.int64), known, ranks))

    def loss(weight: float, intercept: float, slope: float) -> float:
        total = 0.0
        for gallery, spacing in zip(galleries, spacings, strict=True):
            nobody = math.exp(-intercept - slope * spacing)
            for distances, rank in zip(gallery.known.tolist(), gallery.ranks.tolist(), strict=True):
                weights = [math.exp(-weight * d * d) for d in distances]
                total -= math.log(weights[rank] / (sum(weights) + nobody))
            for distances in gallery.strangers.tolist():
                total -= math.log(nobody / (sum(math.exp(-weight * d * d) for d in distances) + nobody))
        return total

    found = fit_softmax(galleries, spacings)
    for change in np.concatenate([np.eye(3), -np.eye(3)]) * 0.05:
        assert loss(*found) < loss(*(np.array(found) + change))
