"""PyTorch trains a recipe unchanged, and would on a GPU: no constant of a step stays behind on the host."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from exemplar_encoder import load_encoder

pytestmark = [
    pytest.mark.skipif(
        find_spec("torch") is None,
        reason="PyTorch, several GB on most machines, is no requirement: pip install torch",
    ),
    pytest.mark.slow,
    pytest.mark.process,
]

TRAIN = "from exemplar_trainer.cli.train import app; app()"

# On torch's "meta" device, as on a GPU, whatever is left a NumPy array or a tensor of the host is refused.
ONE_STEP_ELSEWHERE = """
from dataclasses import replace
import keras, numpy as np, torch
from keras.src.backend.torch.core import device_scope
from exemplar_trainer.training.learner import build_learner
from exemplar_trainer.losses import LOSSES
from exemplar_trainer.recipes.shipped import RECIPES

for recipe in (RECIPES["default"], RECIPES["color"]):
    for loss in LOSSES:
        changed = replace(recipe, loss=loss)
        channels = recipe.preprocessing.channels
        inputs = {
            "images": np.zeros((8, 64, 64, channels), np.uint8),
            "transforms": np.zeros((8, 6), np.float32),
            "displacements": np.zeros((8, 5, 5, 2), np.float32),
            "colors": np.zeros((8, channels, channels + 1), np.float32),
        }
        with device_scope("meta"), torch.no_grad():
            learner = build_learner(changed, 100)
            inputs = {name: keras.ops.convert_to_tensor(value) for name, value in inputs.items()}
            found = learner(inputs, training=True)
            value = learner.compute_loss(y=keras.ops.zeros(8, "int64"), y_pred=found)
            assert value.device.type == "meta"
            weights = learner.trainable_weights
            learner.optimizer.apply([keras.ops.zeros_like(weight.value) for weight in weights], weights)
"""


def run_on_torch(program: str, *arguments: str | Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": "torch", "COLUMNS": "120"},
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    assert "UserWarning" not in done.stderr


def test_torch_trains_a_recipe_to_its_bundle(drawn_alphabets: Path, tmp_path: Path) -> None:
    run_on_torch(TRAIN, drawn_alphabets, "--run", tmp_path / "run", "--steps", "4", "--size", "16")
    load_encoder(tmp_path / "run" / "bundle", threads=1)  # replays what PyTorch embedded


def test_every_constant_of_a_step_goes_where_the_network_is() -> None:
    run_on_torch(ONE_STEP_ELSEWHERE)
