"""An evaluation as one HTML page: the table of bundles, groups, the hardest pairs with pictures, open-set curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exemplar_trainer.evaluation.accuracy import Accuracy, Confusion
from exemplar_trainer.evaluation.compare import Result
from exemplar_trainer.evaluation.intervals import Interval
from exemplar_trainer.evaluation.open_set import OpenSet
from exemplar_trainer.evaluation.provenance import NOTE
from exemplar_trainer.evaluation.tasks import Questions
from exemplar_trainer.reports import page, plots


def render_evaluation(title: str, results: Sequence[Result]) -> str:
    """The page."""
    rows = [
        (r.name, r.questions.title, *share_cells(r.assessment.accuracy), f"{r.assessment.accuracy.queries:,}")
        for r in results
    ]
    body = [page.table(("bundle", "protocol", "accuracy", "95 % interval", "queries"), rows)]
    if any(result.open_set for result in results):
        body.append(f'<div class="lines">{page.table(*open_set_table(results))}</div>')
    body += [f'<p class="soft">{page.plain(note)}</p>' for note in notes_of(results)]
    for result in results:
        body.append(f"<h2>{page.plain(result.name)}: {page.plain(result.questions.title)}</h2>")
        facts = "; ".join(f"{name}: {_in_words(value)}" for name, value in result.facts.items())
        body.append(f'<p class="soft">{page.plain(facts)}</p>')
        if result.open_set is not None:
            body.append(_open_set(result.open_set))
        if result.assessment.by_group:
            groups = [(name, *share_cells(share), f"{share.queries:,}") for name, share in result.assessment.by_group]
            body.append(page.table(("group", "accuracy", "95 % interval", "queries"), groups))
        body.append("<h3>Confused most often</h3>")
        cards = [_card(result.questions, confusion) for confusion in result.assessment.hardest]
        body.append(page.sheet(cards) if cards else "<p>No query was named wrongly.</p>")
    lead = "Every query was decided on its own, by its nearest class; an interval is over tasks."
    return page.document(title, lead, "\n".join(body))


def share_cells(share: Accuracy) -> tuple[str, str]:
    """A share and its interval, for a table."""
    return f"{share.value:.1%}", f"{share.low:.1%} to {share.high:.1%}"


def notes_of(results: Sequence[Result]) -> list[str]:
    """What a reader of the tables should know, each sentence once."""
    marked = [NOTE] if any(result.trained_on for result in results) else []
    return list(dict.fromkeys([*marked, *(note for result in results for note in result.questions.notes)]))


def open_set_table(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """One column for each bundle and protocol with unknown queries, one row a figure: header and rows."""
    judged = [(result, open_set_rows(result.open_set)) for result in results if result.open_set is not None]
    header = ["open set", *(f"{r.name}\n{r.questions.title.removeprefix('open set, ')}" for r, _ in judged)]
    columns = [[f"{value}\n{interval}".strip() for _, value, interval in rows] for _, rows in judged]
    names = [name for name, _, _ in judged[0][1]] if judged else []
    return header, [list(row) for row in zip(names, *columns, strict=True)]


def open_set_rows(found: OpenSet) -> list[tuple[str, str, str]]:
    """Open-set figures for a table: name, value, 95 % interval."""
    ends = found.intervals
    rates = []
    for at, asked in enumerate(found.asked):
        for who, shares, name in (("unknown", found.realized, "realized"), ("known", found.accepted, "accepted")):
            interval = getattr(ends, name)[at] if ends else None
            rates.append((f"{who} accepted, {asked:.0%} asked for", *_cells(shares[at], interval, ".1%")))
    figures = [
        ("AUROC, known against unknown", "auroc", ".3f"),
        ("unknown accepted where 95 % of known are", "false_positives", ".1%"),
        ("OSCR, area under known named rightly", "oscr", ".3f"),
        ("expected calibration error", "calibration_error", ".3f"),
    ]
    first = [(words, *_cells(getattr(found, name), getattr(ends, name, None), form)) for words, name, form in figures]
    return [
        *first[:3],
        *rates,
        first[3],
        ("queries, known and unknown", f"{found.known:,} and {found.unknown:,}", ""),
    ]


def _cells(value: float, interval: Interval | None, form: str) -> tuple[str, str]:
    return f"{value:{form}}", f"{interval[0]:{form}} to {interval[1]:{form}}" if interval else "–"


def _in_words(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "all"
    return "none" if value is None else str(value)


def _open_set(found: OpenSet) -> str:
    curve = plots.open_set_curves(found.roc, found.auroc, found.oscr_curve, found.oscr)
    diagram = plots.reliability_diagram(found.bins, found.calibration_error)
    return f'<div class="plots"><img alt="ROC and OSCR" src="{curve}"><img alt="Reliability" src="{diagram}"></div>'


def _card(questions: Questions, confusion: Confusion) -> str:
    shown = [
        (confusion.query, "query"),
        (confusion.chosen_exemplar, "taken for"),
        (confusion.right_exemplar, "is"),
    ]
    pictures = [(questions.names[at], page.thumbnail(questions.pixels[at]), words) for at, words in shown]
    return page.card("miss", pictures, f"{confusion.count} x {confusion.right} as {confusion.chosen}")
