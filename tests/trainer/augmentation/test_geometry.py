"""Transforms that were drawn are the ones that are applied."""

from __future__ import annotations

import numpy as np
import pytest

from exemplar_encoder.arrays import Floats, Floats64, Pixels
from exemplar_trainer.augmentation.distort import Distort
from exemplar_trainer.augmentation.geometry import Affine, Elastic, draw_displacements, draw_transforms

STILL = Affine()


def noise(count: int, size: tuple[int, int], channels: int = 1) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (count, *size, channels), dtype=np.uint8)


def transforms(affine: Affine, turns: list[int], size: tuple[int, int] = (12, 12), seed: int = 0) -> Floats:
    return draw_transforms(np.random.default_rng(seed), affine, np.array(turns), size)


def displacements(elastic: Elastic, count: int, seed: int = 0) -> Floats:
    return draw_displacements(np.random.default_rng(seed), elastic, count)


def apply(
    images: Pixels, drawn: Floats, background: tuple[int, ...] = (255,), fields: Floats | None = None
) -> Floats:
    fields = displacements(Elastic(), len(images)) if fields is None else fields
    return np.asarray(Distort(background)(images, drawn, fields))


def in_pixels(drawn: Floats, size: tuple[int, int]) -> list[Floats64]:
    """Return each transform as a matrix of its own around the center, from output to input pixels, and its shift."""
    center = np.array([(size[1] - 1) / 2, (size[0] - 1) / 2])
    found = []
    for a0, a1, a2, b0, b1, b2 in drawn.astype(float):
        matrix = np.array([[a0, a1], [b0, b1]])
        found.append(np.column_stack([matrix, matrix @ center + [a2, b2] - center]))
    return found


@pytest.mark.parametrize("size", [(12, 12), (13, 13), (10, 16)])
def test_no_augmentation_leaves_every_pixel_as_it_was(size: tuple[int, int]) -> None:
    images = noise(3, size)
    assert np.abs(apply(images, transforms(STILL, [0, 0, 0], size)) - images).max() < 1e-2


@pytest.mark.parametrize("side", [12, 13, 56])
def test_quarter_turns_are_exact(side: int) -> None:
    images = noise(4, (side, side), 3)
    turned = apply(images, transforms(STILL, [0, 1, 2, 3], (side, side)), (255, 255, 255))
    for turns in range(4):
        assert np.abs(turned[turns] - np.rot90(images[turns], turns)).max() < 0.05


@pytest.mark.parametrize("side", [12, 13])
def test_an_orientation_from_4_on_is_mirrored_before_it_is_turned(side: int) -> None:
    images = noise(4, (side, side))
    turned = apply(images, transforms(STILL, [4, 5, 6, 7], (side, side)))
    for turns in range(4):
        assert np.abs(turned[turns] - np.rot90(images[turns][:, ::-1], turns)).max() < 0.05


def test_eight_orientations_are_eight_different_pictures() -> None:
    images = np.repeat(noise(1, (12, 12)), 8, axis=0)
    turned = apply(images, transforms(STILL, list(range(8))))
    assert len({picture.round().tobytes() for picture in turned}) == 8


@pytest.mark.parametrize("background", [(255,), (0,), (250, 128, 10)])
def test_uncovered_pixels_take_the_background_color(background: tuple[int, ...]) -> None:
    images = np.zeros((1, 12, 12, len(background)), dtype=np.uint8) + 77
    shifted = np.array([[1, 0, -6, 0, 1, 0, 0, 0]], dtype=np.float32)  # six pixels to the right
    moved = apply(images, shifted, background)[0]
    assert np.allclose(moved[:, :5], background, atol=1e-3)
    assert np.allclose(moved[:, 7:], 77, atol=1e-3)


def test_pixels_between_picture_and_background_mix_the_two_and_no_other_color() -> None:
    images = np.zeros((1, 12, 12, 3), dtype=np.uint8) + np.array([200, 100, 50], dtype=np.uint8)
    background = (20, 200, 250)
    moved = apply(images, transforms(Affine(rotation=30.0), [0], seed=3), background)[0]
    share = (moved - np.array(background)) / (np.array([200, 100, 50]) - np.array(background))
    assert share.min() > -1e-3
    assert share.max() < 1 + 1e-3
    assert np.ptp(share, axis=-1).max() < 1e-3


def test_a_shift_moves_by_at_most_its_share_of_the_side() -> None:
    size = (20, 40)
    shifts = np.array([m[:, 2] for m in in_pixels(transforms(Affine(shift=0.1), [0] * 500, size), size)])
    assert np.abs(shifts[:, 0]).max() <= 4.001
    assert np.abs(shifts[:, 1]).max() <= 2.001
    assert np.abs(shifts[:, 0]).max() > 3.8
    assert np.abs(shifts[:, 1]).max() > 1.9


