"""Open-set figures and their intervals, against loops that draw the same again, and against many draws."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from exemplar_trainer.calibration.from_held_out import fit_calibration
from exemplar_trainer.evaluation.episodes import Protocol
from exemplar_trainer.evaluation.open_set import OpenSet, judge_open_set, judge_tasks
from exemplar_trainer.evaluation.tasks import NO_CLASS, Questions, Task
from exemplar_trainer.evaluation.tree import open_set_questions
from tests.trainer.synthetic_sets import gaussian_embeddings, synthetic_set

SET = synthetic_set({f"G{index}": 24 for index in range(6)}, images_per_class=6)
EMBEDDINGS = gaussian_embeddings(SET, spread=1.1, dimension=24)
CALIBRATION = fit_calibration(EMBEDDINGS, SET, 0)
FIGURES = ("auroc", "false_positives", "oscr", "calibration_error")


def asked(number: int, seed: int = 0, way: int = 10) -> Questions:
    return open_set_questions(SET, Protocol(way), number, seed)


def judged(questions: Questions, seed: int = 0) -> OpenSet:
    return judge_open_set(EMBEDDINGS, questions, CALIBRATION, seed)


def flat(found: OpenSet) -> list[tuple[float, tuple[float, float] | None]]:
    """Return each figure with its interval."""
    assert found.intervals is not None
    single = [(getattr(found, name), getattr(found.intervals, name)) for name in FIGURES]
    realized = zip(found.realized, found.intervals.realized, strict=True)
    return [*single, *realized, *zip(found.accepted, found.intervals.accepted, strict=True)]


def test_every_figure_lies_in_an_interval_that_has_a_width() -> None:
    for value, interval in flat(judged(asked(30))):
        assert interval is not None
        low, high = interval
        assert 0 <= low <= value <= high <= 1
        assert low < high


def test_the_same_seed_draws_the_same_resamples_and_another_seed_draws_others() -> None:
    assert judged(asked(12), 3) == judged(asked(12), 3)
    assert judged(asked(12), 3).intervals != judged(asked(12), 4).intervals


def test_intervals_are_the_middle_of_what_tasks_drawn_again_give() -> None:
    questions = asked(12)
    found = judged(questions, seed=5)
    rng = np.random.default_rng([5, 12])
    drawn = []
    for _ in range(200):
        tasks = [questions.tasks[at] for at in rng.integers(12, size=12)]
        drawn.append(judge_tasks(EMBEDDINGS, tasks, [CALIBRATION] * 12))
    assert found.intervals is not None
    for name in FIGURES[:3]:
        low, high = getattr(found.intervals, name)
        values = sorted(getattr(each, name) for each in drawn)
        assert values[4] <= low <= values[5]
        assert values[194] <= high <= values[195]
    for position in range(3):
        values = sorted(each.realized[position] for each in drawn)
        if values[0] == values[-1]:
            continue  # of the queries instead, see below
        low, high = found.intervals.realized[position] or (0, 0)
        assert values[4] <= low <= values[5]
        assert values[194] <= high <= values[195]


@pytest.mark.slow
def test_the_intervals_cover_what_thousands_of_tasks_find() -> None:
    truth = flat(judged(asked(600, seed=99)))
    covered = np.zeros(len(truth))
    for seed in range(15):
        for position, (_, interval) in enumerate(flat(judged(asked(30, seed)))):
            if interval is not None:
                covered[position] += interval[0] <= truth[position][0] <= interval[1]
    assert (covered[[0, 1, 2, *range(4, len(truth))]] >= 12).all()  # the calibration error of few queries is more


def test_of_a_single_task_only_shares_of_its_queries_have_an_interval() -> None:
    found = judged(asked(1, way=20)).intervals
    assert found is not None
    assert (found.auroc, found.oscr, found.calibration_error) == (None, None, None)
    for interval in (found.false_positives, *found.realized, *found.accepted):
        assert interval is not None
        assert interval[0] < interval[1]


def test_of_a_single_query_of_each_kind_there_is_no_interval() -> None:
    images = SET.members
    task = Task(
        np.array([[images[0][0]], [images[1][0]]]),
        np.array([images[0][1], images[2][1]]),
        np.array([0, NO_CLASS]),
    )
    found = judged(dataclasses.replace(asked(1), tasks=(task,)))
    assert {interval for _, interval in flat(found)} == {None}


@pytest.mark.parametrize("number", [1, 5])
def test_a_rate_without_a_single_case_has_the_interval_of_its_queries(number: int) -> None:
    perfect = np.eye(len(SET.class_names), dtype=np.float32)[SET.labels]
    found = judge_open_set(perfect, asked(number), CALIBRATION, 0)
    assert found.intervals is not None
    assert found.realized[0] == 0
    low, high = found.intervals.realized[0] or (1, 1)
    assert low == pytest.approx(0)
    assert 0 < high < 0.4 / number
    assert found.intervals.auroc is None  # every resample is as perfect
