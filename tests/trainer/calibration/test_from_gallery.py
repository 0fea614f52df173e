"""A calibration refitted on a gallery's own queries keeps its word to queries that it has not seen."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import pytest

from exemplar_encoder import Calibration
from exemplar_encoder.arrays import Floats
from exemplar_encoder.calibration import gaps_of
from exemplar_trainer.calibration import from_gallery
from exemplar_trainer.calibration.from_gallery import LEAST_CLASSES, CrossFit, LabeledGallery, cross_fit, refit
from exemplar_trainer.calibration.from_held_out import fit_calibration
from exemplar_trainer.evaluation.open_set import OpenSet, judge_tasks
from exemplar_trainer.evaluation.tasks import NO_CLASS, Task
from tests.trainer.synthetic_sets import gaussian_embeddings, synthetic_set

pytestmark = pytest.mark.slow

CLASSES, STRANGERS, EACH = 60, 20, 8


def world(spread: float, seed: int, strangers: int = STRANGERS) -> tuple[LabeledGallery, LabeledGallery]:
    """Return a gallery with labeled queries, and the same gallery with fresh queries and only strangers never met.

    Of each class, the first picture is the exemplar. Pictures are the less alike the greater the spread.
    """
    total = CLASSES + strangers + 100
    images = synthetic_set({"": total}, images_per_class=2 * EACH + 1)
    vectors = gaussian_embeddings(images, spread, dimension=24, seed=seed).reshape(total, 2 * EACH + 1, -1)
    labels = np.repeat(np.append(np.arange(CLASSES), np.full(strangers, NO_CLASS)), EACH)
    exemplars = vectors[:CLASSES, 0]
    seen = vectors[: CLASSES + strangers, 1 : EACH + 1].reshape(len(labels), -1)
    fresh = np.concatenate([vectors[:CLASSES, EACH + 1 :], vectors[-100:, :EACH]]).reshape(-1, 24)
    fresh_labels = np.repeat(np.append(np.arange(CLASSES), np.full(100, NO_CLASS)), EACH)
    return LabeledGallery(exemplars, seen, labels), LabeledGallery(exemplars, fresh, fresh_labels)


def accepted(calibration: Calibration, labeled: LabeledGallery, rate: float) -> tuple[float, float]:
    """Return the shares of strangers and of known queries within the threshold, in the gallery as it is."""
    distances = np.linalg.norm(labeled.queries[:, None] - labeled.classes[None], axis=2).min(axis=1)
    count = len(labeled.classes)
    within = distances <= calibration.threshold(rate, count, calibration.spacing(count, gaps_of(labeled.classes)))
    known = labeled.labels != NO_CLASS
    return float(within[~known].mean()), float(within[known].mean())


@pytest.fixture(scope="module")
def foreign() -> Calibration:
    """Return a model's calibration, fitted on pictures much more alike than the gallery's."""
    images = synthetic_set({f"G{index}": 20 for index in range(6)}, images_per_class=6)
    return fit_calibration(gaussian_embeddings(images, spread=0.3, dimension=6, seed=9), images)


@pytest.fixture(scope="module")
def judged(foreign: Calibration) -> CrossFit:
    return cross_fit(world(0.9, 1)[0], foreign)


@pytest.mark.parametrize("rate", [0.05, 0.1])
def test_a_rate_holds_for_strangers_that_it_never_met_where_the_model_s_did_not(
    foreign: Calibration, rate: float
) -> None:
    found: dict[str, list[float]] = {"before": [], "after": []}
    for seed in range(4):
        labeled, fresh = world(0.9, seed)
        found["before"].append(accepted(foreign, fresh, rate)[0])
        found["after"].append(accepted(refit(labeled, 0.05), fresh, rate)[0])
    assert np.mean(found["after"]) == pytest.approx(rate, rel=0.5)
    # World by world: too strict in one and too lax in another is no rate that holds, though the mean is right.
    before, after = (np.abs(np.array(found[name]) - rate).mean() for name in ("before", "after"))
    assert before > 3 * after


def test_what_is_reported_is_what_fresh_queries_meet(judged: CrossFit) -> None:
    labeled, fresh = world(0.9, 1)
    fitted = refit(labeled, 0.05)
    for position, rate in enumerate(judged.after.asked):
        strangers, known = accepted(fitted, fresh, rate)
        assert judged.after.realized[position] == pytest.approx(strangers, abs=0.03)
        assert judged.after.accepted[position] == pytest.approx(known, abs=0.15)
    assert judged.after.calibration_error < judged.before.calibration_error
    assert (judged.gallery_size, judged.after.known) == (57, judged.after.unknown)


def test_before_and_after_are_judged_by_the_same_questions(judged: CrossFit) -> None:
    for name in ("auroc", "false_positives", "oscr", "roc", "oscr_curve", "known", "unknown"):
        assert getattr(judged.before, name) == getattr(judged.after, name)


def test_a_fold_is_judged_by_a_fit_that_saw_nothing_of_it(
    foreign: Calibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    labeled, _ = world(0.9, 2)
    seen: dict[int, LabeledGallery] = {}

    def observed(part: LabeledGallery, rate: float, seed: int) -> Calibration:
        fitted = refit(part, rate, seed)
        seen[id(fitted)] = part
        return fitted

    def compared(embeddings: Floats, tasks: Sequence[Task], calibrations: Sequence[Calibration]) -> OpenSet:
        if calibrations[0] is not foreign:
            for task, calibration in zip(tasks, calibrations, strict=True):
                part = seen[id(calibration)]
                asked = embeddings[task.queries]
                assert not (asked[:, None] == part.queries[None]).all(axis=2).any()
                enrolled = embeddings[task.exemplars[task.truth[task.truth != NO_CLASS], 0]]
                assert not (enrolled[:, None] == part.classes[None]).all(axis=2).any()
        return judge_tasks(embeddings, tasks, calibrations)

    monkeypatch.setattr(from_gallery, "refit", observed)
    monkeypatch.setattr(from_gallery, "judge_tasks", compared)
    cross_fit(labeled, foreign)
    assert len(seen) == 10


def test_what_is_held_out_is_gone_and_the_rest_keep_their_classes() -> None:
    labeled, _ = world(0.9, 2, strangers=0)
    left = labeled.without(np.array([3, 7]), np.array([], np.int64))
    assert np.array_equal(left.classes, np.delete(labeled.classes, [3, 7], axis=0))
    kept = ~np.isin(labeled.labels, [3, 7])
    assert np.array_equal(left.queries, labeled.queries[kept])
    for place, own in zip(left.labels, labeled.labels[kept], strict=True):
        assert np.array_equal(left.classes[place], labeled.classes[own])


def test_what_is_left_out_is_left_out_of_strangers_too() -> None:
    labeled, _ = world(0.9, 2, strangers=3)
    some = np.flatnonzero(labeled.labels == NO_CLASS)[:5]
    left = labeled.without(np.array([0]), some)
    assert (left.labels == NO_CLASS).sum() == 3 * EACH - 5
    assert not (left.queries[:, None] == labeled.queries[some][None]).all(axis=2).any()


def test_strangers_of_both_kinds_are_drawn_in_proportion() -> None:
    labeled, _ = world(0.9, 2)  # three of four queries are of the gallery's classes
    rng = np.random.default_rng(0)
    both = labeled.draw_strangers(rng, np.arange(400), np.arange(400, 800), 100)
    assert ((both < 400).sum(), (both >= 400).sum()) == (75, 25)
    few = labeled.draw_strangers(rng, np.arange(6), np.arange(400, 800), 100)
    assert ((few < 400).sum(), (few >= 400).sum()) == (6, 2)


def test_no_rate_is_promised_that_so_few_pictures_cannot_show() -> None:
    labeled, _ = world(0.9, 3)
    few = dataclasses.replace(labeled, queries=labeled.queries[:200], labels=labeled.labels[:200])
    fitted = refit(few, 0.05)
    assert fitted.false_accept_rates[0] == pytest.approx(1 / 200)
    assert fitted.fitted_on.startswith("200 labeled pictures of 25 classes ")
    assert fitted.threshold(1e-4, 60, 1.0) == fitted.threshold(1 / 200, 60, 1.0)


def test_the_fit_has_seen_the_gallery_as_it_is_but_for_one_class() -> None:
    fitted = refit(world(0.9, 3)[0], 0.07)
    assert fitted.gallery_sizes == (1, 2, 5, 10, 20, 50, CLASSES - 1)
    assert fitted.default_false_accept_rate == 0.07


def test_the_same_seed_fits_the_same_and_another_seed_does_not() -> None:
    labeled, _ = world(0.9, 3)
    assert refit(labeled, 0.05, seed=1) == refit(labeled, 0.05, seed=1) != refit(labeled, 0.05, seed=2)


@pytest.mark.parametrize("spread", [0.0, 1000.0])
@pytest.mark.parametrize("strangers", [0, 2])
def test_the_smallest_galleries_are_calibrated_and_judged(
    foreign: Calibration, spread: float, strangers: int
) -> None:
    labeled, _ = world(spread, 4, strangers)
    kept = (labeled.labels < LEAST_CLASSES) | (labeled.labels == NO_CLASS)
    small = LabeledGallery(labeled.classes[:LEAST_CLASSES], labeled.queries[kept], labeled.labels[kept])
    fitted = refit(small, 0.05)
    assert math.isfinite(fitted.threshold(0.05, 8, fitted.spacing(8, gaps_of(small.classes))))
    found = cross_fit(small, foreign)
    assert all(0 <= share <= 1 for share in found.after.realized + found.after.accepted)


def test_classes_that_nobody_asked_about_are_there_to_be_confused_with(foreign: Calibration) -> None:
    labeled, _ = world(0.9, 5)
    kept = (labeled.labels < 20) | (labeled.labels == NO_CLASS)
    partly = dataclasses.replace(labeled, queries=labeled.queries[kept], labels=labeled.labels[kept])
    assert cross_fit(partly, foreign).gallery_size == CLASSES - 1
    assert " of 20 classes of a gallery" in refit(partly, 0.05).fitted_on