def test_a_rotation_stays_within_its_degrees_and_uses_them() -> None:
    matrices = in_pixels(transforms(Affine(rotation=14.0), [0] * 500), (12, 12))
    degrees = np.degrees([np.arctan2(m[1, 0], m[0, 0]) for m in matrices])
    assert 13 < np.abs(degrees).max() <= 14.001
    assert degrees.min() < -13
    assert all(np.linalg.det(m[:, :2]) == pytest.approx(1, abs=1e-5) for m in matrices)


def test_a_scale_makes_the_picture_so_many_times_as_large() -> None:
    matrices = in_pixels(transforms(Affine(scale=(0.5, 3.0)), [0] * 500), (12, 12))
    factors = 1 / np.array([[m[0, 0], m[1, 1]] for m in matrices])
    assert 0.499 < factors.min() < 0.6
    assert 2.9 < factors.max() < 3.001
    assert np.abs(factors[:, 0] - factors[:, 1]).max() > 0.5  # the two sides are stretched apart


def test_a_shear_stays_within_its_range() -> None:
    matrices = in_pixels(transforms(Affine(shear=0.25), [0] * 500), (12, 12))
    shears = np.array([[m[0, 1], m[1, 0]] for m in matrices])
    assert 0.24 < np.abs(shears).max() <= 0.2501


def test_a_quarter_turn_comes_on_top_of_all_else() -> None:
    affine = Affine(rotation=14.0, scale=(0.8, 1.2), shear=0.25)
    quarter = np.array([[0, -1], [1, 0]])
    still, turned = (in_pixels(transforms(affine, [turn] * 50), (12, 12)) for turn in (0, 1))
    assert all(np.allclose(quarter @ a[:, :2], b[:, :2], atol=1e-5) for a, b in zip(still, turned, strict=True))


def test_the_center_stays_where_it_is_but_for_the_shift() -> None:
    affine = Affine(rotation=14.0, scale=(0.8, 1.2), shear=0.25)
    shifts = [m[:, 2] for m in in_pixels(transforms(affine, [0, 1, 2, 3], (13, 13)), (13, 13))]
    assert np.abs(shifts).max() < 1e-4


def test_the_same_generator_draws_the_same_transforms() -> None:
    affine = Affine(15.0, (0.8, 1.2), 0.1, 0.1)
    assert np.array_equal(transforms(affine, [0, 1, 2], seed=5), transforms(affine, [0, 1, 2], seed=5))
    assert not np.array_equal(transforms(affine, [0, 1, 2], seed=5), transforms(affine, [0, 1, 2], seed=6))


def test_an_elastic_distortion_bends_by_about_its_amplitude() -> None:
    size = (40, 40)
    ramp = np.broadcast_to(np.arange(40, dtype=np.uint8)[None, :, None], (200, *size, 1))
    drawn = transforms(STILL, [0] * 200, size)
    moved = apply(ramp, drawn, fields=displacements(Elastic(0.05), 200)) - ramp
    inner = moved[:, 8:-8, 8:-8]
    assert 0.5 < inner.std() / (0.05 * 40) < 1.0  # between the grid's points the field is an average of several


def test_an_elastic_distortion_is_smooth_and_follows_its_field() -> None:
    size = (40, 60)
    fields = np.zeros((1, 5, 5, 2), np.float32)
    fields[0, :, :, 0] = 0.1  # everything from a tenth of the width further right
    ramp = np.broadcast_to(np.arange(60, dtype=np.uint8)[None, None, :, None], (1, *size, 1))
    moved = apply(ramp, transforms(STILL, [0], size), fields=fields)
    assert np.allclose(moved[0, :, :50, 0], ramp[0, :, :50, 0] + 6, atol=1e-3)
    fields[0, 2, 2] = 0.2
    bent = apply(ramp, transforms(STILL, [0], size), fields=fields)[0, :, 5:45, 0]
    assert np.abs(np.diff(bent, axis=0)).max() < 1.5
    assert np.abs(bent - moved[0, :, 5:45, 0]).max() > 3.0


def test_places_between_pixels_are_bilinear_and_the_edge_fades_to_the_background() -> None:
    images = noise(1, (12, 12))
    half = transforms(STILL, [0], (12, 12))
    half[0, 2] = 0.5
    moved = apply(images, half, background=(200,))[0, :, :, 0]
    row = images[0, :, :, 0].astype(float)
    assert np.allclose(moved[:, :-1], (row[:, :-1] + row[:, 1:]) / 2, atol=1e-3)
    assert np.allclose(moved[:, -1], (row[:, -1] + 200) / 2, atol=1e-3)


def test_far_outside_is_background_alone() -> None:
    away = transforms(STILL, [0], (12, 12))
    away[0, 2] = 1e4
    assert np.allclose(apply(noise(1, (12, 12)), away, background=(7,)), 7)


def test_the_same_generator_draws_the_same_fields() -> None:
    elastic = Elastic(0.02)
    assert np.array_equal(displacements(elastic, 3, seed=5), displacements(elastic, 3, seed=5))
    assert not np.array_equal(displacements(elastic, 3, seed=5), displacements(elastic, 3, seed=6))
