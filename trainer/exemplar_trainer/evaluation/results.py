"""A bundle answers questions, and the answers are put beside the questions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from exemplar_encoder import Encoder
from exemplar_encoder.arrays import Floats
from exemplar_trainer.data.wording import plural
from exemplar_trainer.evaluation.accuracy import Assessment, assess
from exemplar_trainer.evaluation.open_set import OpenSet, judge_open_set
from exemplar_trainer.evaluation.provenance import MARK, trained_on
from exemplar_trainer.evaluation.tasks import NO_CLASS, Questions, Terms


@dataclass(frozen=True)
class Result:
    """The answers of one bundle to one set of questions.

    `open_set` where some queries were of classes not enrolled; `trained_on` as that function tells.
    """

    bundle: str
    model: str
    questions: Questions
    terms: Terms
    assessment: Assessment
    open_set: OpenSet | None = None
    trained_on: bool | None = None

    @property
    def name(self) -> str:
        """The bundle, marked where it was trained on what it is asked about."""
        return self.bundle + MARK if self.trained_on else self.bundle

    @property
    def facts(self) -> dict[str, Any]:
        """All it takes to ask again: data, groups, seed, number of tasks, way and shot of the largest."""
        tasks = self.questions.tasks
        way, shot = np.max([task.exemplars.shape for task in tasks], axis=0).tolist()
        return {**asdict(self.terms), "number": len(tasks), "way": way, "shot": shot}


def results_of(
    encoder: Encoder, asked: Sequence[Questions], terms: Terms, held_out: bool, say: Callable[[str], None]
) -> list[Result]:
    """Embed the images of each set of questions, once where several have the same, and count the answers.

    Args:
        encoder: of the bundle that answers.
        asked: the questions.
        terms: how they were drawn.
        held_out: whether the classes asked about are those that a bundle's training held out.
        say: told which questions are being answered.
    """
    bundle = encoder.bundle
    results = []
    embedded: dict[int, Floats] = {}  # by the array of images, which the questions keep alive
    for questions in asked:
        say(f"{bundle.path}: {questions.title}, {plural(len(questions.tasks), 'task')}")
        if id(questions.pixels) not in embedded:
            embedded = {id(questions.pixels): encoder.embed(questions.pixels)}
        (embeddings,) = embedded.values()
        unknown = any((task.truth == NO_CLASS).any() for task in questions.tasks)
        results.append(
            Result(
                str(bundle.path),
                bundle.id,
                questions,
                terms,
                assess(embeddings, questions),
                judge_open_set(embeddings, questions, bundle.calibration, terms.seed) if unknown else None,
                trained_on(bundle.manifest.training, questions) if held_out else None,
            )
        )
    return results
