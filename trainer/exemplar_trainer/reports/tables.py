"""Findings as tables, which a page and a terminal show alike, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as TerminalTable

from exemplar_trainer.calibration.gallery_sizes import GalleryCheck
from exemplar_trainer.evaluation.accuracy import Accuracy
from exemplar_trainer.evaluation.intervals import Interval
from exemplar_trainer.evaluation.open_set import OpenSet
from exemplar_trainer.evaluation.provenance import NOTE
from exemplar_trainer.evaluation.results import Result

_WIDEST_INTERVAL = len("0.901 to 0.999")


@dataclass(frozen=True)
class Table:
    """A header and rows of as many cells; a cell may hold line breaks.

    The first `words` columns are words, to stand on the left; the others are figures, to stand on the right.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1


def accuracy_table(results: Sequence[Result]) -> Table:
    """Return one row for each bundle and protocol."""
    rows = [(result.name, result.questions.title, *_share(result.assessment.accuracy)) for result in results]
    return Table(("bundle", "protocol", "accuracy", "95 % interval", "queries"), rows, words=2)


def group_table(result: Result) -> Table:
    """Return one row for each group of the classes asked about."""
    rows = [(name, *_share(share)) for name, share in result.assessment.by_group]
    return Table(("group", "accuracy", "95 % interval", "queries"), rows)


def open_set_table(results: Sequence[Result]) -> Table:
    """Return one column for each bundle and protocol with unknown queries, one row a figure."""
    judged = [(result, _open_set_rows(result.open_set)) for result in results if result.open_set is not None]
    header = ["open set", *(f"{r.name}\n{r.questions.title.removeprefix('open set, ')}" for r, _ in judged)]
    columns = [[f"{value}\n{interval}".strip() for _, value, interval in rows] for _, rows in judged]
    names = [name for name, _, _ in judged[0][1]] if judged else []
    return Table(header, list(zip(names, *columns, strict=True)))


def open_set_figures(found: OpenSet) -> list[tuple[str, str, str]]:
    """Return name, value and 95 % interval of each figure that is of no single rate."""
    figures = [
        ("AUROC, known against unknown", "auroc", ".3f"),
        ("unknown accepted where 95 % of known are", "false_positives", ".1%"),
        ("OSCR, area under known named rightly", "oscr", ".3f"),
        ("expected calibration error", "calibration_error", ".3f"),
    ]
    return [
        (words, *_cells(getattr(found, name), getattr(found.intervals, name, None), form))
        for words, name, form in figures
    ]


def size_table(found: Sequence[GalleryCheck]) -> Table:
    """Return one row for each kind of gallery: what became of rates and probabilities."""
    rates = [f"{asked:.0%}\nasked" for asked in found[0].asked]
    wrong = f"wrong\nof {found[0].misnamed_asked:.0%}"
    known = f"known\nat {found[0].asked[-1]:.0%}"
    header = ("size", "groups", "sources", *rates, known, "ambiguous", wrong, "error", "trained\non")
    rows = [
        (
            f"{check.gallery_size:,}",
            "one" if check.one_group else "all",
            "one" if check.one_source else "any",
            *(f"{realized:.1%}" for realized in check.realized),
            f"{check.accepted[-1]:.0%}",
            "–" if check.ambiguous is None else f"{check.ambiguous:.0%}",
            "–" if check.misnamed is None else f"{check.misnamed:.1%}",
            f"{check.calibration_error:.3f}",
            f"{check.trained_share:.0%}",
        )
        for check in found
    ]
    return Table(header, rows, words=3)


def notes_of(results: Sequence[Result]) -> list[str]:
    """Return the sentences that a reader of the tables should know, each once."""
    marked = [NOTE] if any(result.trained_on for result in results) else []
    return list(dict.fromkeys([*marked, *(note for result in results for note in result.questions.notes)]))


def print_results(results: Sequence[Result]) -> None:
    """Print accuracy of each bundle, what became of unknown queries, notes, and figures by group."""
    _print(accuracy_table(results))
    if any(result.open_set for result in results):
        table = open_set_table(results)
        # Where there are more columns, each gets what room there is.
        _print(table, width=_WIDEST_INTERVAL if len(table.header) < 5 else None)
    for note in notes_of(results):
        _console().print(note)
    for result in results:
        if result.assessment.by_group:
            _print(group_table(result), title=f"{result.name}: {result.questions.title}")


def print_sizes(found: Sequence[GalleryCheck]) -> None:
    """Print what became of rates and probabilities, by the size and the make of the gallery."""
    _print(size_table(found), title="On groups that were not fitted on", tight=True)


def as_json_result(result: Result) -> dict[str, Any]:
    """Return what `--json` prints of one bundle's answers."""
    assessment, names = result.assessment, result.questions.names
    return {
        "bundle": result.bundle,
        "model": result.model,
        "protocol": result.questions.title,
        **result.facts,
        "trained_on": result.trained_on,
        "same_source": result.questions.same_source,
        "notes": list(result.questions.notes),
        "accuracy": asdict(assessment.accuracy),
        "by_group": {name: asdict(accuracy) for name, accuracy in assessment.by_group},
        "hardest": [
            {"right": c.right, "chosen": c.chosen, "count": c.count, "query": names[c.query]}
            for c in assessment.hardest
        ],
        "open_set": None if result.open_set is None else asdict(result.open_set),
    }


def _share(share: Accuracy) -> tuple[str, str, str]:
    return f"{share.value:.1%}", f"{share.low:.1%} to {share.high:.1%}", f"{share.queries:,}"


def _open_set_rows(found: OpenSet) -> list[tuple[str, str, str]]:
    """Return name, value and 95 % interval of each figure."""
    ends = found.intervals
    rates = []
    for at, asked in enumerate(found.asked):
        for who, shares, name in (("unknown", found.realized, "realized"), ("known", found.accepted, "accepted")):
            interval = getattr(ends, name)[at] if ends else None
            rates.append((f"{who} accepted, {asked:.0%} asked for", *_cells(shares[at], interval, ".1%")))
    *separation, error = open_set_figures(found)
    return [*separation, *rates, error, ("queries, known and unknown", f"{found.known:,} and {found.unknown:,}", "")]


def _cells(value: float, interval: Interval | None, form: str) -> tuple[str, str]:
    return f"{value:{form}}", f"{interval[0]:{form}} to {interval[1]:{form}}" if interval else "–"


def _print(table: Table, title: str | None = None, width: int | None = None, tight: bool = False) -> None:
    """Print a table; a `tight` one breaks no cell and fits 80 columns."""
    shown = TerminalTable(title=title, box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    if tight:
        shown.padding = (0, 1, 0, 0)
    for at, heading in enumerate(table.header):
        if at < table.words:
            shown.add_column(heading, overflow="fold", no_wrap=tight)
        else:
            shown.add_column(heading, justify="right", overflow="fold", no_wrap=tight, min_width=width)
    for row in table.rows:
        shown.add_row(*row)
    _console().print(shown)


def _console() -> Console:
    return Console(markup=False, emoji=False, highlight=False)
