"""`exemplar calibrate`: a gallery's own calibration, refitted on its user's labeled pictures."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from exemplar import Calibration
from exemplar.commands.output import print_facts, print_json, print_line, print_table
from exemplar.commands.session import Session, client_command
from exemplar_trainer.cli.console import activities, counting, fail, failures, notes

if TYPE_CHECKING:
    from exemplar_encoder import Calibration as FittedCalibration

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@client_command
def calibrate(
    session: Session,
    gallery: Annotated[str, typer.Argument(metavar="GALLERY", help="Id of the gallery.", show_default=False)],
    images: Annotated[
        Path | None,
        typer.Argument(
            help="Folder of labeled pictures, with one folder for each class id; other folders hold strangers.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Fit and report, but store nothing.")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Go back to the model's calibration.")] = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write an HTML page with curves to this file.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draw; the same seed fits the same.")] = 0,
) -> None:
    """Refit what distances mean in a gallery on labeled pictures of your own; the model stays as it is."""
    if clear:
        if images is not None or dry_run or html is not None:
            raise typer.BadParameter("--clear fits nothing: give it no pictures, and neither --dry-run nor --html")
        _clear(session, gallery)
    elif images is None:
        raise typer.BadParameter("name a folder of labeled pictures, or give --clear")
    else:
        _calibrate(session, gallery, images, dry_run, html, seed)


def _clear(session: Session, gallery: str) -> None:
    changed = session.client.update_gallery(gallery, calibration=None)
    if session.as_json:
        print_json(changed)
    else:
        print_line(f"Gallery {gallery} is judged by the model's calibration.")


def _calibrate(session: Session, gallery: str, images: Path, dry_run: bool, html: Path | None, seed: int) -> None:
    if not images.is_dir():
        fail(f"{images} is no folder")
    # What follows takes seconds to import; nobody should wait for it to be told what was wrong.
    from exemplar_trainer.calibration.from_gallery import cross_fit, refit
    from exemplar_trainer.calibration.labeled_images import LabeledImagesError, embed_labeled_images
    from exemplar_trainer.data.wording import abridged
    from exemplar_trainer.evaluation.tasks import NO_CLASS
    from exemplar_trainer.reports.calibration import comparison, facts, other_kind, render_calibration

    console = notes(quiet=session.as_json)
    with failures(LabeledImagesError), activities(console, "Asking the server") as on_activity:
        given = embed_labeled_images(session.client, gallery, images, seed, on_activity)
    labeled, model = given.gallery, given.model
    if given.strangers:
        console.print(f"Taken for strangers, since no class has such an id: {abridged(given.strangers)}")
    if given.skipped:
        console.print(f"{len(given.skipped):,} pictures cannot be used: {abridged(given.skipped)}")
    with counting(console, "Cross-fitting") as on_count:
        found = cross_fit(labeled, model, seed, on_count)
    fitted = refit(labeled, model.default_false_accept_rate, seed)
    told = facts(given, found)
    if html is not None:
        html.write_text(render_calibration(gallery, told, found), encoding="utf-8")
    if not dry_run:
        session.client.update_gallery(gallery, calibration=_sent(fitted))
    if session.as_json:
        print_json(
            {
                "gallery": gallery,
                "stored": not dry_run,
                "queries": int((labeled.labels != NO_CLASS).sum()),
                "classes": len(labeled.asked),
                "stranger_pictures": int((labeled.labels == NO_CLASS).sum()),
                "stranger_folders": given.strangers,
                "left_out": given.left_out,
                "skipped": given.skipped,
                "shift": labeled.shift,
                "other_kind_of_picture": other_kind(given, found) is not None,
                "gallery_size": found.gallery_size,
                "before": asdict(found.before),
                "after": asdict(found.after),
                "calibration": asdict(fitted),
            }
        )
        return
    print_facts(told)
    table = comparison(found)
    print_table(table.header, table.rows, right=table.header[1:])
    if (said := other_kind(given, found)) is not None:
        print_line(Text(said, "yellow"))
    if html is not None:
        console.print(f"Curves: {html}")
    if dry_run:
        print_line("Nothing was stored.")
    else:
        print_line(
            f"Gallery {gallery} is judged by its own calibration from now on; --clear goes back to the model's."
        )


def _sent(fitted: FittedCalibration) -> Calibration:
    """Return a calibration as the contract has it: a summary to read, and the numbers as one piece."""
    return Calibration(
        method=fitted.method,
        fitted_on=fitted.fitted_on,
        default_false_accept_rate=fitted.default_false_accept_rate,
        ambiguity_error_rate=fitted.ambiguity_error_rate,
        data=fitted.to_json().encode(),
    )
