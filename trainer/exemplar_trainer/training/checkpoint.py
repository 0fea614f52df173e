"""A run's state on disk: every variable and the step, in one file that is replaced whole.

Batches, augmentation and learning rate follow from the seed and the step, so nothing else is needed to go on as if
nothing had happened.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from exemplar_trainer.training.learner import state
from exemplar_trainer.training.run_folder import CHECKPOINT


class CheckpointError(Exception):
    """A checkpoint that does not belong to this recipe or cannot be read."""


def save_checkpoint(run: Path, learner: keras.Model, step: int) -> None:
    """Write the state after `step` steps; a crash leaves the old state or the new one, never a mixture."""
    arrays: dict[str, Any] = {f"v{index:04d}": value for index, value in enumerate(_values(learner))}
    arrays["step"] = np.int64(step)
    partial = run / (CHECKPOINT + ".partial")
    with partial.open("wb") as stream:
        np.savez(stream, **arrays)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(run / CHECKPOINT)


def load_checkpoint(run: Path, learner: keras.Model) -> int:
    """Restore the state, and return how many steps were done; 0 when there is no checkpoint yet.

    Raises:
        CheckpointError: the file is unreadable or of another recipe.
    """
    path = run / CHECKPOINT
    if not path.exists():
        return 0
    step, arrays = _read(path)
    variables = state(learner)
    if [tuple(array.shape) for array in arrays] != [tuple(variable.shape) for variable in variables]:
        raise CheckpointError(
            f"{path} belongs to another recipe, another set of classes or another version of the network"
        )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
    return step


def _read(path: Path) -> tuple[int, list[npt.NDArray[Any]]]:
    try:
        # Of a file that is cut short, NumPy would leave open what it opened itself.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as saved:
            return int(saved["step"]), [saved[name] for name in sorted(saved.files) if name != "step"]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def _values(learner: keras.Model) -> list[npt.NDArray[Any]]:
    return [keras.ops.convert_to_numpy(variable.value) for variable in state(learner)]
