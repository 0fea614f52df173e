"""A run's state is read again by the learner that wrote it, whatever it computes with, and by no other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from exemplar_encoder import Preprocessing
from exemplar_trainer.networks import residual
from exemplar_trainer.recipes.shipped import RECIPES
from exemplar_trainer.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from exemplar_trainer.training.learner import as_served, build_learner

TINY = replace(RECIPES["default"], preprocessing=Preprocessing(16, 16, 1), dimension=8, steps=10)
CLASSES = 6


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run that was stopped after a step."""
    folder = tmp_path_factory.mktemp("saved")
    save_checkpoint(folder, build_learner(TINY, CLASSES), 1)
    return folder


def test_a_folder_without_a_checkpoint_is_at_step_0(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path, build_learner(TINY, CLASSES)) == 0


def test_another_number_of_classes_is_refused(saved: Path) -> None:
    with pytest.raises(CheckpointError, match="another recipe, another set of classes"):
        load_checkpoint(saved, build_learner(TINY, CLASSES + 1))


def test_a_network_that_is_built_otherwise_by_now_is_refused(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(residual, "WIDTHS", (32, 64, 128, 144))
    with pytest.raises(CheckpointError, match="or another version of the network"):
        load_checkpoint(saved, build_learner(TINY, CLASSES))


def test_half_precision_is_for_training_and_what_is_served_is_float32() -> None:
    recipe = replace(TINY, precision="mixed_bfloat16")
    learner = build_learner(recipe, CLASSES)
    assert any(layer.compute_dtype == "bfloat16" for layer in learner.base_network.layers)
    assert keras.mixed_precision.dtype_policy().name == "float32"
    served = as_served(learner.base_network, recipe)
    assert all(layer.compute_dtype == "float32" for layer in served.layers)
    images = np.random.default_rng(0).uniform(0, 255, (8, 16, 16, 1)).astype(np.float32)
    exact = np.asarray(served(images, training=False))
    rough = np.asarray(learner.base_network(images, training=False))
    np.testing.assert_allclose(exact, rough, atol=0.05)
    np.testing.assert_allclose(np.linalg.norm(exact, axis=1), 1.0, atol=1e-5)


def test_a_learner_in_half_precision_reads_its_state_again(tmp_path: Path) -> None:
    learner = build_learner(replace(TINY, precision="mixed_bfloat16"), CLASSES)
    rng = np.random.default_rng(0)
    for variable in learner.variables:
        variable.assign(rng.uniform(0.1, 1.0, variable.shape))
    save_checkpoint(tmp_path, learner, 7)
    other = build_learner(replace(TINY, precision="mixed_bfloat16", seed=5), CLASSES)
    assert load_checkpoint(tmp_path, other) == 7
    for mine, its in zip(other.variables, learner.variables, strict=True):
        np.testing.assert_array_equal(mine.value, its.value)
