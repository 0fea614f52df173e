"""What was found, in a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from exemplar_trainer.calibration.gallery_sizes import GalleryCheck
from exemplar_trainer.evaluation.compare import Result
from exemplar_trainer.reports.evaluation import notes_of, open_set_table, share_cells


def print_results(results: Sequence[Result]) -> None:
    """Accuracy of each bundle, then what became of unknown queries, what there is to note, and figures by group."""
    console = Console(markup=False, emoji=False, highlight=False)
    overall = Table(box=box.SIMPLE_HEAD)
    for title in ("bundle", "protocol"):
        overall.add_column(title, overflow="fold")
    for title in ("accuracy", "95 % interval", "queries"):
        overall.add_column(title, justify="right")
    for result in results:
        share = result.assessment.accuracy
        overall.add_row(result.name, result.questions.title, *share_cells(share), f"{share.queries:,}")
    console.print(overall)
    if any(result.open_set for result in results):
        header, rows = open_set_table(results)
        table = Table(header[0], box=box.SIMPLE_HEAD)
        width = len("0.901 to 0.999") if len(header) < 5 else None  # of more columns each gets what there is
        for title in header[1:]:
            table.add_column(title, justify="right", overflow="fold", min_width=width)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for note in notes_of(results):
        console.print(note)
    for result in results:
        if result.assessment.by_group:
            table = Table("group", title=f"{result.name}: {result.questions.title}", box=box.SIMPLE_HEAD)
            for title in ("accuracy", "95 % interval"):
                table.add_column(title, justify="right")
            for name, share in result.assessment.by_group:
                table.add_row(name, *share_cells(share))
            console.print(table)


def print_sizes(found: Sequence[GalleryCheck]) -> None:
    """What became of rates and probabilities, by the size and the make of the gallery."""
    title = "On groups that were not fitted on"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)  # fits 80 columns
    for heading in ("size", "groups", "sources"):
        table.add_column(heading, no_wrap=True)
    rates = [f"{asked:.0%}\nasked" for asked in found[0].asked]
    wrong = f"wrong\nof {found[0].misnamed_asked:.0%}"
    for heading in (*rates, f"known\nat {found[0].asked[-1]:.0%}", "ambiguous", wrong, "error", "trained\non"):
        table.add_column(heading, justify="right", no_wrap=True)
    for kept in found:
        table.add_row(
            f"{kept.gallery_size:,}",
            "one" if kept.one_group else "all",
            "one" if kept.one_source else "any",
            *(f"{realized:.1%}" for realized in kept.realized),
            f"{kept.accepted[-1]:.0%}",
            "–" if kept.ambiguous is None else f"{kept.ambiguous:.0%}",
            "–" if kept.misnamed is None else f"{kept.misnamed:.1%}",
            f"{kept.calibration_error:.3f}",
            f"{kept.trained_share:.0%}",
        )
    Console(markup=False, emoji=False, highlight=False).print(table)


def as_json_result(result: Result) -> dict[str, Any]:
    """What `--json` prints of one bundle's answers."""
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
        "by_group": {name: asdict(share) for name, share in assessment.by_group},
        "hardest": [
            {"right": c.right, "chosen": c.chosen, "count": c.count, "query": names[c.query]}
            for c in assessment.hardest
        ],
        "open_set": None if result.open_set is None else asdict(result.open_set),
    }
