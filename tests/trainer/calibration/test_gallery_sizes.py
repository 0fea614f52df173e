"""Rates and probabilities as they turn out in galleries of a size, on groups that were not fitted on."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from exemplar_encoder import Calibration
from exemplar_encoder.arrays import Floats
from exemplar_trainer.calibration import gallery_sizes
from exemplar_trainer.calibration.from_held_out import fit_calibration
from exemplar_trainer.calibration.gallery_sizes import GalleryCheck, check_gallery_sizes
from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.evaluation.open_set import judge_tasks
from exemplar_trainer.evaluation.tasks import EvaluationError, Task
from exemplar_trainer.reports.tables import print_sizes
from tests.trainer.synthetic_sets import gaussian_embeddings, synthetic_set

pytestmark = pytest.mark.slow

SET = synthetic_set({f"G{index}": 24 for index in range(9)}, images_per_class=6)
EMBEDDINGS = gaussian_embeddings(SET, spread=0.9, dimension=32)
HELD_OUT = [f"G{index}" for index in range(6)]


@pytest.fixture(scope="module", autouse=True)
def fit_once() -> Iterator[Callable[..., Calibration]]:
    """Make each fit once: it takes seconds, and these tests judge the same ones again and again."""
    made: dict[tuple[bytes, bytes], Calibration] = {}

    def once(embeddings: Floats, images: ImageSet, seed: int, background: Floats) -> Calibration:
        key = embeddings.tobytes(), background.tobytes()
        if key not in made:
            made[key] = fit_calibration(embeddings, images, seed, background)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gallery_sizes, "fit_calibration", once)
        yield once


Asked = list[list[tuple[Task, Calibration]]]


@pytest.fixture(scope="module")
def found(fit_once: object) -> list[GalleryCheck]:
    return check_gallery_sizes(EMBEDDINGS, SET, HELD_OUT, [12, 100, 180], number=20)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Return for each kind of gallery the tasks that are judged, each with the calibration that judges it."""
    found: Asked = []

    def judging(embeddings: Floats, tasks: Sequence[Task], calibrations: Sequence[Calibration], rates: Any) -> Any:
        found.append(list(zip(tasks, calibrations, strict=True)))
        return judge_tasks(embeddings, tasks, calibrations, rates)

    monkeypatch.setattr(gallery_sizes, "judge_tasks", judging)
    return found


def test_every_kind_that_the_set_can_supply_is_judged(found: list[GalleryCheck]) -> None:
    kinds = [(check.gallery_size, check.one_group, check.one_source) for check in found]
    assert kinds == [(12, True, False), (12, True, True)] + [
        (size, False, one) for size in (12, 100, 180) for one in (False, True)
    ]
    assert {check.strangers for check in found} == {6 * 20 * 12}


def test_classes_that_training_saw_are_enrolled_only_where_the_others_run_out(found: list[GalleryCheck]) -> None:
    unseen = 6 * 24 - 12
    assert [check.trained_share for check in found] == pytest.approx([0] * 6 + [(180 - unseen) / 180] * 2)


def test_the_rates_asked_for_and_the_probabilities_hold(found: list[GalleryCheck]) -> None:
    for check in found:
        assert check.realized[1] == pytest.approx(0.05, abs=0.035)
        assert check.realized[0] <= check.realized[1]
        assert check.accepted[0] <= check.accepted[1] <= 1
        assert check.calibration_error < 0.15
        assert (check.misnamed or 0) <= check.misnamed_asked + 0.025
    assert any((check.ambiguous or 0) > 0.01 for check in found)


def test_a_calibration_that_promises_too_much_is_found_out(
    found: list[GalleryCheck], fit_once: Callable[..., Calibration], monkeypatch: pytest.MonkeyPatch
) -> None:
    def bold(*arguments: Any) -> Calibration:
        fitted = fit_once(*arguments)
        factors = tuple(tuple(1.2 * factor for factor in row) for row in fitted.factors)
        loose = dataclasses.replace(fitted, ambiguity_margin=0.0, factors=factors)
        return dataclasses.replace(loose, unknown_intercept=fitted.unknown_intercept + 3)

    monkeypatch.setattr(gallery_sizes, "fit_calibration", bold)
    for honest, check in zip(
        found, check_gallery_sizes(EMBEDDINGS, SET, HELD_OUT, [12, 100], number=20), strict=False
    ):
        assert check.realized[1] > 2 * honest.realized[1]
        assert check.calibration_error > honest.calibration_error + 0.1
        if check.gallery_size == 100:  # among few nothing but ties was ambiguous
            assert (check.misnamed or 0) > 2 * (honest.misnamed or 0)


