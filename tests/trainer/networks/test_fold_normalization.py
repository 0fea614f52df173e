"""A network is the same function with its normalization folded away."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from exemplar_trainer.networks import NETWORKS
from exemplar_trainer.networks.fold_normalization import fold_normalization
from tests.trainer.shaken_networks import outputs, shaken


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
