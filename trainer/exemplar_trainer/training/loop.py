"""The training loop: batch, step, record, checkpoint.

Everything a step depends on follows from the recipe's seed and the step's number, so a run that was stopped goes on
with the same batches, transforms and learning rates. Ctrl-C ends the run after the step in hand, with a checkpoint.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.recipes.recipe import Recipe
from exemplar_trainer.training.batches import make_sampler, prefetch
from exemplar_trainer.training.checkpoint import load_checkpoint, save_checkpoint
from exemplar_trainer.training.distillation import Teachers
from exemplar_trainer.training.learner import as_served, build_learner
from exemplar_trainer.training.log import LOG, forget_records_after
from exemplar_trainer.training.run_folder import CHECKPOINT

CHECKPOINT_SECONDS = 60.0
LOG_STEPS = 20

OnStep = Callable[[int, float, float], None]
"""Told after each step how many are done, the loss, and images a second."""


def _unwatched() -> None:
    pass


class TrainingStoppedError(Exception):
    """The run was stopped on request and can be resumed; `step` steps are done."""

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped after {step} steps")
        self.step = step


class DivergedError(Exception):
    """The loss is no longer a number."""


def fit(
    recipe: Recipe,
    images: ImageSet,
    run: Path,
    on_step: OnStep,
    teachers: Teachers | None = None,
    on_ready: Callable[[], None] = _unwatched,
) -> keras.Model:
    """Train, or go on training, and return the base network.

    Args:
        recipe: what to do.
        images: the training classes.
        run: the run's folder, for the checkpoint and the log.
        on_step: told of each step.
        teachers: networks to learn from beside the labels.
        on_ready: told when the network is built and its weights are there, before anything is written to the folder.

    Raises:
        TrainingStoppedError: on SIGINT or SIGTERM, after a checkpoint.
        DivergedError: the loss became NaN or infinite.
        CheckpointError: a checkpoint is of another recipe or cannot be read.
        WeightsError: the recipe's pretrained weights cannot be had.
    """
    sampler = make_sampler(recipe, images)
    # A checkpoint holds all weights: those that it began with need not be there any more.
    resumed = replace(recipe, weights="") if (run / CHECKPOINT).exists() else recipe
    learner = build_learner(resumed, sampler.class_count, teachers)
    done = load_checkpoint(run, learner)
    on_ready()
    forget_records_after(run / LOG, done)
    with _stop_signals() as stop, (run / LOG).open("a", encoding="utf-8", buffering=1) as log:
        saved_at = time.monotonic()
        before: float | None = None
        for step, (inputs, labels) in zip(
            range(done, recipe.steps), prefetch(recipe, images, sampler, done), strict=False
        ):
            # From the end of the step before, so that waiting for a batch counts.
            started = time.monotonic() if before is None else before
            loss = float(learner.train_on_batch(inputs, labels))
            before = time.monotonic()
            rate = len(labels) / (before - started)
            if not np.isfinite(loss):
                raise DivergedError(f"the loss is {loss} at step {step}; lower the learning rate")
            done = step + 1
            on_step(done, loss, rate)
            if done % LOG_STEPS == 0 or done == recipe.steps:
                learning_rate = float(keras.ops.convert_to_numpy(learner.optimizer.learning_rate))
                record = {"step": done, "loss": loss, "learning_rate": learning_rate, "images_per_second": rate}
                log.write(json.dumps(record) + "\n")
            if stop.is_set() and done < recipe.steps:
                save_checkpoint(run, learner, done)
                raise TrainingStoppedError(done)
            if time.monotonic() - saved_at > CHECKPOINT_SECONDS:
                save_checkpoint(run, learner, done)
                saved_at = time.monotonic()
    save_checkpoint(run, learner, done)
    return as_served(learner.base_network, recipe)


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """Yield an event that SIGINT and SIGTERM set instead of ending the process; a second signal ends it."""
    stop = threading.Event()
    before: dict[int, Any] = {}

    def request(number: int, frame: Any) -> None:
        stop.set()
        signal.signal(number, before[number])

    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may handle signals
        return
    for number in (int(signal.SIGINT), int(signal.SIGTERM)):
        before[number] = signal.signal(number, request)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
