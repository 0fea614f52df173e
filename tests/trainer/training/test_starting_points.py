"""A run can begin with another's weights, and can compute in half precision without its product showing it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from exemplar_encoder import Preprocessing
from exemplar_trainer.networks import residual
from exemplar_trainer.recipes.recipe import RECIPES, Recipe
from exemplar_trainer.training.checkpoint import CheckpointError, load_checkpoint, load_weights, save_checkpoint
from exemplar_trainer.training.learner import as_served, build_learner

TINY = replace(RECIPES["default"], preprocessing=Preprocessing(16, 16, 1), dimension=8, steps=10)
CLASSES = 6


def images(count: int, size: int = 16) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (count, size, size, 1)).astype(np.float32)


def one_step(learner: keras.Model, size: int = 16) -> float:
    still = np.tile(np.array([1, 0, 0, 0, 1, 0], np.float32), (4, 1))
    inputs = {
        "images": images(4, size),
        "transforms": still,
        "displacements": np.zeros((4, 5, 5, 2), np.float32),
        "colors": np.tile(np.array([[1, 0]], np.float32), (4, 1, 1)),
    }
    return float(learner.train_on_batch(inputs, np.array([0, 0, 1, 1])))


def stopped_run(folder: Path, recipe: Recipe) -> keras.Model:
    learner = build_learner(recipe, CLASSES)
    one_step(learner)
    save_checkpoint(folder, learner, 1)
    return learner


def test_a_run_that_starts_from_another_has_its_weights_and_a_fresh_optimizer(tmp_path: Path) -> None:
    first = stopped_run(tmp_path, TINY)
    second = build_learner(replace(TINY, seed=5), CLASSES)
    load_weights(tmp_path, second)
    for mine, its in zip(second.get_weights(), first.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, its)
    assert int(second.optimizer.iterations) == 0
    assert int(first.optimizer.iterations) == 1


def test_averaged_weights_are_the_running_average_of_those_of_every_step() -> None:
    learner = build_learner(replace(TINY, weight_average=0.2, warm_up_steps=0), CLASSES)
    kernel = learner.base_network.get_layer("embedding").kernel
    average = None
    for done in range(4):
        one_step(learner)
        now = keras.ops.convert_to_numpy(kernel.value).copy()
        kept = min(0.2, (1 + done) / (10 + done))
        average = now if average is None else kept * average + (1 - kept) * now
    learner.optimizer.finalize_variable_values(learner.trainable_variables)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(kernel.value), average, atol=1e-6)
    assert np.abs(now - average).max() > 1e-4


def test_weights_fit_an_input_size_with_as_many_places_and_no_other(tmp_path: Path) -> None:
    first = stopped_run(tmp_path, TINY)
    second = build_learner(replace(TINY, preprocessing=Preprocessing(12, 12, 1)), CLASSES)
    load_weights(tmp_path, second)
    np.testing.assert_array_equal(second.get_weights()[0], first.get_weights()[0])
    assert np.isfinite(one_step(second, size=12))
    larger = build_learner(replace(TINY, preprocessing=Preprocessing(32, 32, 1)), CLASSES)
    with pytest.raises(CheckpointError, match="another recipe"):
        load_weights(tmp_path, larger)


def test_another_number_of_classes_is_refused(tmp_path: Path) -> None:
    stopped_run(tmp_path, TINY)
    with pytest.raises(CheckpointError, match="another recipe, another set of classes"):
        load_weights(tmp_path, build_learner(TINY, CLASSES + 1))


def test_a_network_that_is_built_otherwise_by_now_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped_run(tmp_path, TINY)
    monkeypatch.setattr(residual, "WIDTHS", (32, 64, 128, 144))
    with pytest.raises(CheckpointError, match="or another version of the network"):
        load_checkpoint(tmp_path, build_learner(TINY, CLASSES))


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds no checkpoint\.npz to start from"):
        load_weights(tmp_path, build_learner(TINY, CLASSES))


def test_half_precision_is_for_training_and_what_is_served_is_float32(tmp_path: Path) -> None:
    recipe = replace(TINY, precision="mixed_bfloat16")
    learner = stopped_run(tmp_path, recipe)
    assert any(layer.compute_dtype == "bfloat16" for layer in learner.base_network.layers)
    assert keras.mixed_precision.dtype_policy().name == "float32"
    served = as_served(learner.base_network, recipe)
    assert all(layer.compute_dtype == "float32" for layer in served.layers)
    given = images(8)
    exact = np.asarray(served(given, training=False))
    rough = np.asarray(learner.base_network(given, training=False))
    np.testing.assert_allclose(exact, rough, atol=0.05)
    np.testing.assert_allclose(np.linalg.norm(exact, axis=1), 1.0, atol=1e-5)
    assert load_checkpoint(tmp_path, build_learner(recipe, CLASSES)) == 1
