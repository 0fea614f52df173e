"""Tables of a terminal hold every figure whole, and JSON holds them all."""

from __future__ import annotations

import dataclasses
import json

import pytest

from exemplar_trainer.calibration.gallery_sizes import GalleryCheck
from exemplar_trainer.evaluation.provenance import NOTE
from exemplar_trainer.evaluation.results import Result
from exemplar_trainer.reports.tables import as_json_result, notes_of, open_set_table, print_results, print_sizes


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_a_terminal_of_80_columns_shows_accuracy_groups_open_set_and_notes_whole(
    result: Result, capsys: pytest.CaptureFixture[str]
) -> None:
    print_results([result])
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown
    for accuracy in (result.assessment.accuracy, *(each for _, each in result.assessment.by_group)):
        assert f"{accuracy.value:.1%}" in shown
        assert f"{accuracy.low:.1%} to {accuracy.high:.1%}" in shown
    assert result.open_set is not None
    assert f"{result.open_set.auroc:.3f}" in shown
    assert NOTE.split()[-1] in shown


def test_an_open_set_has_a_column_for_each_bundle_that_was_asked_about_strangers(result: Result) -> None:
    other = dataclasses.replace(result, bundle="other", trained_on=False)
    closed = dataclasses.replace(result, bundle="closed", open_set=None)
    table = open_set_table([result, closed, other])
    assert [heading.split("\n")[0] for heading in table.header] == ["open set", result.name, "other"]
    assert {len(row) for row in table.rows} == {3}
    assert {row[1] == row[2] for row in table.rows} == {True}


def test_a_note_is_made_once(result: Result) -> None:
    assert notes_of([result, result]) == [NOTE, *result.questions.notes]
    assert notes_of([dataclasses.replace(result, trained_on=False)]) == list(result.questions.notes)


def test_sizes_of_galleries_fit_80_columns_and_figures_that_there_are_not_are_dashes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    some = GalleryCheck(
        gallery_size=12_000,
        one_group=True,
        one_source=False,
        asked=(0.01, 0.05),
        realized=(0.011, 0.052),
        accepted=(0.5, 0.75),
        calibration_error=0.0214,
        ambiguous=0.125,
        misnamed=0.0133,
        misnamed_asked=0.02,
        trained_share=0.25,
        strangers=100,
    )
    print_sizes([some, dataclasses.replace(some, ambiguous=None, misnamed=None)])
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    first, second = (line.split() for line in shown.splitlines() if "12,000" in line)
    assert first == ["12,000", "one", "any", "1.1%", "5.2%", "75%", "12%", "1.3%", "0.021", "25%"]
    assert second == [*first[:6], "–", "–", *first[8:]]


def test_json_names_pictures_by_their_files_and_holds_the_open_set(result: Result) -> None:
    told = json.loads(json.dumps(as_json_result(result)))
    assert result.open_set is not None
    assert told["accuracy"] == dataclasses.asdict(result.assessment.accuracy)
    assert told["open_set"]["realized"] == list(result.open_set.realized)
    assert {each["query"] for each in told["hardest"]} <= set(result.questions.names)
    assert (told["number"], told["way"], told["shot"]) == (12, 5, 1)