def test_every_figure_is_what_loops_over_the_galleries_find(asked: Asked) -> None:
    """Count by hand, distances pair by pair and answers query by query, in the galleries that were drawn."""
    checks = check_gallery_sizes(EMBEDDINGS, SET, HELD_OUT, [100], number=2)
    check = checks[0]
    assert not check.one_source
    points = EMBEDDINGS.astype(float).tolist()
    accepted: list[list[bool]] = [[], []]
    realized: list[list[bool]] = [[], []]
    verdicts: list[tuple[bool, bool]] = []
    stated: list[tuple[float, bool]] = []
    for task, judge in asked[0]:
        exemplars = [points[image] for image in task.exemplars[:, 0]]
        gaps = sorted(min(math.dist(a, b) for b in exemplars if b is not a) for a in exemplars)
        spacing = judge.spacing(len(exemplars), np.array(gaps, np.float32))
        answers = []
        for query, truth in zip(task.queries, task.truth, strict=True):
            ranked = sorted((math.dist(points[query], each), row) for row, each in enumerate(exemplars))
            answers.append((ranked, truth))
        for ranked, truth in answers:
            for place, rate in enumerate((0.01, 0.05)):
                near = ranked[0][0] <= judge.threshold(rate, len(exemplars), spacing)
                (realized if truth < 0 else accepted)[place].append(near)
            if truth >= 0 and ranked[0][0] <= judge.threshold(0.05, len(exemplars), spacing):
                close = ranked[1][0] - ranked[0][0] < judge.margin(spacing)
                verdicts.append((close, ranked[0][1] == truth))
        known, unknown = ([each for each in answers if (each[1] < 0) == strange] for strange in (False, True))
        alike = min(len(known), len(unknown))
        for ranked, truth in known[:alike] + unknown[:alike]:
            p = judge.probabilities([distance for distance, _ in ranked], spacing)[0]
            stated.append((float(p), ranked[0][1] == truth))
    assert check.accepted == pytest.approx([sum(each) / len(each) for each in accepted])
    assert check.realized == pytest.approx([sum(each) / len(each) for each in realized])
    assert check.ambiguous == pytest.approx(sum(close for close, _ in verdicts) / len(verdicts))
    clear = [right for close, right in verdicts if not close]
    assert check.misnamed == pytest.approx(clear.count(False) / len(clear))
    error = 0.0
    for low in range(10):
        own = [(p, right) for p, right in stated if min(9, int(10 * p)) == low]
        error += abs(sum(p for p, _ in own) - sum(right for _, right in own)) / len(stated)
    assert check.calibration_error == pytest.approx(error, abs=1e-5)


def test_the_same_seed_finds_the_same(found: list[GalleryCheck]) -> None:
    assert check_gallery_sizes(EMBEDDINGS, SET, HELD_OUT, [12], number=20) == found[:4]


@pytest.mark.parametrize(
    ("held_out", "size", "sentence"),
    [
        (HELD_OUT[:2], 12, "takes 3 held-out groups"),
        (HELD_OUT, 205, "for galleries of 204, and strangers; not of 205"),
    ],
)
def test_what_cannot_be_judged_is_a_sentence(held_out: list[str], size: int, sentence: str) -> None:
    with pytest.raises(EvaluationError, match=sentence):
        check_gallery_sizes(EMBEDDINGS, SET, held_out, [size])


def test_an_exemplar_and_its_query_are_of_one_class_and_strangers_are_never_enrolled(asked: Asked) -> None:
    check_gallery_sizes(EMBEDDINGS, SET, HELD_OUT, [12, 204], number=2)
    assert [len(kind) for kind in asked] == [6 * 2] * 6
    for task, _ in (each for kind in asked for each in kind):
        enrolled, queried = SET.labels[task.exemplars[:, 0]], SET.labels[task.queries]
        known = task.truth >= 0
        assert len(np.unique(enrolled)) == len(enrolled)
        assert (enrolled[task.truth[known]] == queried[known]).all()
        assert not np.isin(task.queries, task.exemplars).any()
        assert not np.isin(queried[~known], enrolled).any()


def test_where_nothing_was_accepted_no_share_of_it_is_claimed(
    fit_once: Callable[..., Calibration], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def timid(*arguments: Any) -> Calibration:
        fitted = fit_once(*arguments)
        return dataclasses.replace(fitted, factors=tuple(tuple(1e-6 * f for f in row) for row in fitted.factors))

    monkeypatch.setattr(gallery_sizes, "fit_calibration", timid)
    check = check_gallery_sizes(EMBEDDINGS, SET, HELD_OUT, [12], number=2)
    assert {(each.accepted, each.ambiguous, each.misnamed) for each in check} == {((0, 0), None, None)}
    assert "NaN" not in json.dumps([dataclasses.asdict(each) for each in check])
    print_sizes(check)
    shown = capsys.readouterr().out
    assert "nan" not in shown
    assert "–" in shown
