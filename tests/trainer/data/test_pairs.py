"""Exemplars by one source, and queries by others."""

from __future__ import annotations

import numpy as np
import pytest

from exemplar_encoder.arrays import Ints
from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.data.pairs import draw_pairs, draw_strangers
from tests.trainer.synthetic_sets import synthetic_set

CLASSES = np.arange(2, 8)


def draws(images: ImageSet, one_source: bool) -> list[tuple[Ints, str | None, Ints]]:
    found = []
    for seed in range(50):
        rng = np.random.default_rng(seed)
        pairs, source = draw_pairs(images, CLASSES, rng, one_source)
        found.append((pairs, source, draw_strangers(images, np.array([0, 1]), rng, source)))
    return found


@pytest.mark.parametrize("one_source", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_exemplar_and_query_are_two_images_of_the_class(one_source: bool, shared: bool) -> None:
    images = synthetic_set({"": 10}, images_per_class=4, shared_sources=shared)
    for pairs, _, strangers in draws(images, one_source):
        assert (images.labels[pairs] == CLASSES[:, None]).all()
        assert (pairs[:, 0] != pairs[:, 1]).all()
        assert images.labels[strangers].tolist() == [0, 1]


def test_all_exemplars_are_by_one_source_and_all_queries_by_others() -> None:
    images = synthetic_set({"": 10}, images_per_class=4)
    drawn = draws(images, one_source=True)
    for pairs, source, strangers in drawn:
        assert {images.sources[at] for at in pairs[:, 0]} == {source}
        assert source not in {images.sources[at] for at in [*pairs[:, 1], *strangers]}
    assert {source for _, source, _ in drawn} == {"000", "001", "002", "003"}


def test_exemplars_by_any_source_are_by_many() -> None:
    images = synthetic_set({"": 10}, images_per_class=4)
    for pairs, source, _ in draws(images, one_source=False):
        assert source is None
        assert len({images.sources[at] for at in pairs[:, 0]}) > 1


@pytest.mark.parametrize("images", [synthetic_set({"": 10}, shared_sources=False)])
def test_where_no_source_is_shared_any_will_do(images: ImageSet) -> None:
    assert {source for _, source, _ in draws(images, one_source=True)} == {None}
