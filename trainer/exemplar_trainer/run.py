"""A training run from image tree to bundle: load, split, fit, measure, calibrate, export.

A run lives in a folder of its own: recipe and data in `run.json`, the checkpoint, logs, and at the end `bundle/`. Any
stage can be repeated from that folder, so stopping a run costs nothing but the step in hand.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from exemplar_encoder import Bundle, BundleError
from exemplar_trainer.dataset import ImageSet, load_images, some
from exemplar_trainer.fit import LOG, Progress, fit, read_log
from exemplar_trainer.make_bundle import Origin, make_bundle
from exemplar_trainer.networks import NETWORKS
from exemplar_trainer.recipe import Recipe
from exemplar_trainer.split import EVERY, Split, split

FILE = "run.json"
BUNDLE = "bundle"


class RunError(Exception):
    """A run's folder that cannot be used as asked."""


@dataclass(frozen=True)
class Run:
    """What a run's folder remembers: enough to go on with it."""

    name: str
    recipe: Recipe
    data: str
    hold_out: tuple[str, ...]
    max_unreadable: int
    start_from: str = ""
    hold_out_every: int = EVERY
    hold_out_classes: bool = False

    def save(self, folder: Path) -> None:
        """Write down what this run is, in a folder that may not exist yet."""
        folder.mkdir(parents=True, exist_ok=True)
        fields = {**dataclasses.asdict(self), "recipe": json.loads(self.recipe.to_json())}
        partial = folder / (FILE + ".partial")
        partial.write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")
        partial.replace(folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a folder's run; RunError when there is none."""
        try:
            fields: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise RunError(f"{folder} holds no run to resume: {FILE} is missing") from error
        except (ValueError, OSError) as error:
            raise RunError(f"{folder / FILE} cannot be read: {error}") from error
        try:
            fields["recipe"] = Recipe.from_json(json.dumps(fields["recipe"]))
            fields["hold_out"] = tuple(fields["hold_out"])
            return cls(**fields)
        except (ValueError, TypeError, KeyError) as error:
            raise RunError(f"{folder / FILE} is not what a run writes: {error!r}") from error


def refuse_taken(folder: Path) -> None:
    """RunError when a folder already holds a run."""
    if (folder / FILE).exists():
        raise RunError(f"{folder} already holds a run; add --resume to go on with it, or name another folder")


@dataclass(frozen=True)
class Watcher:
    """Who is told how the run gets on."""

    loading: Callable[[int, int], None] = lambda done, total: None
    loaded: Callable[[Split], None] = lambda parts: None
    training: Progress = lambda done, loss, rate: None
    measuring: Callable[[], None] = lambda: None


def execute(run: Run, folder: Path, watcher: Watcher) -> Bundle:
    """Do what is left of a run; see `load_images`, `split`, `fit` and `make_bundle` for the errors.

    The folder is made when the data and the recipe were found good, so a run that is refused leaves nothing behind.
    """
    finished = _finished(folder)
    if finished is not None:
        return finished
    recipe = run.recipe
    NETWORKS[recipe.network](recipe.preprocessing.shape, recipe.dimension)  # refuses a size that it cannot take
    images = load_images(Path(run.data), recipe.preprocessing, run.max_unreadable, watcher.loading)
    parts = split(images, run.hold_out, run.hold_out_every, run.hold_out_classes)
    run.save(folder)
    watcher.loaded(parts)
    start_from = Path(run.start_from) if run.start_from else None
    network = fit(recipe, parts.training, folder, watcher.training, start_from)
    watcher.measuring()
    origin = Origin(
        name=run.name,
        recipe=recipe.name,
        preprocessing=recipe.preprocessing,
        facts=_facts(run, parts, images),
        training=_training(run, parts),
        records=read_log(folder / LOG),
        seed=recipe.seed,
    )
    return make_bundle(network, origin, parts.held_out, parts.training, folder / BUNDLE)


def _finished(folder: Path) -> Bundle | None:
    """The bundle of a run that came to its end; a damaged one is made again."""
    if not (folder / FILE).exists():
        return None
    try:
        return Bundle.load(folder / BUNDLE)
    except BundleError:
        return None


def _training(run: Run, parts: Split) -> dict[str, Any]:
    """What the manifest says of the training."""
    return {
        "held_out": list(parts.held_out_names),
        "training_classes": len(parts.training.class_names),
        "training_images": len(parts.training.labels),
        "held_out_classes": len(parts.held_out.class_names),
        "recipe": json.loads(run.recipe.to_json()),
        "started_from": _first_recipe(run),
    }


def _facts(run: Run, parts: Split, images: ImageSet) -> list[tuple[str, str]]:
    recipe = run.recipe
    return [
        ("held out", some(parts.held_out_names)),
        ("held-out classes", f"{len(parts.held_out.class_names):,}"),
        ("training classes", f"{len(parts.training.class_names):,}"),
        ("training images", f"{len(parts.training.labels):,}"),
        ("unreadable images left out", f"{len(images.skipped):,}"),
        ("network and loss", f"{recipe.network}, {recipe.loss}"),
        ("input", f"{recipe.preprocessing.width} x {recipe.preprocessing.height} x {recipe.preprocessing.channels}"),
        ("embedding", f"{recipe.dimension} values of unit length"),
        ("began with", _beginning(run)),
        ("steps", f"{recipe.steps:,} of {recipe.classes_per_batch} x {recipe.images_per_class} images"),
        ("seed", str(recipe.seed)),
    ]


def _first_recipe(run: Run) -> dict[str, Any] | None:
    """The recipe of the run whose weights this one began with; None when it began from nothing."""
    if not run.start_from:
        return None
    recipe: dict[str, Any] = json.loads(Run.load(Path(run.start_from)).recipe.to_json())
    return recipe


def _beginning(run: Run) -> str:
    if run.start_from:
        return f"the weights of {Path(run.start_from).name}"
    if not run.recipe.weights:
        return "random weights"
    return "the published weights" if run.recipe.weights == "imagenet" else Path(run.recipe.weights).name
