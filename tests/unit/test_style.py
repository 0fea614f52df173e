"""A style is shared by all images of a class and by all classes of a batch's group, and by nobody else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from exemplar_encoder import Preprocessing
from exemplar_trainer.augmentation import Affine, Elastic, draw_transforms
from exemplar_trainer.fit import make_batch, make_sampler
from exemplar_trainer.recipe import RECIPES, Recipe
from exemplar_trainer.samplers import ClassSampler
from exemplar_trainer.style import Style, draw_styles
from tests.unit.synthetic_sets import synthetic_set

SET = synthetic_set({"A": 9, "B": 7, "C": 12}, images_per_class=5)
IMAGES = replace(SET, pixels=np.zeros((len(SET.labels), 16, 16, 1), np.uint8))
STRONG = Style(share=1.0, rotation=30.0, stretch=0.3, shear=0.3, bend=0.06)


def drawn(style: Style, count: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return draw_styles(np.random.default_rng(seed), style, count, 5)


def recipe(style: Style, composites: tuple[int, int] = (0, 0)) -> Recipe:
    """All distortion that is not shared is switched off."""
    return replace(
        RECIPES["default"],
        preprocessing=Preprocessing(16, 16, 1),
        classes_per_batch=12,
        images_per_class=3,
        orientations=1,
        composites=composites,
        affine=Affine(),
        elastic=Elastic(0.0),
        style=style,
    )


def test_a_style_keeps_the_area_and_the_handedness() -> None:
    matrices, _ = drawn(STRONG)
    np.testing.assert_allclose(np.linalg.det(matrices), 1.0, rtol=1e-9)


def test_styles_turn_stretch_and_bend_within_their_ranges() -> None:
    turned, _ = drawn(Style(share=1.0, rotation=20.0))
    angles = np.degrees(np.arctan2(turned[:, 1, 0], turned[:, 0, 0]))
    assert -20 <= angles.min() < -15
    assert 15 < angles.max() <= 20
    stretched, _ = drawn(Style(share=1.0, stretch=0.3))
    ratios = np.log(stretched[:, 0, 0] / stretched[:, 1, 1])
    assert 0.4 < ratios.max() <= 0.6
    _, bends = drawn(Style(share=1.0, bend=0.05))
    assert bends.shape == (300, 5, 5, 2)
    assert bends.std() == pytest.approx(0.05, rel=0.05)


def test_a_share_of_classes_keeps_the_style_it_was_drawn_in() -> None:
    matrices, bends = drawn(replace(STRONG, share=0.6))
    plain = np.all(matrices == np.eye(2), axis=(1, 2))
    assert 0.3 < plain.mean() < 0.5
    assert not bends[plain].any()
    assert bends[~plain].any(axis=(1, 2, 3)).all()


def test_one_group_and_each_other_class_have_a_style_of_their_own() -> None:
    for step in range(30):
        batch = ClassSampler(SET, 12, 3, 0.5, 1, 0).batch(step)
        assert batch.styles is not None
        first = SET.labels[batch.images[batch.styles == 0]]
        assert len(set(first.tolist())) == 6
        assert len({SET.groups[label] for label in first}) == 1
        for style in range(1, 7):
            assert len(set(SET.labels[batch.images[batch.styles == style]].tolist())) == 1
        assert batch.styles.max() == 6


def test_images_of_one_style_are_distorted_alike_and_others_are_not() -> None:
    made = make_sampler(recipe(STRONG), IMAGES)
    batch = made.batch(3)
    inputs, _ = make_batch(recipe(STRONG), IMAGES, made, 3)
    assert batch.styles is not None
    for name in ("transforms", "displacements"):
        by_style = [np.unique(inputs[name][batch.styles == style], axis=0) for style in range(7)]
        assert all(len(each) == 1 for each in by_style)
        assert len(np.unique(np.concatenate(by_style), axis=0)) == 7


def test_a_style_comes_before_the_orientation_and_after_an_image_s_own_distortion() -> None:
    style = np.array([[[1.5, 0.2], [0.1, 0.7]]])
    own = draw_transforms(np.random.default_rng(4), Affine(12.0, (0.8, 1.2), 0.2), np.array([0]), (10, 10))
    both = draw_transforms(
        np.random.default_rng(4), Affine(12.0, (0.8, 1.2), 0.2), np.array([5]), (10, 10), styles=style
    )
    mirrored_quarter = np.diag([-1.0, 1.0]) @ np.array([[0.0, -1.0], [1.0, 0.0]])
    expected = mirrored_quarter @ style[0] @ own[0, [0, 1, 3, 4]].reshape(2, 2)
    np.testing.assert_allclose(both[0, [0, 1, 3, 4]].reshape(2, 2), expected, atol=1e-6)


def test_both_parts_of_composites_share_one_style() -> None:
    chosen = recipe(STRONG, composites=(2, 2))
    made = make_sampler(chosen, IMAGES)
    inputs, _ = make_batch(chosen, IMAGES, made, 0)
    batch = made.batch(0)
    assert batch.seconds is not None
    scales = batch.seconds.first_place.scale, batch.seconds.second_place.scale
    firsts = inputs["transforms"][-12:][:, [0, 1, 3, 4]] * scales[0]
    seconds = inputs["second_transforms"][:, [0, 1, 3, 4]] * scales[1]
    np.testing.assert_allclose(firsts, np.tile(firsts[:1], (12, 1)), atol=1e-5)
    np.testing.assert_allclose(seconds, firsts, atol=1e-5)


def test_without_a_style_nothing_is_drawn_for_it() -> None:
    made = make_sampler(recipe(Style()), IMAGES)
    inputs, _ = make_batch(recipe(Style()), IMAGES, made, 0)
    np.testing.assert_array_equal(inputs["transforms"], np.tile(inputs["transforms"][:1], (36, 1)))
    assert not inputs["displacements"].any()
