"""A training run from image tree to bundle: load, split, fit, measure, calibrate, export.

A run lives in a folder of its own: recipe and data in `run.json`, the checkpoint, logs, and at the end `bundle/`. Any
stage can be repeated from that folder, so stopping a run costs nothing but the step in hand.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras

from exemplar_encoder import Bundle
from exemplar_encoder.bundle import WEIGHTS
from exemplar_trainer.bundles.build import Origin, make_bundle
from exemplar_trainer.data.fingerprint import Fingerprint
from exemplar_trainer.data.image_set import ImageSet, load_images, some
from exemplar_trainer.data.split import Split, split
from exemplar_trainer.losses import CLASS_LOSSES
from exemplar_trainer.networks import NETWORKS
from exemplar_trainer.recipes.recipe import Recipe
from exemplar_trainer.training.checkpoint import FILE as CHECKPOINT
from exemplar_trainer.training.distillation import Teachers, load_teachers
from exemplar_trainer.training.loop import LOG, Progress, fit, read_log, refuse_missing
from exemplar_trainer.training.run_folder import BUNDLE, FILE, Run, RunError, finished_bundle, never_seen_by
from exemplar_trainer.training.size_schedule import early_steps, input_size
from exemplar_trainer.training.whitening import whiten


@dataclass(frozen=True)
class Watcher:
    """Who is told how the run gets on."""

    loading: Callable[[int, int], None] = lambda done, total: None
    loaded: Callable[[ImageSet, Split], None] = lambda training, parts: None
    training: Progress = lambda done, loss, rate: None
    measuring: Callable[[], None] = lambda: None


def execute(run: Run, folder: Path, watcher: Watcher) -> Bundle:
    """Do what is left of a run; see `load_images`, `split`, `fit` and `make_bundle` for the errors.

    The folder is made when the data and the recipe were found good, so a run that is refused leaves nothing behind.
    """
    finished = finished_bundle(folder)
    if finished is not None:
        return finished
    recipe = run.recipe
    channels = recipe.preprocessing.channels
    # They refuse a size that they cannot take.
    _, drawn = (
        NETWORKS[recipe.network]((*input_size(recipe, step), channels), recipe.dimension)
        for step in (0, recipe.steps)
    )
    images = load_images(Path(run.data), recipe.preprocessing, run.max_unreadable, watcher.loading)
    parts = split(images, run.hold_out, run.hold_out_every, run.hold_out_classes)
    measured = _measured(run, parts, drawn)
    fingerprint = Fingerprint.of(parts)
    _refuse_changed(run, folder, fingerprint)
    training = images if measured else parts.training
    unseen = () if measured else parts.held_out_names
    run = _begun(replace(run, held_out=unseen, fingerprint=fingerprint), folder)
    taught_by = load_teachers(run.teachers, recipe.preprocessing, unseen)
    run.save(folder)
    watcher.loaded(training, parts)
    teachers = Teachers([_network_of(bundle) for bundle in taught_by], recipe.precision) if taught_by else None
    network = fit(recipe, training, folder, watcher.training, _start(run), teachers)
    watcher.measuring()
    if recipe.whiten:
        whiten(network, training)
    records = read_log(folder / LOG)
    origin = Origin(
        name=run.name,
        recipe=recipe.name,
        preprocessing=recipe.preprocessing,
        facts=[
            *_facts(run, parts, training, len(images.skipped)),
            *(("taught by", f"{teacher.manifest.name} ({teacher.id[:12]})") for teacher in taught_by),
            ("speed", _speed(records)),
        ],
        training={
            **_training(run, parts, training),
            "started_from": run.started_from,
            "teachers": [{"name": teacher.manifest.name, "id": teacher.id} for teacher in taught_by],
        },
        records=records,
        seed=recipe.seed,
    )
    return make_bundle(network, origin, parts.held_out, training, folder / BUNDLE, measured)


def _refuse_changed(run: Run, folder: Path, now: Fingerprint) -> None:
    """RunError when a run would go on with, or be the final of one that was measured on, other classes or images."""
    if run.fingerprint in (None, now):
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


def _begun(run: Run, folder: Path) -> Run:
    """The run, and with which recipe's weights it began.

    Raises:
        WeightsError, CheckpointError, RunError: what it is to begin with is not there, or would not do. A run with a
            checkpoint has all of it.
    """
    start_from = _start(run)
    resumed = (folder / CHECKPOINT).exists()
    if not resumed:
        refuse_missing(run.recipe.weights, start_from)
    if start_from is None or run.started_from or (resumed and not (start_from / FILE).exists()):
        return run
    first = Run.load(start_from)
    if not resumed:
        _refuse_seen(start_from, run.held_out or ())
        if run.recipe.loss in CLASS_LOSSES and first.fingerprint and run.fingerprint:
            _refuse_other_classes(start_from, first.fingerprint, run.fingerprint)
    return replace(run, started_from=json.loads(first.recipe.to_json()))


def _start(run: Run) -> Path | None:
    return Path(run.start_from) if run.start_from else None


def _refuse_other_classes(start_from: Path, before: Fingerprint, now: Fingerprint) -> None:
    """RunError when the weights to begin with are, in part, those of other classes."""
    if before.training_classes != now.training_classes:
        raise RunError(
            f"{start_from} trained on other classes, and some of its weights stand for them; start from a run on the "
            "same classes, or give both a loss without such weights"
        )


def _refuse_seen(start_from: Path, unseen: Collection[str]) -> None:
    """RunError when the weights to begin with were trained on what is to be measured on: they would tell."""
    seen = sorted(set(unseen) - set(never_seen_by(start_from)))
    if seen:
        raise RunError(
            f"{start_from} was not trained with {some(seen)} held out, and figures on what the first weights have "
            "seen are no figures; hold out what it held out, or start from a run that held out as much"
        )


def _measured(run: Run, parts: Split, drawn: keras.Model) -> keras.Model | None:
    """The network that has not seen the held-out classes, where this run's will have.

    Raises:
        RunError: it has seen them, or is built unlike the one that is to be trained, `drawn`.
    """
    if not run.final_of:
        return None
    bundle = Bundle.load(Path(run.final_of) / BUNDLE)
    now = _training(run, parts, parts.training)
    counts = ("training_classes", "training_images", "held_out_classes")
    then = bundle.manifest.training
    if list(parts.held_out_names) != then["held_out"] or any(now[name] != then[name] for name in counts):
        raise RunError(
            f"{run.data} has changed since {run.final_of} was measured: it would hold out other classes; "
            "measure the recipe anew first"
        )
    network = _network_of(bundle)
    if [tuple(weights.shape) for weights in network.weights] != [tuple(weights.shape) for weights in drawn.weights]:
        raise RunError(
            f"{run.final_of} measured another version of the network {run.recipe.network}, and its figures are not "
            "those of this one; measure the recipe anew first"
        )
    return network


def _network_of(bundle: Bundle) -> keras.Model:
    network: keras.Model = keras.saving.load_model(bundle.path / WEIGHTS, compile=False)
    return network


def _training(run: Run, parts: Split, training: ImageSet) -> dict[str, Any]:
    """What the manifest says of the training."""
    names = list(parts.held_out_names)
    return {
        "held_out": [] if run.final_of else names,
        "measured_without": names,
        "training_classes": len(training.class_names),
        "training_images": len(training.labels),
        "held_out_classes": len(parts.held_out.class_names),
        "recipe": json.loads(run.recipe.to_json()),
    }


def _facts(run: Run, parts: Split, training: ImageSet, skipped: int) -> list[tuple[str, str]]:
    recipe = run.recipe
    return [
        ("measured on" if run.final_of else "held out", some(parts.held_out_names)),
        ("classes measured on", f"{len(parts.held_out.class_names):,}"),
        ("training classes", f"{len(training.class_names):,}"),
        ("training images", f"{len(training.labels):,}"),
        ("unreadable images left out", f"{skipped:,}"),
        ("network and loss", f"{recipe.network}, {recipe.loss}"),
        ("input", _input(recipe)),
        ("embedding", f"{recipe.dimension} values of unit length"),
        ("began with", _beginning(run)),
        ("steps", f"{recipe.steps:,} of {recipe.classes_per_batch} x {recipe.images_per_class} images"),
        ("seed", str(recipe.seed)),
    ]


def _input(recipe: Recipe) -> str:
    spec = recipe.preprocessing
    whole = f"{spec.width} x {spec.height} x {spec.channels}"
    height, width = input_size(recipe, 0)
    return f"{whole}, the first {early} steps at {width} x {height}" if (early := early_steps(recipe)) else whole


def _speed(records: Sequence[dict[str, Any]]) -> str:
    rate = statistics.median(record["images_per_second"] for record in records)
    return f"{rate:,.0f} images/s trained on (median)"


def _beginning(run: Run) -> str:
    if run.start_from:
        return f"the weights of {Path(run.start_from).name}"
    if not run.recipe.weights:
        return "random weights"
    return "the published weights" if run.recipe.weights == "imagenet" else Path(run.recipe.weights).name
