"""Is training as fast as its network? The loop with its input pipeline, the step without, and the pipeline alone.

Beside them the step compiled by XLA, on TensorFlow, which compiles where there is a GPU only; JAX compiles always.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import keras
import typer

from benchmarks.results import record
from exemplar_trainer.data.reading import read_data_set
from exemplar_trainer.data.split import split
from exemplar_trainer.recipes.recipe import Recipe
from exemplar_trainer.recipes.shipped import RECIPES
from exemplar_trainer.training.batches import make_batch, make_sampler
from exemplar_trainer.training.learner import build_learner
from exemplar_trainer.training.loop import fit

PRECISIONS = ("float32", "mixed_bfloat16")

_WARM_UP = 10  # the first steps trace and compile


def main(
    data: Annotated[Path, typer.Argument(help="Folder or zip of images, as for training.")],
    recipe: Annotated[str, typer.Option(help="Whose network, batches and augmentation.")] = "default",
    steps: Annotated[int, typer.Option(min=20, help="Steps to time.")] = 100,
) -> None:
    """Time both precisions, on the same batches."""
    if recipe not in RECIPES:
        raise typer.BadParameter(f"there is no recipe {recipe!r}; there are {', '.join(RECIPES)}")
    found = {precision: _measure(_in(RECIPES[recipe], precision), data, steps) for precision in PRECISIONS}
    rows = [[name, *(f"{rate:,.0f}" for rate in rates.values())] for name, rates in found.items()]
    columns = ["images/s", *next(iter(found.values()))]
    record("training_throughput", f"Recipe {recipe}, {steps} steps, medians", columns, rows, found)


def _in(recipe: Recipe, precision: str) -> Recipe:
    return replace(recipe, precision="mixed_bfloat16" if precision == "mixed_bfloat16" else "float32")


def _measure(recipe: Recipe, data: Path, steps: int) -> dict[str, float]:
    """Return images a second: of the training loop, of one batch trained on again and again, of making batches."""
    recipe = replace(recipe, steps=steps + _WARM_UP)
    images = split(read_data_set(data, recipe.preprocessing)).training
    sampler = make_sampler(recipe, images)
    inputs, labels = make_batch(recipe, images, sampler, 0)
    learner = build_learner(recipe, sampler.class_count)
    times: list[float] = []

    def stepped(done: int, loss: float, rate: float) -> None:
        times.append(time.monotonic())

    with tempfile.TemporaryDirectory() as run:
        fit(recipe, images, Path(run), stepped)
    count = len(labels)
    rates = {
        "training": count / _median(times[_WARM_UP:]),
        "the step alone": count / _timed(lambda step: learner.train_on_batch(inputs, labels), steps),
        "the pipeline alone": count / _timed(lambda step: make_batch(recipe, images, sampler, step), steps),
    }
    if keras.backend.backend() == "tensorflow":
        learner.compile(optimizer=learner.optimizer, jit_compile=True)
        rates["the step by XLA"] = count / _timed(lambda step: learner.train_on_batch(inputs, labels), steps)
    return rates


def _timed(work: Callable[[int], object], steps: int) -> float:
    """Return the median seconds of one step."""
    times = []
    for step in range(steps + _WARM_UP):
        work(step)
        times.append(time.monotonic())
    return _median(times[_WARM_UP:])


def _median(times: list[float]) -> float:
    return statistics.median(after - before for before, after in itertools.pairwise(times))


if __name__ == "__main__":
    typer.run(main)
