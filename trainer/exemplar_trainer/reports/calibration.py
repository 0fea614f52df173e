"""A gallery's calibration before and after, as rows for a table and as one HTML page."""

from __future__ import annotations

from collections.abc import Mapping

from exemplar_trainer.calibration.from_gallery import CrossFit
from exemplar_trainer.calibration.labeled_images import LabeledImages
from exemplar_trainer.evaluation.tasks import NO_CLASS
from exemplar_trainer.reports import page, plots

_LEAD = (
    "Every figure is of queries of classes that the judging calibration was not fitted on, in galleries of these "
    "exemplars; half of the queries are of no enrolled class."
)


def facts(given: LabeledImages, found: CrossFit) -> dict[str, str]:
    """What was fitted on and how it was judged, by name."""
    labels = given.gallery.labels
    strangers = int((labels == NO_CLASS).sum())
    return {
        "labeled queries": f"{len(labels) - strangers:,} of {len(given.gallery.asked):,} enrolled classes",
        "pictures of strangers": f"{strangers:,}",
        "left out as exemplars or repeated": f"{given.left_out:,}",
        "classes in a gallery that is judged": f"{found.gallery_size:,} of {len(given.gallery.classes):,}",
        "area under the ROC curve": f"{found.after.auroc:.3f}",
        "strangers accepted where 95 % of known queries are": f"{found.after.false_positives:.1%}",
        "area under the OSCR curve": f"{found.after.oscr:.3f}",
    }


def comparison(found: CrossFit) -> list[tuple[str, str, str]]:
    """Figures before and after, below a header."""
    before, after = found.before, found.after
    rows = [("on classes that were not fitted on", "the model's", "refitted")]
    for position, asked in enumerate(before.asked):
        for name, shares in (
            ("strangers accepted", (before.realized, after.realized)),
            ("known queries accepted", (before.accepted, after.accepted)),
        ):
            old, new = (f"{share[position]:.1%}" for share in shares)
            rows.append((f"{name}, {asked:.0%} asked for", old, new))
    old, new = (f"{each.calibration_error:.3f}" for each in (before, after))
    return [*rows, ("expected calibration error", old, new)]


def render(gallery: str, told: Mapping[str, str], found: CrossFit) -> str:
    """The page."""
    header, *rows = comparison(found)
    after = found.after
    curves = plots.open_set_curves(after.roc, after.auroc, after.oscr_curve, after.oscr)
    shown = [("ROC and OSCR", curves)]
    for name, judged in (("before", found.before), ("after", after)):
        shown.append((f"Reliability {name}", plots.reliability_diagram(judged.bins, judged.calibration_error)))
    figures = "".join(
        f'<figure><img alt="{name}" src="{uri}"><figcaption>{name}</figcaption></figure>' for name, uri in shown
    )
    body = [
        page.table(header, rows),
        "<h2>Fitted on</h2>",
        page.table(("", ""), list(told.items())),
        "<h2>Curves</h2>",
        f'<div class="plots">{figures}</div>',
    ]
    return page.document(f"Calibration of gallery {gallery}", _LEAD, "\n".join(body))
