"""A gallery is observed by the nearest of its classes to each query."""

from __future__ import annotations

import numpy as np

from exemplar_encoder.calibration import NEAREST_CONSIDERED
from exemplar_trainer.calibration.observations import observe


def test_a_query_whose_class_is_not_even_among_the_nearest_counts_as_one_misnamed() -> None:
    classes = np.eye(40, dtype=np.float32)
    slightly = classes[7] + 0.1 * classes[np.arange(40) != 3].sum(axis=0)  # all but class 3 are nearer than class 3
    known = np.stack([classes[3], slightly / np.linalg.norm(slightly)]).astype(np.float32)
    seen = observe(classes, known, np.array([3, 3]), known[:0])
    assert seen.ranks.tolist() == [0, NEAREST_CONSIDERED]
    assert seen.known.shape == (2, NEAREST_CONSIDERED)
    np.testing.assert_allclose(seen.known[0], [0.0] + [np.sqrt(2.0)] * (NEAREST_CONSIDERED - 1), atol=1e-5)
