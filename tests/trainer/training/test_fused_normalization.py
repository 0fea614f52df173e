"""The fused kernel trains the network that the stock layers are."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from exemplar_encoder.arrays import Floats
from exemplar_trainer.networks.residual import residual_network
from exemplar_trainer.training.fused_normalization import FusedBatchNormalization, with_fused_normalization

SHAPE = (16, 16, 1)


def images(count: int) -> Floats:
    return np.random.default_rng(0).uniform(0, 255, (count, *SHAPE)).astype(np.float32)


@pytest.fixture
def pair() -> tuple[keras.Model, keras.Model]:
    stock = residual_network(SHAPE, 8)
    fused = with_fused_normalization(stock)
    fused.set_weights(stock.get_weights())
    return stock, fused


def test_every_normalization_is_replaced_and_nothing_else(pair: tuple[keras.Model, keras.Model]) -> None:
    stock, fused = pair
    for before, after in zip(stock.layers, fused.layers, strict=True):
        normalizes = isinstance(before, keras.layers.BatchNormalization)
        assert isinstance(after, FusedBatchNormalization) == normalizes
        assert isinstance(after, type(before))


def test_training_and_serving_outputs_are_those_of_the_stock_layers(pair: tuple[keras.Model, keras.Model]) -> None:
    stock, fused = pair
    batch = images(32)
    for training in (True, False):
        ours, theirs = (np.asarray(network(batch, training=training)) for network in (fused, stock))
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_a_step_moves_the_weights_and_running_statistics_alike(pair: tuple[keras.Model, keras.Model]) -> None:
    batch = images(64)
    for network in pair:
        network.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
        network.train_on_batch(batch, np.zeros((64, 8), np.float32))
    for mine, its, variable in zip(pair[1].get_weights(), pair[0].get_weights(), pair[0].weights, strict=True):
        # The kernel's variance is unbiased, n / (n - 1) times the other: most at the last block, of 1 x 1 places.
        tolerance = 0.01 * 1.5 / 64 if "variance" in variable.path else 2e-4
        np.testing.assert_allclose(mine, its, atol=tolerance, rtol=2e-3)
