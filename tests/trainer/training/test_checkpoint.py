"""A run's state is read again by the learner that wrote it, whatever it computes with, and by no other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from exemplar_encoder import Preprocessing
from exemplar_encoder.arrays import Floats
from exemplar_trainer.networks import residual
from exemplar_trainer.recipes.recipe import Recipe
from exemplar_trainer.recipes.shipped import RECIPES
from exemplar_trainer.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from exemplar_trainer.training.learner import as_served, build_learner

TINY = replace(RECIPES["default"], preprocessing=Preprocessing(16, 16, 1), dimension=8, steps=10)
CLASSES = 6


def images(count: int) -> Floats:
    return np.random.default_rng(0).uniform(0, 255, (count, 16, 16, 1)).astype(np.float32)


def stopped_run(folder: Path, recipe: Recipe) -> keras.Model:
    """A learner after one step, which is saved."""
    learner = build_learner(recipe, CLASSES)
    inputs = {
        "images": images(4),
        "transforms": np.tile(np.array([1, 0, 0, 0, 1, 0], np.float32), (4, 1)),
        "displacements": np.zeros((4, 5, 5, 2), np.float32),
        "colors": np.tile(np.array([[1, 0]], np.float32), (4, 1, 1)),
    }
    learner.train_on_batch(inputs, np.array([0, 0, 1, 1]))
    save_checkpoint(folder, learner, 1)
    return learner


def test_a_folder_without_a_checkpoint_is_at_step_0(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path, build_learner(TINY, CLASSES)) == 0


def test_another_number_of_classes_is_refused(tmp_path: Path) -> None:
    stopped_run(tmp_path, TINY)
    with pytest.raises(CheckpointError, match="another recipe, another set of classes"):
        load_checkpoint(tmp_path, build_learner(TINY, CLASSES + 1))


def test_a_network_that_is_built_otherwise_by_now_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped_run(tmp_path, TINY)
    monkeypatch.setattr(residual, "WIDTHS", (32, 64, 128, 144))
    with pytest.raises(CheckpointError, match="or another version of the network"):
        load_checkpoint(tmp_path, build_learner(TINY, CLASSES))


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
