"""Composite classes: made of two, told apart by either, and unknown to whoever lists the set's classes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import keras
import numpy as np
import pytest

from exemplar_encoder import Preprocessing
from exemplar_trainer.augmentation import Affine, Distort, Elastic, draw_displacements, draw_transforms
from exemplar_trainer.dataset import ImageSet
from exemplar_trainer.fit import make_batch, make_sampler
from exemplar_trainer.learner import build_learner
from exemplar_trainer.losses import NCACosFace
from exemplar_trainer.recipe import RECIPES, Recipe
from exemplar_trainer.samplers import Batch, ClassSampler
from exemplar_trainer.samplers.composites import Place, draw_grid
from tests.unit.synthetic_sets import synthetic_set

SET = synthetic_set({"A": 9, "B": 7, "C": 12}, images_per_class=5)
STEPS = range(40)
GRID = (3, 2)

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")


def sampler(seed: int = 0) -> ClassSampler:
    return ClassSampler(SET, 16, 3, 0.5, 8, seed, GRID)


def tail(batch: Batch) -> slice:
    """The rows of composites."""
    assert batch.seconds is not None
    return slice(len(batch.images) - len(batch.seconds.images), None)


def test_composites_count_among_the_classes_of_a_batch() -> None:
    for step in STEPS:
        batch = sampler().batch(step)
        assert Counter(Counter(batch.labels.tolist()).values()) == {3: 16}
        assert len(batch.labels[tail(batch)]) == 6 * 3


def test_labels_of_composites_lie_beyond_those_of_the_set() -> None:
    made = sampler()
    for step in STEPS:
        batch = made.batch(step)
        rows = tail(batch)
        assert batch.labels[rows].min() == made.class_count
        assert batch.labels[: rows.start].max() < made.class_count


def test_every_first_part_meets_every_second_part_once() -> None:
    for step in STEPS:
        batch = sampler().batch(step)
        assert batch.seconds is not None
        firsts, seconds = SET.labels[batch.images[tail(batch)]], SET.labels[batch.seconds.images]
        pairs = {(int(a), int(b)): int(c) for a, b, c in zip(firsts, seconds, batch.labels[tail(batch)], strict=True)}
        assert len(pairs) == len(set(pairs.values())) == 6
        assert {a for a, _ in pairs} == set(firsts.tolist())
        assert len({a for a, _ in pairs}) == 3
        assert len({b for _, b in pairs}) == 2


def test_parts_of_one_side_are_of_one_group_and_turned_alike() -> None:
    for step in STEPS:
        batch = sampler().batch(step)
        assert batch.seconds is not None
        for images, turns in (
            (batch.images[tail(batch)], batch.orientations[tail(batch)]),
            (batch.seconds.images, batch.seconds.orientations),
        ):
            assert len({SET.groups[label] for label in SET.labels[images]}) == 1
            assert len(set(turns.tolist())) == 1


def test_a_batch_of_composites_is_a_function_of_seed_and_step() -> None:
    one, two = sampler().batch(7), sampler().batch(7)
    assert one.seconds is not None
    assert two.seconds is not None
    for name in ("images", "orientations"):
        np.testing.assert_array_equal(getattr(one.seconds, name), getattr(two.seconds, name))
    assert one.seconds.first_place == two.seconds.first_place
    other = sampler(seed=1).batch(7)
    assert other.seconds is not None
    assert one.seconds.first_place != other.seconds.first_place


def test_parts_lie_on_opposite_sides_and_within_the_picture() -> None:
    rng = np.random.default_rng(0)
    groups = list(SET.classes_by_group.values())
    for _ in range(200):
        grid = draw_grid(rng, groups, 3, 2, 8)
        first, second = grid.first_place, grid.second_place
        assert first.x * second.x + first.y * second.y < 0
        assert 0.2 <= np.hypot(first.x - second.x, first.y - second.y) <= 0.4
        for place in (first, second):
            assert np.hypot(place.x, place.y) + 0.25 * place.scale < 0.55  # ink spreads by a quarter of the side


def test_a_set_of_small_groups_lends_parts_from_all_of_it() -> None:
    rng = np.random.default_rng(0)
    grid = draw_grid(rng, [np.array([0, 1]), np.array([2, 3])], 3, 2, 1)
    assert len(set(grid.firsts.tolist())) == 3


# Pictures


def dot(size: int = 40) -> np.ndarray:
    """White paper with a black square of a tenth of the side in the middle."""
    image = np.full((1, size, size, 1), 255, np.uint8)
    image[:, size * 9 // 20 : size * 11 // 20, size * 9 // 20 : size * 11 // 20] = 0
    return image


def placed(place: Place, size: int = 40) -> np.ndarray:
    transforms = draw_transforms(np.random.default_rng(0), Affine(), np.array([0]), (size, size), place)
    fields = draw_displacements(np.random.default_rng(0), Elastic(), 1)
    return np.asarray(Distort((255,))(dot(size), transforms, fields))[0, :, :, 0]


def centre(picture: np.ndarray) -> tuple[float, float]:
    ink = 255.0 - picture
    ys, xs = np.mgrid[: picture.shape[0], : picture.shape[1]]
    return float((xs * ink).sum() / ink.sum()), float((ys * ink).sum() / ink.sum())


@pytest.mark.parametrize("place", [Place(1.0, 0.0, 0.0), Place(0.5, 0.25, -0.1), Place(2.0, -0.2, 0.2)])
def test_a_part_goes_to_its_place_at_its_scale(place: Place) -> None:
    picture = placed(place)
    x, y = centre(picture)
    assert (x, y) == pytest.approx((19.5 + 40 * place.x, 19.5 + 40 * place.y), abs=0.05)
    assert (255.0 - picture).sum() / 255 == pytest.approx((4 * place.scale) ** 2, rel=0.1)


@pytest.mark.parametrize("background", [(255,), (0,), (200, 30, 90)])
def test_two_parts_share_one_paper(background: tuple[int, ...]) -> None:
    paper = np.tile(np.array(background, np.float32), (1, 4, 4, 1))
    left, right = paper.copy(), paper.copy()
    left[0, 1, 1] = right[0, 2, 2] = 128
    both = np.asarray(Distort(background).together(left, right))
    expected = paper.copy()
    expected[0, 1, 1] = expected[0, 2, 2] = 128
    np.testing.assert_array_equal(both, expected)


# Training


def recipe(composites: tuple[int, int] = GRID) -> Recipe:
    return replace(
        RECIPES["default"],
        preprocessing=Preprocessing(16, 16, 1),
        dimension=8,
        steps=10,
        classes_per_batch=12,
        composites=composites,
    )


def noisy_set() -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (len(SET.labels), 16, 16, 1), dtype=np.uint8)
    return replace(SET, pixels=pixels)


def test_a_learner_trains_on_composites() -> None:
    images = noisy_set()
    made = make_sampler(recipe(), images)
    learner = build_learner(recipe(), made.class_count)
    inputs, labels = make_batch(recipe(), images, made, 0)
    assert len(inputs["second_images"]) == 12
    assert len(inputs["images"]) == len(labels) == 24
    losses = [float(learner.train_on_batch(inputs, labels)) for _ in range(8)]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


def test_composite_rows_show_both_parts() -> None:
    images = noisy_set()
    made = make_sampler(recipe(), images)
    learner = build_learner(recipe(), made.class_count)
    seen: list[np.ndarray] = []
    learner.base_network = lambda pixels, training: seen.append(np.asarray(pixels)) or pixels  # type: ignore[assignment]
    inputs, _ = make_batch(recipe(), images, made, 0)
    keras.utils.set_random_seed(0)
    learner.call(inputs)
    alone = {name: value for name, value in inputs.items() if not name.startswith("second")}
    learner.call(alone)
    both, first = seen
    np.testing.assert_array_equal(both[:12], first[:12])
    assert (np.abs(both[12:] - first[12:]).reshape(12, -1).max(axis=1) > 10).all()
    assert (np.abs(255 - both) >= np.abs(255 - first) - 1e-3).all()


def test_composites_count_in_the_batch_term_alone() -> None:
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(6, 5)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    layer = NCACosFace(4, weight=1.0)
    layer.build((None, 5))
    batch_term = float(layer.nca(embeddings, np.array([0, 0, 1, 1, 4, 4])))
    with_composites = float(layer(embeddings, np.array([0, 0, 1, 1, 4, 4]))) - batch_term
    known = float(layer(embeddings[:4], np.array([0, 0, 1, 1]))) - float(
        layer.nca(embeddings[:4], np.array([0, 0, 1, 1]))
    )
    assert with_composites == pytest.approx(known, rel=1e-4)
