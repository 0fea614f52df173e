"""`exemplar calibrate`: a gallery's own calibration, refitted on its user's labeled pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from exemplar import Calibration
from exemplar.commands.output import print_facts, print_json, print_line, print_table
from exemplar.commands.session import Session, client_command

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@client_command
def calibrate(
    session: Session,
    gallery: Annotated[str, typer.Argument(metavar="GALLERY", help="Id of the gallery.", show_default=False)],
    images: Annotated[
        Path | None,
        typer.Argument(
            help="Folder of labeled pictures, one folder for each class id; other folders hold strangers.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Fit and report, and store nothing.")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Go back to the model's calibration instead.")] = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with curves here.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of what is drawn; the same seed fits the same.")] = 0,
) -> None:
    """Refit what distances mean in a gallery on labeled pictures of your own; the model stays as it is."""
    if clear:
        if images is not None or dry_run or html is not None:
            raise typer.BadParameter("--clear fits nothing, so it takes no pictures and no other choice")
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
    from exemplar_trainer.calibration.from_gallery import cross_fit, refit
    from exemplar_trainer.calibration.labeled_images import LabeledError, gather
    from exemplar_trainer.data.image_set import some
    from exemplar_trainer.evaluation.tasks import NOBODY
    from exemplar_trainer.reports.calibration import comparison, facts, render_calibration

    # Names of files are not broken where a line ends.
    console = Console(stderr=True, markup=False, emoji=False, highlight=False, soft_wrap=True, quiet=session.as_json)
    try:
        with _counting(console) as progress:
            gathered = gather(session.client, gallery, images, seed, progress)
    except LabeledError as error:
        _fail(str(error))
    labeled, model = gathered.labeled, gathered.model
    if gathered.strangers:
        console.print(f"Taken for strangers, since no class is named so: {some(gathered.strangers)}")
    if gathered.skipped:
        console.print(f"{len(gathered.skipped):,} pictures cannot be used: {some(gathered.skipped)}")
    with _counting(console) as progress:
        found = cross_fit(labeled, model, seed, lambda done, total: progress("Cross-fitting", done, total))
    fitted = refit(labeled, model.default_false_accept_rate, seed)
    told = facts(gathered, found)
    if html is not None:
        html.write_text(render_calibration(gallery, told, found), encoding="utf-8")
    if not dry_run:
        session.client.update_gallery(
            gallery, calibration=Calibration(**{field.name: getattr(fitted, field.name) for field in fields(fitted)})
        )
    if session.as_json:
        print_json(
            {
                "gallery": gallery,
                "stored": not dry_run,
                "queries": int((labeled.labels != NOBODY).sum()),
                "classes": len(labeled.asked),
                "stranger_pictures": int((labeled.labels == NOBODY).sum()),
                "stranger_folders": gathered.strangers,
                "left_out": gathered.left_out,
                "skipped": gathered.skipped,
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
    if html is not None:
        console.print(f"Curves: {html}")
    if dry_run:
        print_line("Nothing was stored.")
    else:
        print_line(
            f"Gallery {gallery} is judged by its own calibration from now on; --clear goes back to the model's."
        )


def _fail(sentence: str) -> NoReturn:
    Console(stderr=True, markup=False, emoji=False, highlight=False, style="red", soft_wrap=True).print(
        f"{sentence[:1].upper()}{sentence[1:]}"
    )
    raise typer.Exit(1)


@contextmanager
def _counting(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar that is told what is being done, how many are done, and of how many."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as bar:
        task = bar.add_task("Asking the server", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)
