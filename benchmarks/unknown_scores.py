"""By which score are strangers told from queries of enrolled classes best? Distance, and others made of it.

On the tasks of `exemplar evaluate openset`: the distance to the nearest class; that in units of a gallery's spacing;
the probabilities of the nearest class and of any.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.results import record
from exemplar_encoder import Calibration, load_encoder
from exemplar_encoder.arrays import Floats64
from exemplar_encoder.calibration import gaps_of
from exemplar_trainer.evaluation.accuracy import Answers, answer
from exemplar_trainer.evaluation.episodes import Protocol
from exemplar_trainer.evaluation.roc import separate
from exemplar_trainer.evaluation.tasks import NO_CLASS
from exemplar_trainer.evaluation.tree import open_set_questions, read_tree


def main(
    data: Annotated[Path, typer.Argument(help="Folder or zip of images, as for training.")],
    bundle: Annotated[Path, typer.Option(help="The bundle.")] = Path("models/omniglot-held-out"),
    way: Annotated[int, typer.Option(min=2, help="Classes enrolled; as many others are asked about.")] = 20,
    number: Annotated[int, typer.Option(min=2, help="Tasks of each kind.")] = 400,
) -> None:
    """Measure the area under the ROC curve by each score."""
    encoder = load_encoder(bundle)
    images = read_tree(data, encoder.bundle.manifest.preprocessing, encoder.bundle.manifest.training["held_out"])
    embeddings = encoder.embed(images.pixels)
    figures: dict[str, dict[str, float]] = {}
    for within in (False, True):
        tasks = open_set_questions(images, Protocol(way, 1, within), number, seed=0).tasks
        answers = [answer(embeddings, task) for task in tasks]
        known = np.concatenate([task.truth != NO_CLASS for task in tasks])
        right = np.concatenate([each.chosen == task.truth for each, task in zip(answers, tasks, strict=True)])
        scores = [_scores(each, encoder.bundle.calibration) for each in answers]
        for name in scores[0]:
            found = separate(np.concatenate([each[name] for each in scores]), known, right)
            figures.setdefault(name, {})["within groups" if within else "across groups"] = found.auroc
    rows = [[name, *(f"{auroc:.4f}" for auroc in kinds.values())] for name, kinds in figures.items()]
    title = f"Area under the ROC curve, {way} classes enrolled and {way} strangers, {number} tasks; {bundle}"
    record("unknown_scores", title, ["score", "across groups", "within groups"], rows, {"way": way, "auroc": figures})


def _scores(answers: Answers, calibration: Calibration) -> dict[str, Floats64]:
    """Return each score of every query of a task, float64 `[queries]`: the smaller the more surely known."""
    spacing = calibration.spacing(len(answers.classes), gaps_of(answers.classes))
    nearest = np.sort(answers.distances, axis=1).astype(np.float64)
    stated = calibration.probabilities(nearest, spacing)
    return {
        "distance": nearest[:, 0],
        "distance in units of the spacing": nearest[:, 0] / spacing,
        "probability of the nearest class": -stated[:, 0],
        "probability of any class": -stated.sum(axis=1),
    }


if __name__ == "__main__":
    typer.run(main)
