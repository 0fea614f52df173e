"""`exemplar import`: the command line that loads shards into a store.

Exit codes: 0 everything is in, 1 something failed (the report says what) or was refused, 2 wrong usage, 3 the store
does not answer, 130 interrupted; run again, the import goes on where it stopped.
"""

from __future__ import annotations

import signal
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from exemplar.commands.output import print_error, print_json, print_line
from exemplar.commands.parameters import AsJson
from exemplar.names import gallery_id_problem
from exemplar_indexer.gallery_import import GalleryImport, meet_gallery, open_shards
from exemplar_indexer.interruption import terminated_as_interrupted
from exemplar_indexer.job_bar import JobBar
from exemplar_indexer.outcomes import Counts
from exemplar_indexer.report import write_report
from exemplar_indexer.shard_folder import ShardError, ShardFolder
from exemplar_indexer.shards import class_count
from exemplar_server.errors import NoStoreError, ServiceError, StartError, UnavailableError
from exemplar_server.store import open_truth

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class ImportSummary:
    """How an import ended.

    Attributes:
        shards: The folder of shards.
        gallery: Where they went.
        complete: Whether every class has had its turn.
        total: Classes in the shards.
        loaded: Classes that this run brought in.
        there: Classes that were in already.
        skipped: Classes that are in with another exemplar, and were left.
        failed: Classes that could not be loaded.
        seconds: How long this run took.
        classes_per_second: Rate of this run.
        report: The file with the errors; empty where there are none.
    """

    shards: str
    gallery: str
    complete: bool
    total: int
    loaded: int
    there: int
    skipped: int
    failed: int
    seconds: float
    classes_per_second: float
    report: str


@app.command()
def import_(
    shards: Annotated[
        str, typer.Argument(help="Folder (path or URL) that `exemplar index --shards` wrote.", show_default=False)
    ],
    gallery: Annotated[str, typer.Option("--gallery", "-g", help="Gallery to load into.", show_default=False)],
    store: Annotated[
        str | None,
        typer.Option(
            envvar="EXEMPLAR_STORE",
            help="Store of the galleries: postgresql://USER@HOST/DATABASE, or sqlite:FOLDER.",
            show_default=False,
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            envvar="EXEMPLAR_DATA_DIR",
            help="Data directory of a server that is not running, in place of --store.",
            show_default=False,
        ),
    ] = None,
    create: Annotated[bool, typer.Option("--create", help="Create the gallery when it is not there.")] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave classes that are there with another exemplar.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="File for errors (.jsonl or .csv).",
            show_default="exemplar-import-GALLERY.jsonl",
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Load the classes of shards into a gallery, in bulk and straight into the store.

    A killed or interrupted import goes on where it stopped when the same command is run again.
    """
    if problem := gallery_id_problem(gallery):
        _fail(f"--gallery: {problem}", 2)
    if (store is None) == (data_dir is None):
        _fail("give either --store or --data-dir: where the galleries are", 2)
    try:
        summary = _import(shards, gallery, store or f"sqlite:{data_dir}", create, skip_existing, report)
    except (ShardError, StartError) as error:
        _fail(str(error), 2 if isinstance(error, NoStoreError) else 1)
    except UnavailableError as error:
        _fail(f"{error.message}; run the same command again when the store is there", 3)
    except ServiceError as error:
        _fail(error.message + ("; --create creates it" if error.reason == "GALLERY_NOT_FOUND" else ""), 1)
    if json:
        print_json(summary)
    else:
        before = f", {summary.there:,} were there already" if summary.there else ""
        skipped = f", {summary.skipped:,} were left as they are" if summary.skipped else ""
        print_line(
            f"{summary.loaded:,} of {summary.total:,} classes were loaded into {gallery}{before}{skipped}; "
            f"{summary.seconds:.1f} s, {summary.classes_per_second:,.0f} classes/s."
        )
        if summary.failed:
            print_line(f"{summary.failed:,} failed: see {summary.report}")
    if not summary.complete:
        _fail("interrupted; run the same command again to go on", 128 + signal.SIGINT)
    if summary.failed:
        raise typer.Exit(1)


def _import(
    shards: str, gallery: str, store: str, create: bool, skip_existing: bool, report: Path | None
) -> ImportSummary:
    folder = ShardFolder(shards)
    header = open_shards(folder)
    total = class_count(folder, header)
    bar = JobBar("Loading")
    complete = False
    with closing(open_truth(store)) as truth, bar.progress, terminated_as_interrupted():
        meet_gallery(truth, gallery, header, create)
        bar.start(Counts(done=0, failed=0, pending=total, problems=0, warnings=0))
        work = GalleryImport(truth, gallery, skip_existing)
        started = time.monotonic()
        try:
            work.run(folder, header, bar.add)
            complete = True
        except KeyboardInterrupt:
            pass  # the summary says so
        finally:
            # Also when a damaged shard ends it: what failed until then is told.
            path = report or Path(f"exemplar-import-{gallery}.jsonl")
            if work.failures or report:
                write_report(path, work.failures)
        seconds = time.monotonic() - started
    return ImportSummary(
        shards=shards,
        gallery=gallery,
        complete=complete,
        total=total,
        loaded=work.loaded,
        there=work.there,
        skipped=work.skipped,
        failed=len(work.failures),
        seconds=round(seconds, 3),
        classes_per_second=round(work.loaded / seconds, 1) if seconds else 0.0,
        report=str(path) if work.failures or report else "",
    )


def _fail(sentence: str, code: int) -> NoReturn:
    print_error(sentence)
    raise typer.Exit(code)
