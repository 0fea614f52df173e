"""A bundle answers questions, and what it answered is put beside what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from exemplar_encoder import Encoder
from exemplar_trainer.evaluation.accuracy import judge
from exemplar_trainer.evaluation.open_set import judge_open_set
from exemplar_trainer.evaluation.provenance import trained_on
from exemplar_trainer.evaluation.tasks import NOBODY, Questions, Terms
from exemplar_trainer.reports.evaluation import Result


def results_of(
    encoder: Encoder, asked: Sequence[Questions], terms: Terms, held_out: bool, say: Callable[[str], None]
) -> list[Result]:
    """Embed the images of each set of questions, once where several have the same, and judge.

    Args:
        encoder: of the bundle that answers.
        asked: what it is asked.
        terms: how that was drawn.
        held_out: whether the classes asked about are what a bundle's training held out.
        say: told what is being answered.
    """
    bundle = encoder.bundle
    results = []
    embedded: list[Any] = []  # the images of the last questions, and their embeddings
    for questions in asked:
        say(f"{bundle.path}: {questions.title}, {len(questions.tasks):,} tasks")
        if not embedded or embedded[0] is not questions.pixels:
            embedded = [questions.pixels, encoder.embed(questions.pixels)]
        embeddings = embedded[1]
        unknown = any((task.truth == NOBODY).any() for task in questions.tasks)
        results.append(
            Result(
                str(bundle.path),
                bundle.id,
                questions,
                terms,
                judge(embeddings, questions),
                judge_open_set(embeddings, questions, bundle.calibration, terms.seed) if unknown else None,
                trained_on(bundle.manifest.training, questions) if held_out else None,
            )
        )
    return results
