"""Muon steps are orthogonal where weights are matrices, and AdamW's everywhere else."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from exemplar_encoder.arrays import Floats, Floats64
from exemplar_trainer.training.muon import ConvolutionalMuon, orthogonalized

RATE = 0.01


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 1))
    x = layers.Conv2D(8, 3, name="first")(images)
    x = layers.Conv2D(12, 3, name="convolution")(x)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.BatchNormalization(name="normalization")(x)
    return keras.Model(images, layers.Dense(5, name="dense")(layers.Flatten()(x)))


def step(optimizer: keras.optimizers.Optimizer, gradients: dict[str, Floats]) -> dict[str, Floats]:
    """How far one step moves each variable, by its path."""
    model = network()
    before = {each.path: keras.ops.convert_to_numpy(each.value).copy() for each in model.trainable_variables}
    optimizer.build(model.trainable_variables)
    optimizer.apply([gradients[each.path] for each in model.trainable_variables])
    return {
        each.path: keras.ops.convert_to_numpy(each.value) - before[each.path] for each in model.trainable_variables
    }


@pytest.fixture(scope="module")
def gradients() -> dict[str, Floats]:
    rng = np.random.default_rng(0)
    return {each.path: rng.normal(size=each.shape).astype(np.float32) for each in network().trainable_variables}


def by_singular_values(gradient: Floats) -> Floats64:
    """Orthogonalize by the decomposition that the iteration avoids: a quintic of each singular value."""
    u, s, v = np.linalg.svd(gradient.astype(np.float64), full_matrices=False)
    s /= np.linalg.norm(s)
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    steps: Floats64 = u * s @ v
    return steps


@pytest.mark.parametrize("shape", [(40, 7), (7, 40), (16, 16), (1, 9)])
def test_the_iteration_is_a_polynomial_of_the_singular_values(shape: tuple[int, int]) -> None:
    matrix = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    np.testing.assert_allclose(np.asarray(orthogonalized(matrix)), by_singular_values(matrix), atol=1e-4)


@pytest.mark.parametrize("shape", [(60, 20), (20, 60)])
def test_what_comes_out_is_nearly_orthogonal(shape: tuple[int, int]) -> None:
    matrix = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    values = np.linalg.svd(np.asarray(orthogonalized(matrix)), compute_uv=False)
    assert values.min() > 0.6
    assert values.max() < 1.3


@pytest.mark.parametrize("path", ["convolution/kernel", "dense/kernel"])
def test_kernels_move_by_their_orthogonalized_gradient_as_far_as_adamw_would(
    gradients: dict[str, Floats], path: str
) -> None:
    moved = step(ConvolutionalMuon(RATE, weight_decay=0.0, adam_weight_decay=0.0), gradients)[path]
    flat = gradients[path].reshape(-1, moved.shape[-1])
    expected = -RATE * 0.2 * np.sqrt(max(flat.shape)) * by_singular_values(flat)
    np.testing.assert_allclose(moved.reshape(flat.shape), expected, atol=RATE * 1e-2)
    assert 0.1 * RATE < np.sqrt(np.square(moved).mean()) < 0.3 * RATE


def test_all_else_moves_as_by_adamw(gradients: dict[str, Floats]) -> None:
    muon = step(ConvolutionalMuon(RATE, weight_decay=0.0, adam_weight_decay=0.0), gradients)
    adamw = step(keras.optimizers.AdamW(RATE, weight_decay=0.0), gradients)
    same = {path for path in gradients if np.allclose(muon[path], adamw[path], atol=1e-6)}
    assert same == set(gradients) - {"convolution/kernel", "dense/kernel"}
    assert {"first/kernel", "depthwise/kernel", "normalization/gamma"} <= same


def test_momentum_carries_a_step_on(gradients: dict[str, Floats]) -> None:
    model = network()
    optimizer = ConvolutionalMuon(RATE, weight_decay=0.0, adam_weight_decay=0.0)
    optimizer.build(model.trainable_variables)
    optimizer.apply([gradients[each.path] for each in model.trainable_variables])
    kernel = model.get_layer("dense").kernel
    before = keras.ops.convert_to_numpy(kernel.value).copy()
    optimizer.apply([np.zeros(each.shape, np.float32) for each in model.trainable_variables])
    moved = keras.ops.convert_to_numpy(kernel.value) - before
    assert np.vdot(moved, gradients["dense/kernel"]) < 0
    assert np.abs(moved).max() > 1e-4


def test_weights_shrink_by_the_decay_and_the_rate() -> None:
    model = network()
    optimizer = ConvolutionalMuon(RATE, weight_decay=0.5, adam_weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    optimizer.build(model.trainable_variables)
    before = [keras.ops.convert_to_numpy(each.value).copy() for each in model.trainable_variables]
    optimizer.apply([np.zeros(each.shape, np.float32) for each in model.trainable_variables])
    for variable, was in zip(model.trainable_variables, before, strict=True):
        share = 1.0 if variable.path.endswith(("bias", "gamma", "beta")) else 1.0 - 0.5 * RATE
        np.testing.assert_allclose(keras.ops.convert_to_numpy(variable.value), was * share, atol=1e-6)
