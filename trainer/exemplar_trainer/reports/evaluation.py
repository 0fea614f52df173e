"""An evaluation as a page: the table of bundles, groups, the hardest pairs with pictures, open-set curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exemplar_trainer.evaluation.accuracy import Confusion
from exemplar_trainer.evaluation.results import Result
from exemplar_trainer.evaluation.tasks import Questions
from exemplar_trainer.reports import plots
from exemplar_trainer.reports.contact_sheet import Card, Thumbnail, thumbnail_uri
from exemplar_trainer.reports.render import render
from exemplar_trainer.reports.tables import accuracy_table, group_table, notes_of, open_set_table

_LEAD = "Each query is named on its own, by the nearest class. Intervals are over tasks."


def render_evaluation(title: str, results: Sequence[Result]) -> str:
    """Render the page."""
    return render(
        "evaluation.html",
        title,
        _LEAD,
        accuracy=accuracy_table(results),
        open_set=open_set_table(results),
        notes=notes_of(results),
        sections=[_section(result) for result in results],
    )


def _section(result: Result) -> dict[str, Any]:
    """Return what the template shows of one bundle's answers."""
    return {
        "heading": f"{result.name}: {result.questions.title}",
        "facts": "; ".join(f"{name}: {_in_words(value)}" for name, value in result.facts.items()),
        "plots": []
        if result.open_set is None
        else [plots.open_set_curves(result.open_set), plots.reliability_diagram(result.open_set)],
        "by_group": group_table(result),
        "cards": [_card(result.questions, confusion) for confusion in result.assessment.hardest],
    }


def _in_words(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "all"
    return "none" if value is None else str(value)


def _card(questions: Questions, confusion: Confusion) -> Card:
    shown = [
        (confusion.query, "query"),
        (confusion.chosen_exemplar, "taken for"),
        (confusion.right_exemplar, "is"),
    ]
    pictures = [Thumbnail(questions.names[at], thumbnail_uri(questions.pixels[at]), words) for at, words in shown]
    return Card(False, pictures, f"{confusion.count:,} × {confusion.right} taken for {confusion.chosen}")
