"""Batches follow from seed and step alone, and hold what the losses need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from exemplar_trainer.samplers.batch import Batch, Sampler, draw
from exemplar_trainer.samplers.classes import ClassSampler
from exemplar_trainer.samplers.pairs import PairSampler
from tests.trainer.synthetic_sets import synthetic_set

SET = synthetic_set({"A": 9, "B": 7, "C": 12}, images_per_class=5)
STEPS = range(60)


def classes(p: int = 8, k: int = 3, share: float = 0.5, orientations: int = 4, seed: int = 0) -> ClassSampler:
    return ClassSampler(SET, p, k, share, orientations, seed)


def pairs(count: int = 16, hard: float = 0.5, seed: int = 0) -> PairSampler:
    return PairSampler(SET, count, hard, seed)


def same(a: Batch, b: Batch) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("images", "labels", "orientations"))


@pytest.mark.parametrize("make", [classes, pairs])
def test_a_batch_is_a_function_of_seed_and_step(make: Callable[..., Sampler]) -> None:
    one, two = make(), make()
    for _ in range(5):
        one.batch(0)  # what was drawn before must not matter
    assert all(same(one.batch(step), two.batch(step)) for step in (7, 3, 0))
    assert not same(one.batch(3), one.batch(4))
    assert not same(one.batch(3), make(seed=1).batch(3))


@pytest.mark.parametrize("orientations", [1, 4, 8])
def test_a_batch_holds_p_classes_of_k_different_images(orientations: int) -> None:
    for step in STEPS:
        batch = classes(orientations=orientations).batch(step)
        assert Counter(Counter(batch.labels.tolist()).values()) == {3: 8}
        assert len(set(batch.images.tolist())) == 24
        assert np.array_equal(SET.labels[batch.images], batch.labels // orientations)
        assert np.array_equal(batch.orientations, batch.labels % orientations)


def test_a_class_appears_in_one_orientation_of_a_batch() -> None:
    for step in STEPS:
        batch = classes().batch(step)
        turns_of = {(SET.labels[image], turn) for image, turn in zip(batch.images, batch.orientations, strict=True)}
        assert len(turns_of) == 8


def test_half_of_the_classes_come_from_one_group() -> None:
    for step in STEPS:
        labels = np.unique(SET.labels[classes(p=10).batch(step).images])
        assert max(Counter(SET.groups[label] for label in labels).values()) >= 5


def test_all_classes_come_from_one_group_where_that_is_asked_for() -> None:
    for step in STEPS:
        labels = np.unique(SET.labels[classes(p=7, share=1.0).batch(step).images])
        assert len({SET.groups[label] for label in labels}) == 1


def test_the_classes_drawn_from_one_group_turn_together() -> None:
    for step in STEPS:
        batch = classes(p=7, share=1.0).batch(step)
        assert len(set(batch.orientations.tolist())) == 1
    assert {int(classes(p=7, share=1.0).batch(step).orientations[0]) for step in STEPS} == {0, 1, 2, 3}


def test_a_group_smaller_than_its_share_is_filled_up_from_others() -> None:
    for step in STEPS:
        assert len(np.unique(classes(p=20, share=1.0).batch(step).labels)) == 20


def test_every_class_is_reached_in_every_orientation() -> None:
    labels = {int(label) for step in range(400) for label in classes().batch(step).labels}
    assert labels == set(range(28 * 4))
    assert classes().class_count == 28 * 4


def test_a_set_with_fewer_classes_than_a_batch_takes_has_smaller_batches() -> None:
    few = synthetic_set({"": 3}, images_per_class=2)
    batch = ClassSampler(few, 48, 4, 0.5, 4, 0).batch(0)
    assert len(np.unique(batch.labels)) == 3
    assert len(batch.images) == 12


def test_a_class_with_fewer_images_than_a_batch_takes_repeats_them_evenly() -> None:
    few = synthetic_set({"": 4}, images_per_class=3)
    for step in STEPS:
        batch = ClassSampler(few, 4, 5, 0.0, 1, 0).batch(step)
        for label in range(4):
            counts = Counter(batch.images[batch.labels == label].tolist())
            assert len(counts) == 3
            assert sum(counts.values()) == 5


def test_half_of_the_pairs_are_of_one_class_and_never_an_image_with_itself() -> None:
    for step in STEPS:
        batch = pairs().batch(step)
        left, right = batch.labels[0::2], batch.labels[1::2]
        assert (left == right).sum() == 8
        assert (batch.images[0::2] != batch.images[1::2]).all()
        assert np.array_equal(batch.labels, SET.labels[batch.images])
        assert (batch.orientations == 0).all()


@pytest.mark.parametrize(("hard", "low", "high"), [(0.0, 0.2, 0.45), (0.5, 0.55, 0.8), (1.0, 1.0, 1.0)])
def test_hard_pairs_stay_within_a_group(hard: float, low: float, high: float) -> None:
    inside = []
    for step in STEPS:
        labels = pairs(hard=hard).batch(step).labels
        for left, right in zip(labels[0::2], labels[1::2], strict=True):
            if left != right:
                inside.append(SET.groups[left] == SET.groups[right])
    assert low <= np.mean(inside) <= high


def test_hard_pairs_of_a_class_alone_in_its_group_come_from_elsewhere() -> None:
    lonely = synthetic_set({"A": 1, "B": 1, "C": 1}, images_per_class=2)
    labels = PairSampler(lonely, 8, 1.0, 0).batch(0).labels
    assert (labels[2::4] != labels[3::4]).all()


def test_pairs_reach_every_class() -> None:
    assert {int(label) for step in STEPS for label in pairs().batch(step).labels} == set(range(28))


def test_drawing_takes_each_thing_once_while_there_are_enough() -> None:
    rng = np.random.default_rng(0)
    assert sorted(draw(rng, 5, 5).tolist()) == list(range(5))
    assert len(set(draw(rng, 50, 20).tolist())) == 20
