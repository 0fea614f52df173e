"""Colors that were drawn are the ones that images get."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from exemplar_encoder.arrays import Floats
from exemplar_trainer.augmentation.color import ColorJitter, draw_colors
from exemplar_trainer.augmentation.recolor import Recolor

WHITE = (255, 255, 255)


def drawn(jitter: ColorJitter, count: int = 64, background: tuple[int, ...] = WHITE, seed: int = 0) -> Floats:
    return draw_colors(np.random.default_rng(seed), jitter, count, background)


def recolored(jitter: ColorJitter, pixel: tuple[int, ...], background: tuple[int, ...] = WHITE) -> Floats:
    """Return the one pixel as 64 draws leave it, `[64, channels]`."""
    colors = drawn(jitter, background=background)
    images = np.tile(np.array(pixel, np.float32), (64, 1, 1, 1))
    return np.asarray(Recolor()(images, colors))[:, 0, 0]


@pytest.mark.parametrize("background", [(255,), WHITE, (10, 20, 30)])
def test_no_jitter_leaves_every_pixel_exactly_as_it_was(background: tuple[int, ...]) -> None:
    images = np.random.default_rng(1).integers(0, 256, (5, 7, 6, len(background))).astype(np.float32)
    colors = drawn(ColorJitter(), 5, background)
    np.testing.assert_allclose(np.asarray(Recolor()(images, colors)), images, atol=1e-4)


@pytest.mark.parametrize("jitter", [ColorJitter(contrast=0.5), ColorJitter(channel=0.5)])
def test_contrast_leaves_the_paper_alone(jitter: ColorJitter) -> None:
    for paper in (WHITE, (0, 0, 0), (240, 220, 180)):
        np.testing.assert_allclose(recolored(jitter, paper, paper), np.tile(paper, (64, 1)), atol=1e-3)


def test_contrast_scales_what_differs_from_the_paper() -> None:
    changed = recolored(ColorJitter(contrast=0.5), (155, 205, 255))
    ratios = (255 - changed[:, 0]) / 100
    assert 0.5 <= ratios.min() < 0.6
    assert 1.4 < ratios.max() <= 1.5
    np.testing.assert_allclose(255 - changed[:, 1], ratios * 50, atol=1e-3)


def test_brightness_adds_the_same_to_every_channel_and_stays_in_range() -> None:
    changed = recolored(ColorJitter(brightness=0.2), (100, 120, 140))
    np.testing.assert_allclose(changed - changed[:, :1], np.tile([0, 20, 40], (64, 1)), atol=1e-3)
    assert 40 < np.ptp(changed[:, 0]) <= 102
    bright = recolored(ColorJitter(brightness=0.9), (250, 5, 128))
    assert bright.min() >= 0
    assert bright.max() <= 255


def test_a_share_of_images_loses_its_color() -> None:
    changed = recolored(ColorJitter(gray=0.5), (200, 100, 50))
    gray = np.ptp(changed, axis=1) < 1e-3
    assert 16 < gray.sum() < 48
    np.testing.assert_allclose(changed[gray], 0.299 * 200 + 0.587 * 100 + 0.114 * 50, atol=1e-3)
    np.testing.assert_allclose(changed[~gray], np.tile([200, 100, 50], ((~gray).sum(), 1)), atol=1e-3)


def test_saturation_keeps_the_brightness_that_the_eye_sees() -> None:
    changed = recolored(ColorJitter(saturation=0.5), (160, 120, 100))
    np.testing.assert_allclose(changed @ [0.299, 0.587, 0.114], 0.299 * 160 + 0.587 * 120 + 0.114 * 100, atol=1e-2)
    assert np.ptp(changed, axis=1).min() < 40 < 75 < np.ptp(changed, axis=1).max()


def test_hue_turns_colors_and_leaves_grays() -> None:
    jitter = ColorJitter(hue=0.1)
    np.testing.assert_allclose(recolored(jitter, (90, 90, 90)), 90.0, atol=1e-3)
    hues = np.array([colorsys.rgb_to_hsv(*pixel)[0] for pixel in recolored(jitter, (100, 160, 100)) / 255])
    assert abs(hues - 1 / 3).max() <= 0.11
    assert np.ptp(hues) > 0.12


def test_the_same_seed_draws_the_same_colors() -> None:
    jitter = ColorJitter(0.1, 0.1, 0.1, 0.1, 0.1, 0.1)
    np.testing.assert_array_equal(drawn(jitter, seed=3), drawn(jitter, seed=3))
    assert not np.array_equal(drawn(jitter, seed=3), drawn(jitter, seed=4))
