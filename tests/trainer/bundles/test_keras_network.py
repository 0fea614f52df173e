"""A Keras model as the network of a bundle: features, and a linear map between them and unit length."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from exemplar_encoder import bundle as layout
from exemplar_encoder.arrays import Pixels
from exemplar_trainer.bundles.keras_network import KerasNetwork


@pytest.fixture(scope="module")
def network() -> KerasNetwork:
    keras.utils.set_random_seed(3)
    images = keras.Input((8, 8, 3), name="images")
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(6, 3)(images))
    return KerasNetwork(keras.Model(images, layers.UnitNormalization(dtype="float32", name="unit_length")(x)))


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (16, 8, 8, 3), dtype=np.uint8)


def test_features_are_embeddings_before_unit_length(network: KerasNetwork, pixels: Pixels) -> None:
    features = network.features(pixels)
    assert features.shape == (16, network.dimension)
    assert np.ptp(np.linalg.norm(features, axis=1)) > 1
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    np.testing.assert_allclose(network.embed(pixels), unit, atol=1e-6)


def test_an_adapted_network_maps_features_before_unit_length(network: KerasNetwork, pixels: Pixels) -> None:
    rng = np.random.default_rng(1)
    # Numbers that half precision holds, scaled beyond what it holds: a scale changes no direction.
    matrix = rng.integers(-4, 5, (6, 6)).astype(np.float64) * 1e6
    offset = rng.integers(-4, 5, 6).astype(np.float64) * 1e6
    mapped = network.features(pixels) @ matrix + offset
    expected = mapped / np.linalg.norm(mapped, axis=1, keepdims=True)
    before = network.embed(pixels)
    np.testing.assert_allclose(network.adapted(matrix, offset).embed(pixels), expected, atol=2e-3)
    np.testing.assert_array_equal(network.embed(pixels), before)


def test_what_an_adapted_network_writes_is_what_it_embeds(
    network: KerasNetwork, pixels: Pixels, tmp_path: Path
) -> None:
    adapted = network.adapted(np.eye(6)[::-1].copy(), np.arange(6.0))
    np.testing.assert_allclose(adapted.write(tmp_path, pixels), adapted.embed(pixels), atol=1e-5)
    assert {each.name for each in tmp_path.iterdir()} == {layout.WEIGHTS, layout.SAVED_MODEL, layout.LITERT}
