"""Labeled pictures tell whether they are another kind than the exemplars, whatever strangers are among them."""

from __future__ import annotations

import numpy as np
import pytest

from exemplar_encoder.arrays import Floats
from exemplar_encoder.kinds_of_picture import OTHER_KIND
from exemplar_trainer.calibration.from_gallery import LabeledGallery
from exemplar_trainer.evaluation.tasks import NO_CLASS

CLASSES, EACH = 40, 4


def unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def labeled(side: float, asked: int = CLASSES, strangers: float = 0.0) -> LabeledGallery:
    """Return classes, pictures of the first of them that lie to one side, and as many strangers to another."""
    rng = np.random.default_rng(0)
    classes = unit(np.asarray(rng.normal(size=(CLASSES, 32)), np.float32))
    labels = np.repeat(np.arange(asked), EACH)
    queries = classes[labels] + 0.1 * np.asarray(rng.normal(size=(len(labels), 32)), np.float32)
    others = np.asarray(rng.normal(size=queries.shape), np.float32)
    queries[:, 0] += side
    others[:, 1] += strangers
    return LabeledGallery(
        classes, unit(np.concatenate([queries, others])), np.append(labels, np.full(len(labels), NO_CLASS))
    )


@pytest.mark.parametrize("asked", [CLASSES, 8])
def test_pictures_like_the_exemplars_are_not_even_where_few_classes_have_some(asked: int) -> None:
    assert labeled(0.0, asked).shift < OTHER_KIND / 2


@pytest.mark.parametrize("asked", [CLASSES, 8])
def test_pictures_to_one_side_are(asked: int) -> None:
    assert labeled(2.0, asked).shift > OTHER_KIND


def test_strangers_do_not_count() -> None:
    assert labeled(0.0, strangers=50.0).shift == pytest.approx(labeled(0.0).shift, abs=1e-6)
