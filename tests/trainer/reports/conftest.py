"""An open set that a bundle answered, on classes whose names look like markup."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from exemplar_encoder import Bundle, Calibration
from exemplar_encoder.arrays import Floats
from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.evaluation.accuracy import assess
from exemplar_trainer.evaluation.open_set import judge_open_set
from exemplar_trainer.evaluation.results import Result
from exemplar_trainer.evaluation.tasks import Terms
from exemplar_trainer.evaluation.tree import open_set_questions
from tests.trainer.reports.hostile import HOSTILE, PROTOCOL
from tests.trainer.synthetic_sets import gaussian_embeddings, synthetic_set

MODELS = Path(__file__).parents[3] / "models"


@pytest.fixture(scope="session")
def images() -> ImageSet:
    return synthetic_set({HOSTILE: 12, "plain": 12, "other": 12})


@pytest.fixture(scope="session")
def embeddings(images: ImageSet) -> Floats:
    return gaussian_embeddings(images, spread=1.2)  # so far spread that some queries are named wrongly


@pytest.fixture(scope="session")
def calibration() -> Calibration:
    return Bundle.load(MODELS / "omniglot-held-out").calibration


@pytest.fixture(scope="session")
def result(images: ImageSet, embeddings: Floats, calibration: Calibration) -> Result:
    """Return the result of an open set: some queries are of classes that are not enrolled."""
    questions = dataclasses.replace(open_set_questions(images, PROTOCOL, 12, seed=0), notes=(HOSTILE,))
    return Result(
        bundle=HOSTILE,
        model="m",
        questions=questions,
        terms=Terms((HOSTILE,), (HOSTILE,), 0),
        assessment=assess(embeddings, questions),
        open_set=judge_open_set(embeddings, questions, calibration, seed=0),
        trained_on=True,
    )
