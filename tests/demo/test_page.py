"""The demonstration's page shows answers as they were given, and names of classes as text."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from demo.characters import Character
from demo.figures import accuracy_by_alphabet, figures
from demo.measure import Answer, Latency, Measured
from demo.page import render_page
from demo.strokes import draw_alphabets
from exemplar import Classification, Match, Verdict
from tests.trainer.reports.page import Page

HOSTILE = "<script>alert(\"&')</script>"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Character]:
    root = tmp_path_factory.mktemp("drawn")
    draw_alphabets(root, alphabets=1, characters=4, drawers=2)
    folders = sorted((root / "Alphabet00").iterdir())
    return [Character(HOSTILE, f"c{at}", *_exemplar_and_query(folder)) for at, folder in enumerate(folders)]


def _exemplar_and_query(folder: Path) -> tuple[Path, tuple[Path, ...]]:
    exemplar, *queries = sorted(folder.iterdir())
    return exemplar, tuple(queries)


def answer(of: Character, verdict: Verdict, nearest: Character, known: bool = True) -> Answer:
    match = Match(nearest.class_id, nearest.display_name, {}, distance=0.25, probability=0.5)
    given = Classification(
        verdict=verdict,
        probability=0.5,
        matches=(match,),
        threshold=0.75,
        false_accept_rate=0.05,
        ambiguity_margin=0.1,
        model="m",
        gallery_revision=1,
    )
    return Answer(of.queries[0], of if known else None, given)


@pytest.fixture
def measured(drawn: list[Character]) -> Measured:
    """Of four answers with all enrolled three are right; of two strangers one is accepted, of two known ones both."""
    first, second, third, fourth = drawn
    everything = [
        answer(first, Verdict.MATCH, first),
        answer(second, Verdict.MATCH, third),
        answer(third, Verdict.AMBIGUOUS, third),
        answer(fourth, Verdict.UNKNOWN, fourth),
    ]
    half = [
        answer(first, Verdict.MATCH, first),
        answer(third, Verdict.AMBIGUOUS, third),
        answer(second, Verdict.MATCH, first, known=False),
        answer(fourth, Verdict.UNKNOWN, third, known=False),
    ]
    return Measured(everything, 123.4, {HOSTILE: everything[:2]}, Latency(1.25, 2.0, 4), half)


def test_figures_are_counted_from_the_answers(measured: Measured) -> None:
    assert figures(measured) == [
        ("20-way within an alphabet, one example", "50.0%"),
        ("whole gallery, 4 classes, one example", "75.0%"),
        ("strangers told apart as UNKNOWN", "50.0%"),
        ("enrolled ones accepted at 5% false accepts", "100.0%"),
        ("latency, one image a call (median)", "1.2 ms"),
        ("throughput, in batches", "123 images/s"),
    ]
    assert accuracy_by_alphabet(measured).rows == [(HOSTILE, "50.0%")]


def test_without_an_alphabet_of_twenty_characters_there_is_no_such_figure(
    measured: Measured, drawn: list[Character]
) -> None:
    fewer = dataclasses.replace(measured, by_alphabet={})
    assert not any("20-way" in name for name, _ in figures(fewer))
    assert "By alphabet" not in render_page(drawn, "drawn", fewer)


def test_the_page_is_whole_and_needs_nothing_from_outside(measured: Measured, drawn: list[Character]) -> None:
    page = Page(render_page(drawn, "drawn", measured))
    page.assert_self_contained()
    assert page.text.count("<img") == 2 * 5  # query and nearest: three of everything, two strangers
    assert "4 characters drawn, one exemplar each" in page.text


def test_names_of_classes_are_text(measured: Measured, drawn: list[Character]) -> None:
    page = Page(render_page(drawn, HOSTILE, measured))
    assert "script" not in page.tags
    assert any(HOSTILE in text for text in page.texts)


def test_a_card_says_whether_a_user_would_want_the_answer(measured: Measured, drawn: list[Character]) -> None:
    text = render_page(drawn, "drawn", measured)
    # Right and named, right and doubtful, a stranger told apart; a wrong name and a stranger that got one.
    assert (text.count('"card hit"'), text.count('"card miss"')) == (3, 2)
