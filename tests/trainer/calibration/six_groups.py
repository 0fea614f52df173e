"""Six groups of 25 classes, near enough to each other that a calibration has something to fit."""

from __future__ import annotations

from tests.trainer.synthetic_sets import gaussian_embeddings, synthetic_set

SET = synthetic_set({f"G{index}": 25 for index in range(6)}, images_per_class=8)
EMBEDDINGS = gaussian_embeddings(SET, spread=0.9, dimension=32)
