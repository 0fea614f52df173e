"""A training run from image tree to bundle: load, split, fit, measure, calibrate, export.

A run lives in a folder of its own: recipe and data in `run.json`, the checkpoint, logs, and at the end `bundle/`. Any
stage can be repeated from that folder, so stopping a run costs nothing but the step in hand.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np

from exemplar_encoder import Bundle, BundleError, Figure, Manifest
from exemplar_encoder.bundle import Floats
from exemplar_trainer.calibrate import fit_calibration, pair_distances
from exemplar_trainer.calibration_check import check_calibration
from exemplar_trainer.contact_sheet import draw_decisions
from exemplar_trainer.dataset import ImageSet, load_images
from exemplar_trainer.episodes import Accuracy, EpisodeError, Protocol, measure
from exemplar_trainer.export import Ingredients, export_bundle
from exemplar_trainer.fit import LOG, Progress, fit, read_log
from exemplar_trainer.networks import NETWORKS
from exemplar_trainer.recipe import Recipe
from exemplar_trainer.report import Findings, render_report
from exemplar_trainer.split import Split, split

FILE = "run.json"
BUNDLE = "bundle"
EPISODES = 400
COHORT_SIZE = 512

PROTOCOLS = (
    Protocol(20, 1, within_group=True),
    Protocol(5, 1, within_group=True),
    Protocol(20, 1),
    Protocol(5, 1),
    Protocol(20, 2, within_group=True),
    Protocol(20, 5, within_group=True),
)


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
    """Do what is left of a run; see `load_images`, `split`, `fit` and `export_bundle` for the errors.

    The folder is made when the data and the recipe were found good, so a run that is refused leaves nothing behind.
    """
    finished = _finished(folder)
    if finished is not None:
        return finished
    recipe = run.recipe
    NETWORKS[recipe.network](recipe.preprocessing.shape, recipe.dimension)  # refuses a size that it cannot take
    images = load_images(Path(run.data), recipe.preprocessing, run.max_unreadable, watcher.loading)
    parts = split(images, run.hold_out)
    run.save(folder)
    watcher.loaded(parts)
    start_from = Path(run.start_from) if run.start_from else None
    network = fit(recipe, parts.training, folder, watcher.training, start_from)
    watcher.measuring()
    embeddings = embed(network, parts.held_out)
    accuracies = _accuracies(embeddings, parts.held_out)
    calibration = fit_calibration(embeddings, parts.held_out)
    check = check_calibration(embeddings, parts.held_out)
    genuine, impostor = pair_distances(embeddings, parts.held_out)
    hits, misses = draw_decisions(embeddings, parts.held_out, accuracies[0].protocol, 24, seed=1)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    findings = Findings(
        title=f"{run.name} (recipe {recipe.name})",
        facts=_facts(run, parts, images, created),
        accuracies=accuracies,
        by_group=_by_group(embeddings, parts.held_out),
        calibration=calibration,
        check=check,
        genuine=genuine,
        impostor=impostor,
        records=read_log(folder / LOG),
        held_out=parts.held_out,
        hits=hits,
        misses=misses,
    )
    figures = [Figure(f"{a.protocol.name} accuracy", a.value, a.low, a.high) for a in accuracies]
    figures.append(Figure("expected calibration error", check.expected_calibration_error))
    figures.append(Figure("AUROC, known against unknown", check.separation.auroc))
    figures.append(Figure("unknown accepted where 95 % of known are", check.separation.false_positives))
    figures.append(Figure("OSCR", check.separation.oscr))
    for asked, realised in zip(check.false_accept_rates, check.realised_rates, strict=True):
        figures.append(Figure(f"realised false-accept rate at {asked:.0%}", realised))
    manifest = Manifest(
        name=run.name,
        recipe=recipe.name,
        created=created,
        dimension=recipe.dimension,
        preprocessing=recipe.preprocessing,
        figures=tuple(figures),
        training={
            "held_out": list(parts.held_out_names),
            "training_classes": len(parts.training.class_names),
            "training_images": len(parts.training.labels),
            "held_out_classes": len(parts.held_out.class_names),
            "recipe": json.loads(recipe.to_json()),
            "started_from": _first_recipe(run),
        },
    )
    cohort = _cohort(network, parts.training, recipe.seed)
    ingredients = Ingredients(network, manifest, calibration, cohort, render_report(findings))
    return export_bundle(ingredients, folder / BUNDLE)


def _finished(folder: Path) -> Bundle | None:
    """The bundle of a run that came to its end; a damaged one is made again."""
    if not (folder / FILE).exists():
        return None
    try:
        return Bundle.load(folder / BUNDLE)
    except BundleError:
        return None


def embed(network: keras.Model, images: ImageSet) -> Floats:
    """Embeddings float32 `[images, dimension]` of a whole set."""
    batches = [
        keras.ops.convert_to_numpy(network.predict_on_batch(images.pixels[start : start + 256].astype(np.float32)))
        for start in range(0, len(images.labels), 256)
    ]
    return np.concatenate(batches).astype(np.float32)


def _accuracies(embeddings: Floats, held_out: ImageSet) -> tuple[Accuracy, ...]:
    """Every protocol that the held-out classes can supply; a small set gets the largest episodes it has."""
    found = []
    for protocol in PROTOCOLS:
        try:
            found.append(measure(embeddings, held_out, protocol, EPISODES, seed=0))
        except EpisodeError:  # too few classes or images for this one; the next may do
            continue
    if not found:
        found.append(measure(embeddings, held_out, Protocol(min(5, len(held_out.class_names))), EPISODES, seed=0))
    return tuple(found)


def _by_group(embeddings: Floats, held_out: ImageSet) -> list[tuple[str, Accuracy]]:
    rows = []
    for group, classes in held_out.classes_by_group.items():
        if len(held_out.classes_by_group) < 2 or len(classes) < 2:
            continue
        inside = np.flatnonzero(np.isin(held_out.labels, classes))
        protocol = Protocol(min(20, len(classes)), 1, within_group=bool(group))
        rows.append((group, measure(embeddings[inside], held_out.only(classes.tolist()), protocol, 100, seed=0)))
    return rows


def _cohort(network: keras.Model, training: ImageSet, seed: int) -> Floats:
    """Embeddings of training images, at most one a class: strangers to compare a query with."""
    rng = np.random.default_rng([seed, 5])
    firsts = np.array([members[0] for members in training.members])
    chosen = np.sort(rng.permutation(firsts)[:COHORT_SIZE])
    pixels = training.pixels[chosen].astype(np.float32)
    return keras.ops.convert_to_numpy(network.predict_on_batch(pixels)).astype(np.float32)


def _facts(run: Run, parts: Split, images: ImageSet, created: str) -> list[tuple[str, str]]:
    recipe = run.recipe
    return [
        ("made", created),
        ("held out", ", ".join(parts.held_out_names)),
        ("held-out classes", f"{len(parts.held_out.class_names):,}"),
        ("training classes", f"{len(parts.training.class_names):,}"),
        ("training images", f"{len(parts.training.labels):,}"),
        ("unreadable images left out", f"{len(images.skipped):,}"),
        ("network and loss", f"{recipe.network}, {recipe.loss}"),
        ("input", f"{recipe.preprocessing.width} x {recipe.preprocessing.height} x {recipe.preprocessing.channels}"),
        ("embedding", f"{recipe.dimension} values of unit length"),
        ("began with", f"the weights of {Path(run.start_from).name}" if run.start_from else "random weights"),
        ("steps", f"{recipe.steps:,} of {recipe.classes_per_batch} x {recipe.images_per_class} images"),
        ("seed", str(recipe.seed)),
    ]


def _first_recipe(run: Run) -> dict[str, Any] | None:
    """The recipe of the run whose weights this one began with; None when it began from nothing."""
    if not run.start_from:
        return None
    recipe: dict[str, Any] = json.loads(Run.load(Path(run.start_from)).recipe.to_json())
    return recipe
