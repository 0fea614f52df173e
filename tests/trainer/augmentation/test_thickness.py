"""Strokes grow and shrink by what was drawn."""

from __future__ import annotations

import numpy as np
import pytest

from exemplar_trainer.augmentation.thickness import Thicken, draw_thickness


def thickened(images: np.ndarray, amounts: list[float]) -> np.ndarray:
    return np.asarray(Thicken()(images, np.array(amounts, np.float32)))


def extreme_of_neighbors(image: np.ndarray, darkest: bool) -> np.ndarray:
    """The darkest or lightest value of each pixel's three by three neighbors."""
    height, width = image.shape
    spread = np.empty_like(image)
    for y in range(height):
        for x in range(width):
            near = image[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
            spread[y, x] = near.min() if darkest else near.max()
    return spread


@pytest.mark.parametrize("amount", [1.0, 0.4, 0.0, -0.3, -1.0])
def test_a_pixel_moves_towards_the_darkest_or_lightest_of_its_neighbors(amount: float) -> None:
    image = np.random.default_rng(0).uniform(0, 255, (7, 9)).astype(np.float32)
    expected = image + abs(amount) * (extreme_of_neighbors(image, darkest=amount > 0) - image)
    np.testing.assert_allclose(thickened(image[None, :, :, None], [amount])[0, :, :, 0], expected, atol=1e-3)


def test_each_image_gets_its_own_amount() -> None:
    paper = np.full((2, 9, 9, 1), 255, np.float32)
    paper[:, :, 3:6] = 0  # a stroke three pixels wide
    thick, thin = thickened(paper, [1.0, -1.0])
    assert (thick[4, :, 0] == 0).sum() == 5
    assert (thin[4, :, 0] == 0).sum() == 1


def test_amounts_are_drawn_both_ways_within_the_range() -> None:
    drawn = draw_thickness(np.random.default_rng(0), 0.6, 400)
    assert drawn.dtype == np.float32
    assert -0.6 <= drawn.min() < -0.55
    assert 0.55 < drawn.max() <= 0.6
