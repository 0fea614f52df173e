"""What a network loses on its way into a bundle: bytes, and no more than half precision of its weights."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from exemplar_trainer.bundles.compact import fits_half, fold_normalization, round_to_half
from exemplar_trainer.networks import NETWORKS


def shaken(network: keras.Model) -> keras.Model:
    """The network with weights and running statistics as after training, drawn at random."""
    rng = np.random.default_rng(0)
    for variable in network.variables:
        values = keras.ops.convert_to_numpy(variable.value)
        noise = rng.normal(size=values.shape).astype(np.float32)
        variable.assign(np.abs(noise) + 0.5 if "variance" in variable.path else values + 0.2 * noise)
    return network


def outputs(network: keras.Model, side: int) -> np.ndarray:
    images = np.random.default_rng(1).uniform(0, 255, (8, side, side, 1)).astype(np.float32)
    return np.asarray(network(images, training=False))


@pytest.mark.parametrize(("name", "side"), [("residual", 32), ("seed", 20)])
def test_a_folded_network_is_the_same_function_without_normalization(name: str, side: int) -> None:
    network = shaken(NETWORKS[name]((side, side, 1), 16))
    folded = fold_normalization(network)
    np.testing.assert_allclose(outputs(folded, side), outputs(network, side), atol=1e-5)
    assert not any(isinstance(layer, layers.BatchNormalization) for layer in folded.layers)


def test_normalization_after_a_depthwise_convolution_is_folded_too() -> None:
    images = keras.Input((16, 16, 1))
    x = layers.Conv2D(3, 3)(images)
    x = layers.BatchNormalization()(layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False)(x))
    network = shaken(keras.Model(images, layers.Flatten()(x)))
    folded = fold_normalization(network)
    assert not any(isinstance(layer, layers.BatchNormalization) for layer in folded.layers)
    np.testing.assert_allclose(outputs(folded, 16), outputs(network, 16), rtol=1e-4, atol=1e-3)


def branching(activation: str, twice: bool) -> keras.Model:
    images = keras.Input((16, 16, 1))
    plain = layers.Conv2D(4, 3, activation=activation)(images)
    x = layers.BatchNormalization()(plain)
    if twice:
        x = layers.Add()([x, plain])
    return keras.Model(images, layers.Flatten()(x))


@pytest.mark.parametrize(("activation", "twice"), [("relu", False), ("linear", True)])
def test_a_normalization_that_is_no_part_of_one_convolution_stays(activation: str, twice: bool) -> None:
    network = shaken(branching(activation, twice))
    folded = fold_normalization(network)
    assert any(isinstance(layer, layers.BatchNormalization) for layer in folded.layers)
    np.testing.assert_allclose(outputs(folded, 16), outputs(network, 16), rtol=1e-4, atol=1e-3)


def test_a_convolution_s_own_bias_is_folded_too() -> None:
    network = shaken(branching("linear", twice=False))
    folded = fold_normalization(network)
    assert [type(layer).__name__ for layer in folded.layers] == ["InputLayer", "Conv2D", "Flatten"]
    np.testing.assert_allclose(outputs(folded, 16), outputs(network, 16), rtol=1e-4, atol=1e-3)


def test_rounded_weights_lose_nothing_in_half_precision_and_little_of_the_answer() -> None:
    network = shaken(NETWORKS["residual"]((32, 32, 1), 16))
    before = outputs(network, 32)
    round_to_half(network)
    assert all(fits_half(weights) for weights in network.get_weights())
    np.testing.assert_allclose(outputs(network, 32), before, atol=5e-3)


def test_numbers_beyond_half_precision_stay_as_they_are() -> None:
    network = branching("linear", twice=False)
    statistics = network.layers[2]
    values = [weights + 1e-9 for weights in statistics.get_weights()]
    values[3] = np.full(4, 1e6, np.float32) + 1
    statistics.set_weights(values)
    round_to_half(network)
    np.testing.assert_array_equal(statistics.get_weights()[3], values[3])
    assert not fits_half(values[3])
    assert all(fits_half(weights) for weights in statistics.get_weights()[:3])
