"""Weights rounded to half precision cost little of the answer, and what does not fit stays whole."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

from exemplar_trainer.bundles.half_precision import fits_half, round_to_half
from exemplar_trainer.networks import NETWORKS
from tests.trainer.shaken_networks import outputs, shaken


def test_rounded_weights_lose_nothing_in_half_precision_and_little_of_the_answer() -> None:
    network = shaken(NETWORKS["residual"]((32, 32, 1), 16))
    before = outputs(network, 32)
    round_to_half(network)
    assert all(fits_half(weights) for weights in network.get_weights())
    np.testing.assert_allclose(outputs(network, 32), before, atol=5e-3)


def test_numbers_beyond_half_precision_stay_as_they_are() -> None:
    images = keras.Input((16, 16, 1))
    statistics = layers.BatchNormalization()
    network = keras.Model(images, statistics(layers.Conv2D(4, 3)(images)))
    values = [weights + 1e-9 for weights in statistics.get_weights()]
    values[3] = np.full(4, 1e6, np.float32) + 1
    statistics.set_weights(values)
    round_to_half(network)
    np.testing.assert_array_equal(statistics.get_weights()[3], values[3])
    assert not fits_half(values[3])
    assert all(fits_half(weights) for weights in statistics.get_weights()[:3])
