"""A training run with a progress bar and without a folder to keep, for benchmarks that compare several."""

from __future__ import annotations

import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import keras
from rich.progress import Progress

from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.recipes.recipe import Recipe
from exemplar_trainer.training.loop import fit
from exemplar_trainer.training.whitening import whiten


def short_run(title: str, recipe: Recipe, training: ImageSet) -> tuple[keras.Model, float]:
    """Train from nothing, and return the base network and the median seconds of a step."""
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder, Progress() as progress:
        task = progress.add_task(title, total=recipe.steps)

        def step(done: int, loss: float, rate: float) -> None:
            times.append(time.monotonic())
            progress.update(task, completed=done)

        network = fit(recipe, training, Path(folder), step)
    if recipe.whiten:
        whiten(network, training)
    seconds = [after - before for before, after in pairwise(times)]
    return network, statistics.median(seconds)
