"""The graph resizes as Pillow does."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from exemplar_trainer.augmentation.resizing import resized


@pytest.mark.parametrize("kind", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC])
@pytest.mark.parametrize("size", [(5, 9), (14, 11), (30, 4)])
def test_images_come_out_as_pillow_resizes_them(size: tuple[int, int], kind: Image.Resampling) -> None:
    images = np.random.default_rng(0).random((3, 14, 11, 2)).astype(np.float32)
    found = np.asarray(resized(images, size, kind))
    assert found.shape == (3, *size, 2)
    for image, result in zip(images, found, strict=True):
        for channel in range(2):
            expected = np.asarray(Image.fromarray(image[..., channel]).resize(size[::-1], kind))
            np.testing.assert_allclose(result[..., channel], expected, atol=1e-5)


def test_an_image_of_that_size_stays_as_it_is() -> None:
    images = np.random.default_rng(0).random((1, 6, 7, 1)).astype(np.float32)
    assert resized(images, (6, 7)) is images
