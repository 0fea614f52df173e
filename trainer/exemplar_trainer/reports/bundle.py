"""The page that ships with a bundle: figures with intervals, plots, and pictures of hits and misses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from exemplar_encoder import Calibration
from exemplar_encoder.arrays import Floats
from exemplar_trainer.calibration.check import CalibrationCheck
from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.evaluation.accuracy import Accuracy
from exemplar_trainer.evaluation.open_set import OpenSet
from exemplar_trainer.reports import plots
from exemplar_trainer.reports.contact_sheet import NamedQuery, card_of
from exemplar_trainer.reports.render import render
from exemplar_trainer.reports.tables import Table, open_set_figures


@dataclass(frozen=True)
class Findings:
    """The content of a bundle's report.

    Attributes:
        title: the bundle's name and recipe.
        lead: the images that the figures were measured on, in a sentence.
        facts: rows of plain facts about the run, name and value.
        accuracies: overall figures, by the name of the episodes.
        by_group: accuracy within each group, by its name and the way of its episodes.
        calibration: as shipped.
        check: as cross-fitted.
        genuine: distances of pairs of one class that was measured on.
        impostor: distances of pairs of two.
        records: the run's log; empty for a network that was trained elsewhere.
        held_out: the images that were measured on.
        hits: some queries that were named rightly.
        misses: the worst that were not.
    """

    title: str
    lead: str
    facts: Sequence[tuple[str, str]]
    accuracies: Sequence[tuple[str, Accuracy]]
    by_group: Sequence[tuple[str, Accuracy]]
    calibration: Calibration
    check: CalibrationCheck
    genuine: Floats
    impostor: Floats
    records: Sequence[dict[str, Any]]
    held_out: ImageSet
    hits: Sequence[NamedQuery]
    misses: Sequence[NamedQuery]


def render_report(found: Findings) -> str:
    """Render the page."""
    told = found.check.open_set
    return render(
        "bundle.html",
        found.title,
        found.lead,
        accuracy=_accuracy_table("episodes", found.accuracies),
        by_group=_accuracy_table("group", found.by_group),
        rates=_rate_table(told),
        figures=[(name, value) for name, value, _ in open_set_figures(told)],
        way=found.check.way,
        plots=_plots(found),
        sheets=[
            ("Named wrongly, the worst first", [card_of(found.held_out, each) for each in found.misses]),
            ("Named rightly", [card_of(found.held_out, each) for each in found.hits]),
        ],
        facts=found.facts,
    )


def _accuracy_table(of: str, rows: Sequence[tuple[str, Accuracy]]) -> Table:
    cells = [(name, f"{a.value:.1%}", f"{a.low:.1%} to {a.high:.1%}", f"{a.tasks:,}") for name, a in rows]
    return Table((of, "accuracy", "95 % interval", "episodes drawn"), cells)


def _rate_table(found: OpenSet) -> Table:
    columns = (found.asked, found.realized, found.accepted)
    rows = [tuple(f"{value:.1%}" for value in row) for row in zip(*columns, strict=True)]
    return Table(("false accepts asked for", "realized", "known queries accepted"), rows)


def _plots(found: Findings) -> list[plots.Plot]:
    shown = [
        plots.open_set_curves(found.check.open_set),
        plots.reliability_diagram(found.check.open_set),
        plots.distance_histogram(found.genuine, found.impostor, found.calibration),
    ]
    return [*shown, plots.training_curve(found.records)] if found.records else shown
