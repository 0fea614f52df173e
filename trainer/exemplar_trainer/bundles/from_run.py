"""From a training run to its bundle, which ends up in the run's folder and says how it was made."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exemplar_encoder import Bundle
from exemplar_trainer.bundles.build import Origin, make_bundle
from exemplar_trainer.bundles.keras_network import KerasNetwork
from exemplar_trainer.data.wording import abridged
from exemplar_trainer.networks.pretrained import PUBLISHED
from exemplar_trainer.training.run import Trained, Watcher, train
from exemplar_trainer.training.run_folder import BUNDLE, Run, finished_bundle


def finish_run(run: Run, folder: Path, watcher: Watcher) -> Bundle:
    """Do what is left of a run up to its bundle, and return it; see `train` and `make_bundle` for the errors."""
    finished = finished_bundle(folder)
    if finished is not None:
        return finished
    trained = train(run, folder, watcher)
    return make_bundle(
        KerasNetwork(trained.network),
        _origin(run, trained),
        trained.parts.held_out,
        trained.training,
        folder / BUNDLE,
        None if trained.measured is None else KerasNetwork(trained.measured),
    )


def _origin(run: Run, trained: Trained) -> Origin:
    recipe, parts, training = run.recipe, trained.parts, trained.training
    names = list(parts.held_out_names)
    return Origin(
        name=run.name,
        recipe=recipe.name,
        preprocessing=recipe.preprocessing,
        facts=_facts(run, trained),
        training={
            "held_out": [] if run.final_of else names,
            "measured_without": names,
            "training_classes": len(training.class_names),
            "training_images": len(training.labels),
            "held_out_classes": len(parts.held_out.class_names),
            "recipe": recipe.fields(),
            "teachers": [{"name": teacher.manifest.name, "id": teacher.id} for teacher in trained.teachers],
        },
        records=trained.records,
        seed=recipe.seed,
    )


def _facts(run: Run, trained: Trained) -> list[tuple[str, str]]:
    recipe, parts, training = run.recipe, trained.parts, trained.training
    spec = recipe.preprocessing
    return [
        ("measured on" if run.final_of else "held out", abridged(parts.held_out_names)),
        ("classes measured on", f"{len(parts.held_out.class_names):,}"),
        ("training classes", f"{len(training.class_names):,}"),
        ("training images", f"{len(training.labels):,}"),
        ("unreadable images left out", f"{trained.skipped:,}"),
        ("network and loss", f"{Path(recipe.network).name}, {recipe.loss}"),
        ("input", f"{spec.width} x {spec.height} x {spec.channels}"),
        ("embedding", f"{recipe.dimension} values of unit length"),
        ("began with", _beginning(recipe.weights)),
        ("steps", f"{recipe.steps:,} of {recipe.classes_per_batch} x {recipe.images_per_class} images"),
        ("seed", str(recipe.seed)),
        *(("taught by", f"{teacher.manifest.name} ({teacher.id[:12]})") for teacher in trained.teachers),
        ("speed", _speed(trained.records)),
    ]


def _speed(records: Sequence[dict[str, Any]]) -> str:
    rate = statistics.median(record["images_per_second"] for record in records)
    return f"{rate:,.0f} images/s trained on (median)"


def _beginning(weights: str) -> str:
    if not weights:
        return "random weights"
    return "the published weights" if weights == PUBLISHED else Path(weights).name
