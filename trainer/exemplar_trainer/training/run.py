"""A training run from image tree to trained network: read, split, fit, whiten.

A run lives in a folder of its own: recipe and data in `run.json`, beside them the checkpoint and the log. Any stage
can be repeated from that folder, so stopping a run costs nothing but the step in hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras

from exemplar_encoder import Bundle
from exemplar_encoder.bundle import WEIGHTS
from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.data.reading import OnCount, read_data_set, uncounted
from exemplar_trainer.data.split import Split, split
from exemplar_trainer.networks import builder
from exemplar_trainer.networks.pretrained import refuse_missing_weights
from exemplar_trainer.training.distillation import Teachers, load_teachers
from exemplar_trainer.training.log import LOG, read_log
from exemplar_trainer.training.loop import OnStep, fit
from exemplar_trainer.training.run_folder import BUNDLE, CHECKPOINT, FILE, LEFT_OUT, Run, RunError, save_left_out
from exemplar_trainer.training.whitening import whiten


@dataclass(frozen=True)
class Watcher:
    """Who is told how the run gets on."""

    on_image: OnCount = uncounted
    on_left_out: Callable[[Sequence[str], Path], None] = lambda left_out, path: None
    on_split: Callable[[ImageSet, Split], None] = lambda training, parts: None
    on_step: OnStep = lambda done, loss, rate: None
    on_trained: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Trained:
    """The outcome of a run, short of its bundle.

    Attributes:
        network: the base network, as it is served.
        measured: the network to measure instead, where `network` itself has seen the held-out classes.
        parts: the classes as they were split; of a final run, by the one that measured.
        training: all that `network` was trained on.
        skipped: how many images could not be read.
        teachers: bundles that it learned from.
        records: its log.
    """

    network: keras.Model
    measured: keras.Model | None
    parts: Split
    training: ImageSet
    skipped: int
    teachers: Sequence[Bundle]
    records: Sequence[dict[str, Any]]


def train(run: Run, folder: Path, watcher: Watcher) -> Trained:
    """Do what is left of a run; see `read_data_set`, `split`, `load_teachers` and `fit` for the errors.

    The folder is made when the data and the recipe were found good and pretrained weights are there, so a run that is
    refused, or whose download failed, leaves nothing behind.
    """
    recipe = run.recipe
    builder(recipe.network)(recipe.preprocessing.shape, recipe.dimension)  # refuses a size that it cannot take
    images = read_data_set(Path(run.data), recipe.preprocessing, run.max_unreadable, watcher.on_image)
    parts = split(images, run.hold_out, run.hold_out_every, run.hold_out_classes)
    if images.skipped:
        watcher.on_left_out(images.skipped, folder / LEFT_OUT)
    now = parts.fingerprint()
    _refuse_changed(run, folder, now)
    measured = _measured(run)
    if not (folder / CHECKPOINT).exists():
        refuse_missing_weights(recipe.weights)
    unseen = () if run.final_of else parts.held_out_names
    taught_by = load_teachers(run.teachers, recipe.preprocessing, unseen)
    training = images if run.final_of else parts.training
    watcher.on_split(training, parts)
    teachers = Teachers([_network_of(bundle) for bundle in taught_by], recipe.precision) if taught_by else None
    begun = replace(run, fingerprint=now)

    def begin() -> None:
        begun.save(folder)
        save_left_out(folder, images.skipped)

    network = fit(recipe, training, folder, watcher.on_step, teachers, on_ready=begin)
    watcher.on_trained()
    if recipe.whiten:
        whiten(network, training)
    return Trained(network, measured, parts, training, len(images.skipped), taught_by, read_log(folder / LOG))


def _refuse_changed(run: Run, folder: Path, now: str) -> None:
    """Raise RunError when the data are not those that the run began with, or that its measured one was made on."""
    if run.fingerprint in ("", now):
        return
    if run.final_of and not (folder / FILE).exists():
        raise RunError(
            f"{run.data} has changed since {run.final_of} was measured: it holds other classes or images; "
            "measure the recipe anew first"
        )
    raise RunError(
        f"{run.data} holds other classes or images than {folder} began with; give it those that it began with, or "
        "train anew in another folder"
    )


def _measured(run: Run) -> keras.Model | None:
    """Return the network that has not seen the held-out classes, where this run's will have.

    Raises:
        RunError: it is built unlike the one that is to be trained.
    """
    if not run.final_of:
        return None
    recipe = run.recipe
    network = _network_of(Bundle.load(Path(run.final_of) / BUNDLE))
    drawn = builder(recipe.network)(recipe.preprocessing.shape, recipe.dimension)
    if [tuple(weights.shape) for weights in network.weights] != [tuple(weights.shape) for weights in drawn.weights]:
        raise RunError(
            f"{run.final_of} measured another version of the network {recipe.network}, and its figures are not "
            "those of this one; measure the recipe anew first"
        )
    return network


def _network_of(bundle: Bundle) -> keras.Model:
    return keras.saving.load_model(bundle.path / WEIGHTS, compile=False)
