"""One HTML file that says how good a bundle is: figures with intervals, plots, and pictures of hits and misses.

Everything is inside the file; it opens without a server or a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from exemplar_encoder import Calibration
from exemplar_encoder.arrays import Floats
from exemplar_trainer.calibration.cross_fit import CalibrationCheck
from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.evaluation.accuracy import Accuracy
from exemplar_trainer.reports import page, plots
from exemplar_trainer.reports.contact_sheet import Decision


@dataclass(frozen=True)
class Findings:
    """What a report tells.

    Attributes:
        title: the bundle's name and recipe.
        lead: what the figures were measured on.
        facts: rows of plain facts about the run, name and value.
        accuracies: overall figures, by the name of the episodes.
        by_group: accuracy within each held-out group, by its name and the way of its episodes.
        calibration: as shipped.
        check: as cross-fitted.
        genuine: distances of pairs of one held-out class.
        impostor: distances of pairs of two.
        records: the run's log.
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
    hits: Sequence[Decision]
    misses: Sequence[Decision]


def render_report(found: Findings) -> str:
    """The page."""
    told = found.check.open_set
    columns = (told.asked, told.realized, told.accepted)
    rates = [tuple(f"{value:.1%}" for value in row) for row in zip(*columns, strict=True)]
    figures = [
        ("AUROC, known against unknown", f"{told.auroc:.3f}"),
        ("unknown accepted where 95 % of known are", f"{told.false_positives:.1%}"),
        ("OSCR, area under known named rightly", f"{told.oscr:.3f}"),
        ("expected calibration error", f"{told.calibration_error:.3f}"),
    ]
    curves = plots.open_set_curves(told.roc, told.auroc, told.oscr_curve, told.oscr)
    body = f"""<h2>Accuracy from one example (and from a few)</h2>
{_accuracy_table("episodes", found.accuracies)}
<p class="soft">Where sources recur (drawers, designs), exemplar and query come from different ones. Unstructured
episodes mix groups; within-group episodes, the hard ones, do not. The interval is over episodes.</p>
{_by_group(found.by_group)}
<h2>Does it know when it does not know?</h2>
{page.table(("false accepts asked for", "realized", "known queries accepted"), rates)}
{page.table(("", ""), figures)}
<p class="soft">Open set within a group: {found.check.way} classes enrolled (or half the group), as many unknown
classes asked about. Cross-fitted: each group is judged by a calibration fitted on the other groups.</p>
<div class="plots">
<img alt="ROC and OSCR" src="{curves}">
<img alt="Reliability diagram" src="{plots.reliability_diagram(told.bins, told.calibration_error)}">
<img alt="Histogram of distances" src="{plots.distance_histogram(found.genuine, found.impostor, found.calibration)}">
<img alt="Training loss by step" src="{plots.training_curve(found.records)}">
</div>
<h2>Misses, the worst first</h2>
{_sheet(found.held_out, found.misses)}
<h2>Hits</h2>
{_sheet(found.held_out, found.hits)}
<h2>How it was made</h2>
{page.table(("", ""), list(found.facts))}
"""
    return page.document(found.title, found.lead, body)


def _by_group(rows: Sequence[tuple[str, Accuracy]]) -> str:
    if not rows:
        return ""
    return "<h2>Within each held-out group</h2>" + _accuracy_table("group", rows)


def _accuracy_table(what: str, rows: Sequence[tuple[str, Accuracy]]) -> str:
    cells = [(name, f"{a.value:.1%}", f"{a.low:.1%} to {a.high:.1%}", f"{a.tasks:,}") for name, a in rows]
    return page.table((what, "accuracy", "95 % interval", "episodes drawn"), cells)


def _sheet(images: ImageSet, decisions: Sequence[Decision]) -> str:
    if not decisions:
        return "<p>None in the episodes that were looked at.</p>"
    return page.sheet([_card(images, decision) for decision in decisions])


def _card(images: ImageSet, decision: Decision) -> str:
    shown = [(decision.query, "query"), (decision.chosen, f"taken for\n{decision.chosen_distance:.3f}")]
    if not decision.hit:
        shown.append((decision.right, f"is\n{decision.right_distance:.3f}"))
    pictures = [(images.paths[position], page.thumbnail(images.pixels[position]), words) for position, words in shown]
    return page.card("hit" if decision.hit else "miss", pictures)
