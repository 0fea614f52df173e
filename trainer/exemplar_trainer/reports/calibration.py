"""A gallery's calibration before and after, as a table, as facts and as a page."""

from __future__ import annotations

from collections.abc import Mapping

from exemplar_encoder.kinds_of_picture import OTHER_KIND
from exemplar_trainer.calibration.fit import DEFAULT_FALSE_ACCEPT_RATE
from exemplar_trainer.calibration.from_gallery import CrossFit
from exemplar_trainer.calibration.labeled_images import LabeledImages
from exemplar_trainer.evaluation.tasks import NO_CLASS
from exemplar_trainer.reports import plots
from exemplar_trainer.reports.render import render
from exemplar_trainer.reports.tables import Table

_LEAD = (
    "Both calibrations are judged on the same queries, none of them of a class that the refitted one was fitted on. "
    "Half are of enrolled classes, half of strangers."
)


def facts(given: LabeledImages, found: CrossFit) -> dict[str, str]:
    """Return what was fitted on and how it was judged, by name."""
    labels = given.gallery.labels
    strangers = int((labels == NO_CLASS).sum())
    return {
        "labeled queries": f"{len(labels) - strangers:,} of {len(given.gallery.asked):,} enrolled classes",
        "pictures of strangers": f"{strangers:,}",
        "left out as exemplars or repeated": f"{given.left_out:,}",
        "classes in a gallery that is judged": f"{found.gallery_size:,} of {len(given.gallery.classes):,}",
        "shift of pictures from exemplars": f"{given.gallery.shift:.2f}",
        "area under the ROC curve": f"{found.after.auroc:.3f}",
        "strangers accepted where 95 % of known queries are": f"{found.after.false_positives:.1%}",
        "area under the OSCR curve": f"{found.after.oscr:.3f}",
    }


def other_kind(given: LabeledImages, found: CrossFit) -> str | None:
    """Say that pictures of enrolled classes are another kind than the exemplars; None where they are not."""
    shift = given.gallery.shift
    if shift < OTHER_KIND:
        return None
    before = found.before
    nearest = min(range(len(before.asked)), key=lambda place: abs(before.asked[place] - DEFAULT_FALSE_ACCEPT_RATE))
    return (
        "The pictures are another kind of picture than the exemplars: those of enrolled classes lie to one side of "
        f"the classes (shift {shift:.2f}, from {OTHER_KIND:.2f} on), and the model's calibration accepts "
        f"{before.accepted[nearest]:.1%} of them where {before.asked[nearest]:.0%} of strangers may be. No "
        "calibration mends that: enroll 3 to 5 pictures of each class that were taken as these were, then calibrate "
        "again."
    )


def comparison(found: CrossFit) -> Table:
    """Return the figures before and after."""
    before, after = found.before, found.after
    rows = []
    for position, asked in enumerate(before.asked):
        for name, shares in (
            ("strangers accepted", (before.realized, after.realized)),
            ("known queries accepted", (before.accepted, after.accepted)),
        ):
            old, new = (f"{share[position]:.1%}" for share in shares)
            rows.append((f"{name}, {asked:.0%} asked for", old, new))
    old, new = (f"{each.calibration_error:.3f}" for each in (before, after))
    rows.append(("expected calibration error", old, new))
    return Table(("on classes that were not fitted on", "the model's", "refitted"), rows)


def render_calibration(gallery: str, told: Mapping[str, str], found: CrossFit) -> str:
    """Render the page; `told` as `facts` returns it."""
    before, after = found.before, found.after
    return render(
        "calibration.html",
        f"Calibration of gallery {gallery}",
        _LEAD,
        comparison=comparison(found),
        facts=told.items(),
        plots=[
            plots.open_set_curves(after),
            plots.reliability_diagram(before, "Reliability before"),
            plots.reliability_diagram(after, "Reliability after"),
        ],
    )
