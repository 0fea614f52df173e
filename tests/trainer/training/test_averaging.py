"""The average of the weights, derived a second time with a loop; on any backend that the tests are run with."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from exemplar_trainer.training.averaging import AdamW, WarmingAverage
from exemplar_trainer.training.muon import ConvolutionalMuon

STEPS = 5


def trained(optimizer: keras.optimizers.Optimizer) -> tuple[list[np.ndarray], np.ndarray]:
    """The kernel after each step, and what it is in the end, when the average is taken."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5)])
    model.compile(optimizer, loss="mse")
    rng = np.random.default_rng(0)
    kernels = []
    for _ in range(STEPS):
        model.train_on_batch(rng.normal(size=(8, 6)).astype(np.float32), rng.normal(size=(8, 5)).astype(np.float32))
        kernels.append(model.get_weights()[0].copy())
    optimizer.finalize_variable_values(model.trainable_variables)
    return kernels, model.get_weights()[0]


@pytest.mark.parametrize("kind", [AdamW, ConvolutionalMuon])
@pytest.mark.parametrize("share", [0.25, 0.9])  # the first is reached after two steps, the other never
def test_the_average_forgets_faster_at_first(kind: type[WarmingAverage], share: float) -> None:
    kernels, found = trained(kind(0.1, use_ema=True, ema_momentum=share))
    expected = kernels[0]
    for done, kernel in list(enumerate(kernels))[1:]:
        kept = min(share, (1 + done) / (10 + done))
        expected = kept * expected + (1 - kept) * kernel
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found - kernels[-1]).max() > 1e-3


@pytest.mark.parametrize("kind", [AdamW, ConvolutionalMuon])
def test_without_an_average_the_last_weights_stay(kind: type[WarmingAverage]) -> None:
    kernels, found = trained(kind(0.1))
    np.testing.assert_array_equal(found, kernels[-1])
