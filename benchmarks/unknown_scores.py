"""By which score are strangers told from queries of enrolled classes best? Distance, and what could take its place.

On the tasks of `exemplar evaluate openset`: the distance to the nearest class; that in units of a gallery's spacing;
the probabilities of the nearest class and of any; and the cosine normalized adaptively by a cohort, the bundle's own
(Matejka et al., "Analysis of Score Normalization in Multilingual Speaker Recognition", Interspeech 2017, AS-norm1).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.results import record
from exemplar_encoder import Calibration, load_encoder
from exemplar_encoder.arrays import Floats, Floats64
from exemplar_encoder.bundle import COHORT
from exemplar_encoder.calibration import gaps_of
from exemplar_trainer.evaluation.accuracy import answer
from exemplar_trainer.evaluation.episodes import Protocol, class_embeddings
from exemplar_trainer.evaluation.protocols import open_set, read_tree
from exemplar_trainer.evaluation.roc import separate
from exemplar_trainer.evaluation.tasks import NOBODY, Task

NEAREST = (10, 50, 200)


def main(
    data: Annotated[Path, typer.Argument(help="Folder or zip of images, as for training.")],
    bundle: Annotated[Path, typer.Option(help="The bundle.")] = Path("models/omniglot-held-out"),
    way: Annotated[int, typer.Option(min=2, help="Classes enrolled; as many others are asked about.")] = 20,
    number: Annotated[int, typer.Option(min=2, help="Tasks of each kind.")] = 400,
) -> None:
    """Measure the area under the ROC curve by each score."""
    encoder = load_encoder(bundle)
    cohort: Floats = np.load(bundle / COHORT, allow_pickle=False)
    images = read_tree(data, encoder.bundle.manifest.preprocessing, encoder.bundle.manifest.training["held_out"])
    embeddings = encoder.embed(images.pixels)
    figures: dict[str, dict[str, float]] = {}
    for within in (False, True):
        questions = open_set(images, Protocol(way, 1, within), number, seed=0)
        scores = [_scores(embeddings, task, encoder.bundle.calibration, cohort) for task in questions.tasks]
        known = np.concatenate([task.truth != NOBODY for task in questions.tasks])
        right = np.concatenate([answer(embeddings, task).chosen == task.truth for task in questions.tasks])
        for name in scores[0]:
            found = separate(np.concatenate([each[name] for each in scores]), known, right)
            figures.setdefault(name, {})["within groups" if within else "across groups"] = found.auroc
    rows = [[name, *(f"{auroc:.4f}" for auroc in kinds.values())] for name, kinds in figures.items()]
    title = f"Area under the ROC curve, {way} classes enrolled and {way} strangers, {number} tasks; {bundle}"
    record("unknown_scores", title, ["score", "across groups", "within groups"], rows, {"way": way, "auroc": figures})


def _scores(embeddings: Floats, task: Task, calibration: Calibration, cohort: Floats) -> dict[str, Floats64]:
    """For each score its value for every query of a task, float64 `[queries]`: the smaller the more surely known."""
    classes, queries = class_embeddings(embeddings, task.exemplars), embeddings[task.queries]
    distances = answer(embeddings, task).distances
    spacing = calibration.spacing(len(classes), gaps_of(classes))
    best = distances.min(axis=1).astype(np.float64)
    stated = np.array([calibration.probabilities(row, spacing) for row in np.sort(distances, axis=1)])
    scores = {
        "distance": best,
        "distance in units of the spacing": best / spacing,
        "probability of the nearest class": -stated[:, 0],
        "probability of any class": -stated.sum(axis=1),
    }
    for nearest in NEAREST:
        normalized = _normalized(queries @ classes.T, queries @ cohort.T, classes @ cohort.T, nearest)
        scores[f"cosine normalized by the {nearest} nearest of the cohort"] = -normalized.max(axis=1)
    return scores


def _normalized(cosines: Floats, of_queries: Floats, of_classes: Floats, nearest: int) -> Floats64:
    """Cosines `[queries, classes]`, each in deviations from what both its query and its class have with a cohort."""

    def moments(with_cohort: Floats) -> tuple[Floats64, Floats64]:
        top = np.sort(with_cohort, axis=1)[:, -nearest:].astype(np.float64)
        return top.mean(axis=1), top.std(axis=1) + 1e-6

    (query_mean, query_deviation), (class_mean, class_deviation) = moments(of_queries), moments(of_classes)
    by_query = (cosines - query_mean[:, None]) / query_deviation[:, None]
    by_class = (cosines - class_mean[None]) / class_deviation[None]
    result: Floats64 = (by_query + by_class) / 2
    return result


if __name__ == "__main__":
    typer.run(main)
