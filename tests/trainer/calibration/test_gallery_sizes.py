"""Rates and probabilities as they turn out in galleries of a size, on groups that were not fitted on."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
from exemplar_trainer.calibration.by_size import Kept, check_sizes

from exemplar_encoder import Calibration
from exemplar_trainer.calibration import by_size as calibration_sizes
from exemplar_trainer.evaluation.tasks import EvaluationError
from exemplar_trainer.reports.tables import print_sizes
from tests.trainer.synthetic_sets import gaussian_embeddings, synthetic_set

SET = synthetic_set({f"G{index}": 24 for index in range(9)}, images_per_class=6)
EMBEDDINGS = gaussian_embeddings(SET, spread=0.9, dimension=32)
HELD_OUT = [f"G{index}" for index in range(6)]


@pytest.fixture(scope="module")
def found() -> list[Kept]:
    return check_sizes(EMBEDDINGS, SET, HELD_OUT, [12, 100, 180], number=20)


def test_every_kind_that_the_set_can_supply_is_judged(found: list[Kept]) -> None:
    kinds = [(kept.gallery_size, kept.one_group, kept.one_source) for kept in found]
    assert kinds == [(12, True, False), (12, True, True)] + [
        (size, False, one) for size in (12, 100, 180) for one in (False, True)
    ]
    assert {kept.strangers for kept in found} == {6 * 20 * 12}


def test_classes_that_training_saw_are_enrolled_only_where_the_others_run_out(found: list[Kept]) -> None:
    unseen = 6 * 24 - 12
    assert [kept.trained_share for kept in found] == pytest.approx([0] * 6 + [(180 - unseen) / 180] * 2)


def test_the_rates_asked_for_and_the_probabilities_hold(found: list[Kept]) -> None:
    for kept in found:
        assert kept.realized[1] == pytest.approx(0.05, abs=0.035)
        assert kept.realized[0] <= kept.realized[1]
        assert kept.accepted[0] <= kept.accepted[1] <= 1
        assert kept.calibration_error < 0.15
        assert (kept.misnamed or 0) <= kept.misnamed_asked + 0.025
    assert any((kept.ambiguous or 0) > 0.01 for kept in found)


def test_a_calibration_that_promises_too_much_is_found_out(
    found: list[Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = calibration_sizes.fit_calibration

    def bold(*arguments: object) -> Calibration:
        fitted = fit(*arguments)  # type: ignore[arg-type]
        factors = tuple(tuple(1.2 * factor for factor in row) for row in fitted.factors)
        loose = dataclasses.replace(fitted, ambiguity_margin=0.0, factors=factors)
        return dataclasses.replace(loose, unknown_intercept=fitted.unknown_intercept + 3)

    monkeypatch.setattr(calibration_sizes, "fit_calibration", bold)
    for honest, kept in zip(found, check_sizes(EMBEDDINGS, SET, HELD_OUT, [12, 100], number=20), strict=False):
        assert kept.realized[1] > 2 * honest.realized[1]
        assert kept.calibration_error > honest.calibration_error + 0.1
        if kept.gallery_size == 100:  # among few nothing but ties was ambiguous
            assert (kept.misnamed or 0) > 2 * (honest.misnamed or 0)


def test_every_figure_is_what_loops_over_the_galleries_find(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: distances pair by pair, and counts query by query, of the galleries and queries that were drawn."""
    judges: list[Calibration] = []
    groups: list[list[int]] = []
    pairs: list[np.ndarray] = []
    strangers: list[np.ndarray] = []
    ask, draw_pairs, draw_strangers = (
        calibration_sizes._ask,
        calibration_sizes.draw_pairs,
        calibration_sizes.draw_strangers,
    )

    def asking(*arguments: Any) -> None:
        judges.append(arguments[3])
        groups.append(list(arguments[6]))
        ask(*arguments)

    def drawing_pairs(*arguments: Any) -> Any:
        drawn = draw_pairs(*arguments)
        pairs.append(drawn[0])
        return drawn

    def drawing_strangers(*arguments: Any) -> Any:
        strangers.append(draw_strangers(*arguments))
        return strangers[-1]

    monkeypatch.setattr(calibration_sizes, "_ask", asking)
    monkeypatch.setattr(calibration_sizes, "draw_pairs", drawing_pairs)
    monkeypatch.setattr(calibration_sizes, "draw_strangers", drawing_strangers)
    (kept, *_) = [each for each in check_sizes(EMBEDDINGS, SET, HELD_OUT, [100], number=2) if not each.one_source]
    points = EMBEDDINGS.astype(float).tolist()
    accepted: list[list[bool]] = [[], []]
    realized: list[list[bool]] = [[], []]
    verdicts: list[tuple[bool, bool]] = []
    stated: list[tuple[float, bool]] = []
    for judge, group, drawn, others in list(zip(judges, groups, pairs, strangers, strict=True))[:12]:
        exemplars = [points[image] for image in drawn[:, 0]]
        labels = [int(SET.labels[image]) for image in drawn[:, 0]]
        gaps = sorted(min(math.dist(a, b) for b in exemplars if b is not a) for a in exemplars)
        spacing = judge.spacing(len(exemplars), np.array(gaps, np.float32))
        asked = [(points[image], int(SET.labels[image])) for image in drawn[:, 1] if SET.labels[image] in group]
        unknown = [(points[image], -1) for image in others]
        answers = []
        for query, truth in asked + unknown:
            ranked = sorted(
                (math.dist(query, exemplar), label) for exemplar, label in zip(exemplars, labels, strict=True)
            )
            answers.append((ranked, truth))
        for ranked, truth in answers:
            for place, rate in enumerate((0.01, 0.05)):
                near = ranked[0][0] <= judge.threshold(rate, len(exemplars), spacing)
                (realized if truth < 0 else accepted)[place].append(near)
            if truth >= 0 and ranked[0][0] <= judge.threshold(0.05, len(exemplars), spacing):
                close = ranked[1][0] - ranked[0][0] < judge.margin(spacing)
                verdicts.append((close, ranked[0][1] == truth))
        alike = min(len(asked), len(unknown))
        for ranked, truth in answers[:alike] + answers[len(asked) : len(asked) + alike]:
            p = judge.probabilities([distance for distance, _ in ranked], spacing)[0]
            stated.append((float(p), ranked[0][1] == truth))
    assert kept.accepted == pytest.approx([sum(each) / len(each) for each in accepted])
    assert kept.realized == pytest.approx([sum(each) / len(each) for each in realized])
    assert kept.ambiguous == pytest.approx(sum(close for close, _ in verdicts) / len(verdicts))
    clear = [right for close, right in verdicts if not close]
    assert kept.misnamed == pytest.approx(clear.count(False) / len(clear))
    error = 0.0
    for low in range(10):
        own = [(p, right) for p, right in stated if min(9, int(10 * p)) == low]
        error += abs(sum(p for p, _ in own) - sum(right for _, right in own)) / len(stated)
    assert kept.calibration_error == pytest.approx(error, abs=1e-5)


