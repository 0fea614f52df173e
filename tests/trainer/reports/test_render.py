"""Templates escape whatever they are given, and miss nothing in silence."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from exemplar_trainer.reports.contact_sheet import Card, Thumbnail
from exemplar_trainer.reports.render import render
from exemplar_trainer.reports.tables import Table
from tests.trainer.reports.page import Page

HOSTILE = "</td><script>alert(\"&')</script>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a template that uses every part."""
    (tmp_path / "every.html").write_text(
        """{% extends "base.html" %}{% import "parts.html" as parts %}{% block body %}
        {{ parts.table(table) }}{{ parts.facts(facts) }}{{ parts.tiles(facts) }}{{ parts.plots(plots) }}
        {{ parts.sheet(cards) }}
        {% call(card) parts.sheet(cards) %}<em>{{ card.caption }}</em>{% endcall %}{% endblock %}"""
    )
    return tmp_path


def rendered(folder: Path, name: str) -> Page:
    picture = Thumbnail(name, "data:image/png;base64,AAAA", name)
    return Page(
        render(
            "every.html",
            name,
            name,
            folder=folder,
            table=Table((name, name), [(name, name)], words=2),
            facts=[(name, name)],
            plots=[{"name": name, "caption": name, "uri": "data:image/png;base64,AAAA"}],
            cards=[Card(True, [picture], name)],
        )
    )


def test_no_part_takes_a_name_for_markup(folder: Path) -> None:
    page, plain = rendered(folder, HOSTILE), rendered(folder, "name")
    page.assert_self_contained()
    assert page.tags == plain.tags
    for found, expected in ((page.texts, plain.texts), (page.attributes, plain.attributes)):
        assert [text.replace(HOSTILE, "name") for text in found] == expected
        assert any(HOSTILE in text for text in found)


def test_a_caller_writes_below_a_card_in_place_of_its_caption(folder: Path) -> None:
    text = rendered(folder, "name").text
    assert text.count("<p>name</p>") == 1
    assert text.count("<em>name</em>") == 1


def test_words_stand_on_the_left_and_figures_on_the_right(folder: Path) -> None:
    assert '<td>name</td><td class="words">name</td>' in rendered(folder, "name").text


def test_a_value_that_is_missing_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        render("calibration.html", "title", "lead")
