"""Each page says what was measured, in one file that needs nothing else, and takes no name for markup."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from exemplar_encoder import Calibration
from exemplar_encoder.arrays import Floats
from exemplar_trainer.calibration.check import CalibrationCheck
from exemplar_trainer.calibration.from_gallery import CrossFit, LabeledGallery
from exemplar_trainer.calibration.from_held_out import pair_distances
from exemplar_trainer.calibration.labeled_images import LabeledImages
from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.evaluation.accuracy import measure
from exemplar_trainer.evaluation.episodes import draw_episodes
from exemplar_trainer.evaluation.open_set import judge_open_set
from exemplar_trainer.evaluation.provenance import NOTE
from exemplar_trainer.evaluation.results import Result
from exemplar_trainer.evaluation.tasks import NO_CLASS
from exemplar_trainer.reports.bundle import Findings, render_report
from exemplar_trainer.reports.calibration import comparison, facts, render_calibration
from exemplar_trainer.reports.contact_sheet import draw_named_queries
from exemplar_trainer.reports.evaluation import render_evaluation
from tests.trainer.reports.hostile import HOSTILE, PROTOCOL
from tests.trainer.reports.page import Page


@pytest.fixture(scope="module")
def findings(images: ImageSet, embeddings: Floats, calibration: Calibration, result: Result) -> Findings:
    assert result.open_set is not None
    genuine, impostor = pair_distances(embeddings, images)
    accuracy = measure(embeddings, draw_episodes(images, PROTOCOL, 20, seed=0))
    hits, misses = draw_named_queries(embeddings, images, PROTOCOL, 6, seed=1)
    return Findings(
        title=HOSTILE,
        lead=HOSTILE,
        facts=[("held out", HOSTILE)],
        accuracies=[("within-group 5-way 1-shot", accuracy)],
        by_group=[(f"{HOSTILE}, 5-way", accuracy)],
        calibration=calibration,
        check=CalibrationCheck(5, result.open_set),
        genuine=genuine,
        impostor=impostor,
        records=[{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}],
        held_out=images,
        hits=hits,
        misses=misses,
    )


@pytest.fixture(scope="module")
def cross_fit(result: Result, embeddings: Floats, calibration: Calibration) -> CrossFit:
    assert result.open_set is not None
    factors = tuple(tuple(1.4 * each for each in row) for row in calibration.factors)
    lax = dataclasses.replace(calibration, factors=factors, unknown_intercept=calibration.unknown_intercept + 2)
    before = judge_open_set(embeddings, result.questions, lax)
    assert before.realized != result.open_set.realized
    assert before.calibration_error != result.open_set.calibration_error
    return CrossFit(before, result.open_set, gallery_size=5)


@pytest.fixture(scope="module")
def labeled(calibration: Calibration) -> LabeledImages:
    """Return three classes; one query of the first, two of the second, two strangers; four pictures left out."""
    gallery = LabeledGallery(
        np.eye(3, 8, dtype=np.float32), np.eye(5, 8, dtype=np.float32), np.array([0, 1, 1, NO_CLASS, NO_CLASS])
    )
    return LabeledImages(gallery, calibration, (HOSTILE,), left_out=4, skipped=())


@pytest.fixture(scope="module")
def pages(findings: Findings, result: Result, labeled: LabeledImages, cross_fit: CrossFit) -> dict[str, Page]:
    told = facts(labeled, cross_fit)
    return {
        "bundle": Page(render_report(findings)),
        "evaluation": Page(render_evaluation("Evaluation", [result])),
        "calibration": Page(render_calibration(HOSTILE, told, cross_fit)),
    }


@pytest.mark.parametrize("name", ["bundle", "evaluation", "calibration"])
def test_a_page_needs_nothing_from_outside_and_takes_no_name_for_markup(pages: dict[str, Page], name: str) -> None:
    pages[name].assert_self_contained()
    assert HOSTILE in "".join(pages[name].texts)
    assert HOSTILE not in pages[name].text


def test_paths_of_pictures_stand_in_attributes_as_text(pages: dict[str, Page]) -> None:
    for name in ("bundle", "evaluation"):
        assert any(value.startswith(f"{HOSTILE}/c") for value in pages[name].attributes)


def test_a_bundle_s_page_tells_its_accuracy_and_how_known_and_unknown_are_told_apart(
    pages: dict[str, Page], findings: Findings
) -> None:
    text, judged = pages["bundle"].text, findings.check.open_set
    assert pages["bundle"].heads[:4] == ["episodes", "accuracy", "95 % interval", "episodes drawn"]
    ((name, accuracy),) = findings.accuracies
    assert f"<td>{name}</td><td>{accuracy.value:.1%}</td>" in text
    assert f"<td>AUROC, known against unknown</td><td>{judged.auroc:.3f}</td>" in text
    for asked, realized, accepted in zip(judged.asked, judged.realized, judged.accepted, strict=True):
        assert f"<td>{asked:.1%}</td><td>{realized:.1%}</td><td>{accepted:.1%}</td>" in text
    assert (text.count('"card hit"'), text.count('"card miss"')) == (len(findings.hits), len(findings.misses))


def test_a_network_trained_elsewhere_has_no_curve_of_its_training(pages: dict[str, Page], findings: Findings) -> None:
    elsewhere = render_report(dataclasses.replace(findings, records=[]))
    assert "Training loss" in pages["bundle"].text
    assert "Training loss" not in elsewhere


def test_without_misses_a_bundle_s_page_says_so(findings: Findings) -> None:
    text = render_report(dataclasses.replace(findings, misses=[]))
    assert "None in the episodes that were drawn." in text


def test_an_evaluation_s_page_tells_every_group_note_and_confusion(pages: dict[str, Page], result: Result) -> None:
    page, texts = pages["evaluation"], pages["evaluation"].texts
    assert f"{HOSTILE} *: {result.questions.title}" in texts
    assert NOTE in texts
    assert page.text.count('"card miss"') == len(result.assessment.hardest) > 0
    for group, accuracy in result.assessment.by_group:
        assert group in texts
        assert f"{accuracy.value:.1%}" in texts
    assert f"data: {HOSTILE}; groups: {HOSTILE}; seed: 0; number: 12; way: 5; shot: 1" in texts


def test_an_evaluation_without_strangers_has_no_open_set(result: Result) -> None:
    text = render_evaluation("Evaluation", [dataclasses.replace(result, open_set=None)])
    assert "AUROC" not in text


def test_a_calibration_s_page_compares_before_and_after(
    pages: dict[str, Page], labeled: LabeledImages, cross_fit: CrossFit
) -> None:
    text, table = pages["calibration"].text, comparison(cross_fit)
    assert list(table.header) == pages["calibration"].heads
    for name, before, after in table.rows:
        assert f"<td>{name}</td><td>{before}</td><td>{after}</td>" in text
    assert table.rows[-1][1:] == (
        f"{cross_fit.before.calibration_error:.3f}",
        f"{cross_fit.after.calibration_error:.3f}",
    )
    told = facts(labeled, cross_fit)
    assert told["labeled queries"] == "3 of 2 enrolled classes"
    assert told["pictures of strangers"] == "2"
    assert told["classes in a gallery that is judged"] == "5 of 3"
    for name, value in told.items():
        assert f"<td>{name}</td><td>{value}</td>" in text