def test_the_same_seed_finds_the_same(found: list[Kept]) -> None:
    assert check_sizes(EMBEDDINGS, SET, HELD_OUT, [12], number=20) == found[:4]


@pytest.mark.parametrize(
    ("held_out", "size", "sentence"),
    [
        (HELD_OUT[:2], 12, "takes 3 held-out groups"),
        (HELD_OUT, 205, "for galleries of 204, and strangers; not of 205"),
    ],
)
def test_what_cannot_be_judged_is_a_sentence(held_out: list[str], size: int, sentence: str) -> None:
    with pytest.raises(EvaluationError, match=sentence):
        check_sizes(EMBEDDINGS, SET, held_out, [size])


def test_strangers_are_never_enrolled(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[np.ndarray, np.ndarray]] = []
    ask = calibration_sizes._ask
    monkeypatch.setattr(
        calibration_sizes, "_ask", lambda *arguments: (seen.append((arguments[4], arguments[5])), ask(*arguments))
    )
    check_sizes(EMBEDDINGS, SET, HELD_OUT, [12, 204], number=2)
    assert len(seen) == 6 * 6 * 2
    for enrolled, strangers in seen:
        assert len(np.unique(enrolled)) == len(enrolled)
        assert not np.isin(strangers, enrolled).any()


def test_where_nothing_was_accepted_no_share_of_it_is_claimed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fit = calibration_sizes.fit_calibration

    def timid(*arguments: object) -> Calibration:
        fitted = fit(*arguments)  # type: ignore[arg-type]
        return dataclasses.replace(fitted, factors=tuple(tuple(1e-6 * f for f in row) for row in fitted.factors))

    monkeypatch.setattr(calibration_sizes, "fit_calibration", timid)
    kept = check_sizes(EMBEDDINGS, SET, HELD_OUT[:3], [12], number=2)
    assert {(each.accepted, each.ambiguous, each.misnamed) for each in kept} == {((0, 0), None, None)}
    assert "NaN" not in json.dumps([dataclasses.asdict(each) for each in kept])
    print_sizes(kept)
    shown = capsys.readouterr().out
    assert "nan" not in shown
    assert "–" in shown
