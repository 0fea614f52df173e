"""`exemplar index`: the bulk job's command line.

Exit codes: 0 everything is in, 1 something failed (the report says what) or the job was refused, 2 wrong usage,
3 no server, 130 interrupted; run again, the job goes on where it stopped.
"""

from __future__ import annotations

import re
import signal
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

from exemplar import NotFoundError, UnavailableError
from exemplar.channel import DEFAULT_ADDRESS
from exemplar.commands.output import print_error, print_json, print_line
from exemplar.commands.parameters import Address, AsJson, SystemTls, Timeout, TlsCa, Token, security
from exemplar_indexer.items import SourceError
from exemplar_indexer.job import Job, Server, dry_run, run_job
from exemplar_indexer.journal import Journal, JournalError
from exemplar_indexer.outcomes import Counts, Outcome
from exemplar_indexer.pipeline import Delivery
from exemplar_indexer.report import Summary, write_report
from exemplar_indexer.sources import open_source

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_SHOWN_ENTRIES = 10


@app.command()
def index(
    source: Annotated[
        str,
        typer.Argument(help="A folder of images, or a CSV or JSONL manifest (path or URL).", show_default=False),
    ],
    gallery: Annotated[str, typer.Option("--gallery", "-g", help="Gallery to enroll in.", show_default=False)],
    create: Annotated[bool, typer.Option("--create", help="Create the gallery when it is not there.")] = False,
    job: Annotated[
        Path | None,
        typer.Option(
            file_okay=False,
            help="Folder for the journal and the report; the same folder resumes the job.",
            show_default="named after both",
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, max=256, help="Classes a request.")] = 64,
    in_flight: Annotated[int, typer.Option(min=1, max=64, help="Requests at a time.")] = 4,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse images that have warnings.")] = False,
    redo: Annotated[bool, typer.Option("--redo", help="Enroll everything again, also what is in.")] = False,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Read everything, enroll nothing, say what would happen.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, help="File for errors and warnings (.jsonl or .csv).", show_default="JOB/report.jsonl"
        ),
    ] = None,
    patience: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for a server that stopped answering.")
    ] = 120.0,
    address: Address = DEFAULT_ADDRESS,
    token: Token = None,
    tls: SystemTls = False,
    tls_ca: TlsCa = None,
    timeout: Timeout = 30.0,
    json: AsJson = False,
) -> None:
    """Enroll a class for every image of a folder or a manifest.

    A killed or interrupted job goes on where it stopped when the same command is run again.
    """
    source = source.rstrip("/") or source  # `pictures/` is `pictures`, and the same job
    folder = job or Path(f"exemplar-index-{gallery}-{_stem(source)}")
    delivery = Delivery(gallery, batch_size, in_flight, strict, patience)
    plan = Job(source, delivery, report or folder / "report.jsonl", create, redo)
    server = Server(address, timeout, token, security(tls, tls_ca))
    try:
        open_source(source)  # a wrong name is refused before a job folder is made for it
        summary = _rehearse(plan, folder, report, json) if dry else _run(plan, folder, server, json)
    except (SourceError, JournalError) as error:
        _fail(str(error), 2)
    except NotFoundError as error:
        _fail(error.message + ("; --create creates the gallery" if error.reason == "GALLERY_NOT_FOUND" else ""), 1)
    except UnavailableError as error:
        _fail(f"{error.message}; run the same command again when the server is there", 3)
    except KeyboardInterrupt:
        _fail("interrupted before anything was sent", 130)
    if not dry and not summary.complete:
        _fail(f"interrupted with {summary.pending:,} to go; run the same command again to go on", 128 + signal.SIGINT)
    if summary.failed or summary.problems:
        raise typer.Exit(1)


def _run(plan: Job, folder: Path, server: Server, as_json: bool) -> Summary:
    bar = _Bar()
    with Journal(folder) as journal, bar.progress:
        summary = run_job(plan, server, journal, bar.start, bar.advance)
    if as_json:
        print_json(summary)
    else:
        moved = summary.done - summary.done_before
        before = f" ({summary.done_before:,} of them before this run)" if summary.done_before else ""
        rate = f", {summary.images_per_second:,.0f} images/s" if moved else ""
        print_line(
            f"{summary.done:,} of {summary.total:,} classes are in {summary.gallery}{before}; "
            f"{summary.seconds:.1f} s{rate}."
        )
        failed = summary.failed + summary.problems
        if failed or summary.warnings:
            print_line(f"{failed:,} failed, {summary.warnings:,} warnings: see {summary.report}")
    return summary


def _rehearse(plan: Job, folder: Path, report: Path | None, as_json: bool) -> Summary:
    with tempfile.TemporaryDirectory() as scratch, Journal(Path(scratch)) as journal:
        journal.copy_from(folder)
        summary = dry_run(plan, journal)
        if report:
            write_report(report, journal.notes())
        shown = [note for note in islice(journal.notes(), _SHOWN_ENTRIES) if note.level == "error"]
    if as_json:
        print_json(summary)
        return summary
    print_line(
        f"Would enroll {summary.pending:,} of {summary.total:,} classes in {summary.gallery}; "
        f"{summary.done:,} are in already."
    )
    if summary.failed or summary.problems:
        print_line(f"{summary.failed + summary.problems:,} would fail:")
        for note in shown:
            print_line(f"  {note.place}: {note.message}")
    return summary


class _Bar:
    """The progress bar on stderr: how many of how many, the rate, the time left, and failures."""

    def __init__(self) -> None:
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("[red]{task.fields[failures]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self.progress.add_task("Reading the source", total=None, rate="", failures="")
        self._failed = 0

    def start(self, counts: Counts) -> None:
        """Show what an earlier run did."""
        self._failed = counts.problems
        self.progress.update(
            self._task, description="Enrolling", total=counts.total, completed=counts.done + counts.problems
        )
        self._show_failures()

    def advance(self, outcomes: Sequence[Outcome]) -> None:
        """Add a batch."""
        self._failed += sum(not outcome.done for outcome in outcomes)
        self.progress.advance(self._task, len(outcomes))
        speed = self.progress.tasks[0].speed
        self.progress.update(self._task, rate=f"{speed:,.0f} images/s" if speed else "")
        self._show_failures()

    def _show_failures(self) -> None:
        if self._failed:
            self.progress.update(self._task, failures=f"{self._failed:,} failed")


def _fail(sentence: str, code: int) -> NoReturn:
    print_error(sentence)
    raise typer.Exit(code)


def _stem(source: str) -> str:
    name = source.rstrip("/").rpartition("/")[2].partition("?")[0] or "source"
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)
