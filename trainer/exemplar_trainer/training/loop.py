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
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tensorboard.summary import Writer

from exemplar_trainer.augmentation.color import draw_colors
from exemplar_trainer.augmentation.geometry import draw_displacements, draw_transforms
from exemplar_trainer.augmentation.thickness import draw_thickness
from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.losses import PAIR_LOSSES
from exemplar_trainer.networks.backbone import missing_weights
from exemplar_trainer.recipes.recipe import Recipe
from exemplar_trainer.samplers import ClassSampler, PairSampler, Sampler
from exemplar_trainer.training.checkpoint import FILE as CHECKPOINT
from exemplar_trainer.training.checkpoint import (
    CheckpointError,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    saved_step,
)
from exemplar_trainer.training.distillation import Teachers
from exemplar_trainer.training.learner import as_served, background_of, build_learner
from exemplar_trainer.training.size_schedule import carry_over, early_steps, input_size

LOG = "training.jsonl"
CHECKPOINT_SECONDS = 60.0
LOG_STEPS = 20

_AUGMENTATION_STREAM = 1

Progress = Callable[[int, float, float], None]


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
    progress: Progress,
    start_from: Path | None = None,
    teachers: Teachers | None = None,
) -> keras.Model:
    """Train, or go on training, and return the base network.

    Args:
        recipe: what to do.
        images: the training classes.
        run: the run's folder, for checkpoints and logs.
        progress: called after each step with steps done, loss and images a second.
        start_from: the folder of another run, whose weights this one begins with.
        teachers: what to learn from beside the labels.

    Raises:
        TrainingStoppedError: on SIGINT or SIGTERM, after a checkpoint.
        DivergedError: the loss became NaN or infinite.
        CheckpointError: a checkpoint is of another recipe or cannot be read.
        WeightsError: the recipe's pretrained weights cannot be had.
    """
    sampler = make_sampler(recipe, images)
    # A checkpoint holds all weights: those that it began with need not be there any more.
    resumed = replace(recipe, weights="") if (run / CHECKPOINT).exists() else recipe
    learner = build_learner(resumed, sampler.class_count, teachers, input_size(recipe, saved_step(run)))
    done = load_checkpoint(run, learner)
    if start_from is not None and done == 0:
        load_weights(start_from, learner)
    _forget_records_after(run / LOG, done)
    with (
        _stop_signals() as stop,
        closing(Writer(str(run / "tensorboard"))) as writer,
        (run / LOG).open("a", encoding="utf-8", buffering=1) as log,
    ):
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
            if done == early_steps(recipe):  # before a checkpoint, whose step tells of which size it is
                small, learner = learner, build_learner(replace(recipe, weights=""), sampler.class_count, teachers)
                carry_over(small, learner)
            progress(done, loss, rate)
            if done % LOG_STEPS == 0 or done == recipe.steps:
                learning_rate = float(keras.ops.convert_to_numpy(learner.optimizer.learning_rate))
                record = {"step": done, "loss": loss, "learning_rate": learning_rate, "images_per_second": rate}
                log.write(json.dumps(record) + "\n")
                for name in ("loss", "learning_rate", "images_per_second"):
                    writer.add_scalar(name, record[name], done)
            if stop.is_set() and done < recipe.steps:
                save_checkpoint(run, learner, done)
                raise TrainingStoppedError(done)
            if time.monotonic() - saved_at > CHECKPOINT_SECONDS:
                save_checkpoint(run, learner, done)
                saved_at = time.monotonic()
    save_checkpoint(run, learner, done)
    if recipe.weight_average:
        learner.optimizer.finalize_variable_values(learner.trainable_variables)
    return as_served(learner.base_network, recipe)


def refuse_missing(weights: str, start_from: Path | None) -> None:
    """What a run is to begin with has to be there before anything is written.

    Raises:
        WeightsError: the recipe's weights file is missing.
        CheckpointError: the other run has no checkpoint.
    """
    if weights not in ("", "imagenet") and not Path(weights).is_file():
        raise missing_weights(weights)
    if start_from is not None and not (start_from / CHECKPOINT).exists():
        raise CheckpointError(f"{start_from} holds no {CHECKPOINT} to start from")


def read_log(path: Path) -> list[dict[str, Any]]:
    """A run's records, one every `LOG_STEPS` steps; a line that a crash cut short is left out."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records


def _forget_records_after(path: Path, step: int) -> None:
    """Steps after the checkpoint are done again, and recorded again."""
    kept = [record for record in read_log(path) if record["step"] <= step]
    partial = path.with_suffix(".partial")
    partial.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
    partial.replace(path)


def make_sampler(recipe: Recipe, images: ImageSet) -> Sampler:
    """The sampler that the recipe's loss needs."""
    if recipe.loss in PAIR_LOSSES:
        pairs = recipe.classes_per_batch * recipe.images_per_class // 2
        return PairSampler(images, pairs, recipe.group_share, recipe.seed)
    return ClassSampler(
        images,
        recipe.classes_per_batch,
        recipe.images_per_class,
        recipe.group_share,
        recipe.orientations,
        recipe.seed,
    )


def make_batch(recipe: Recipe, images: ImageSet, sampler: Sampler, step: int) -> tuple[dict[str, Any], Any]:
    """Inputs and labels of a step: a pure function of its arguments.

    Returns:
        `{"images": uint8 [n, h, w, c], "transforms": float32 [n, 6], "displacements": float32 [n, g, g, 2],
        "colors": float32 [n, c, c + 1]}` and labels int64 `[n]`; also "thickness", float32 [n], where the recipe
        varies it.
    """
    batch = sampler.batch(step)
    rng = np.random.default_rng([recipe.seed, step, _AUGMENTATION_STREAM])
    size = (recipe.preprocessing.height, recipe.preprocessing.width)
    transforms = draw_transforms(rng, recipe.affine, batch.orientations, size)
    displacements = draw_displacements(rng, recipe.elastic, len(batch.images))
    colors = draw_colors(rng, recipe.colors, len(batch.images), background_of(recipe))
    inputs = {
        "images": images.pixels[batch.images],
        "transforms": transforms,
        "displacements": displacements,
        "colors": colors,
    }
    if recipe.thickness:
        inputs["thickness"] = draw_thickness(rng, recipe.thickness, len(batch.images))
    return inputs, batch.labels


def prefetch(recipe: Recipe, images: ImageSet, sampler: Sampler, start: int) -> Iterator[tuple[dict[str, Any], Any]]:
    """The batches from `start` on, each made while the step before it runs."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(make_batch, recipe, images, sampler, start)
        for step in range(start + 1, recipe.steps + 1):
            batch = coming.result()
            coming = pool.submit(make_batch, recipe, images, sampler, step)
            yield batch


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set instead of ending the process; a second signal ends it."""
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
