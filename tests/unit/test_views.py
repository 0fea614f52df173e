"""The mean of several views is what it says, whatever the batch."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from exemplar_trainer.views import averaged_over_zooms


def pixels_as_embedding(side: int, channels: int = 1) -> keras.Model:
    images = keras.Input((side, side, channels))
    return keras.Model(images, layers.UnitNormalization()(layers.Flatten()(images)))


def pictures(count: int, side: int, channels: int = 1) -> np.ndarray:
    smooth = np.random.default_rng(0).integers(0, 256, (count, side // 8, side // 8, channels), dtype=np.uint8)
    large = [
        np.stack([np.asarray(Image.fromarray(each[:, :, c]).resize((side, side))) for c in range(channels)], axis=-1)
        for each in smooth
    ]
    return np.stack(large).astype(np.float32)


def test_one_view_of_natural_size_is_the_network_itself() -> None:
    network = pixels_as_embedding(16)
    assert averaged_over_zooms(network, (1.0,), (255,)) is network


@pytest.mark.parametrize("count", [1, 5])
def test_the_embedding_is_the_mean_of_the_views_renormalised(count: int) -> None:
    network, images = pixels_as_embedding(32), pictures(count, 32)
    both = np.asarray(averaged_over_zooms(network, (1.0, 0.75, 1.25), (255,))(images))
    alone = [np.asarray(network(images))] + [
        np.asarray(averaged_over_zooms(network, (zoom,), (255,))(images)) for zoom in (0.75, 1.25)
    ]
    mean = np.mean(alone, axis=0)
    np.testing.assert_allclose(both, mean / np.linalg.norm(mean, axis=1, keepdims=True), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(both, axis=1), 1.0, atol=1e-5)


def view(images: np.ndarray, zoom: float, background: tuple[int, ...]) -> np.ndarray:
    """What a network sees, its brightest value 1: the view's length is lost, and its direction is all it shows."""
    side, channels = images.shape[1], images.shape[3]
    flat = keras.Input(images.shape[1:])
    seen = averaged_over_zooms(keras.Model(flat, layers.Flatten()(flat)), (zoom,), background)
    raw = np.asarray(seen(images)).reshape(-1, side, side, channels)
    return raw / raw.max(axis=(1, 2, 3), keepdims=True)


def test_a_smaller_view_shows_the_whole_image_on_the_background() -> None:
    images = np.full((1, 32, 32, 3), 100, np.float32)
    seen = view(images, 0.75, (200, 100, 50))[0]
    assert np.allclose(seen[4:28, 4:28], 0.5, atol=1e-3)
    assert np.allclose(seen[:4], [1.0, 0.5, 0.25], atol=1e-3)
    assert np.allclose(seen[:, 28:], [1.0, 0.5, 0.25], atol=1e-3)


def test_a_larger_view_shows_the_middle_of_the_image() -> None:
    images = pictures(1, 64)
    seen = view(images, 1.25, (255,))[0, :, :, 0]
    enlarged = Image.fromarray(images[0, :, :, 0]).resize((80, 80), Image.Resampling.BILINEAR)
    expected = np.asarray(enlarged)[8:72, 8:72]
    assert np.abs(seen - expected / expected.max()).max() < 0.02
