"""`exemplar index`: the command line of bulk jobs, which enroll in a gallery or write shards.

Exit codes: 0 everything is in, 1 something failed (the report says what) or the job was refused, 2 wrong usage,
3 no server, 130 interrupted; run again, the job goes on where it stopped.
"""

from __future__ import annotations

import re
import signal
import tempfile
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from exemplar import NotFoundError, UnavailableError
from exemplar.channel import DEFAULT_ADDRESS
from exemplar.commands.output import print_error, print_json, print_line
from exemplar.commands.parameters import Address, AsJson, SystemTls, Timeout, TlsCa, Token, security
from exemplar_indexer.interruption import terminated_as_interrupted
from exemplar_indexer.items import SourceError
from exemplar_indexer.job import Job, Server, dry_run, run_job
from exemplar_indexer.job_bar import JobBar
from exemplar_indexer.journal import Journal, JournalError
from exemplar_indexer.pipeline import Delivery
from exemplar_indexer.report import Summary, left_out_sentences, no_images, write_report
from exemplar_indexer.sources import open_source

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_SHOWN_ENTRIES = 10
_SHARDS = "Shards instead of a gallery"

# Options that mean something in one of the two ways only.
_FOR_A_GALLERY = frozenset(
    (
        *("gallery", "create", "job", "batch_size", "in_flight", "strict", "dry", "patience"),
        *("address", "token", "tls", "tls_ca", "timeout"),
    )
)
_FOR_SHARDS = frozenset(("bundle", "engine", "workers", "shard_size", "image_urls", "retry"))


@app.command()
def index(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            help="A folder of images, or a CSV, JSONL or Parquet manifest (path or URL).", show_default=False
        ),
    ],
    gallery: Annotated[
        str | None, typer.Option("--gallery", "-g", help="Gallery to enroll in.", show_default=False)
    ] = None,
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
    trust_manifest: Annotated[
        bool,
        typer.Option(
            "--trust-manifest",
            help="Let a manifest behind a URL name local files and addresses that are not public.",
        ),
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse images that have warnings.")] = False,
    redo: Annotated[bool, typer.Option("--redo", help="Do everything again, also what is done.")] = False,
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
    shards: Annotated[
        str | None,
        typer.Option(
            help="Folder (path or URL) to write shards to; asks no server.",
            show_default=False,
            rich_help_panel=_SHARDS,
        ),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(help="Bundle that embeds.", show_default=False, rich_help_panel=_SHARDS),
    ] = None,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(
            metavar="STR", help="local: this process; ray: workers, on many machines too.", rich_help_panel=_SHARDS
        ),
    ] = "local",
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Workers of Ray, of a processor each.", show_default="2", rich_help_panel=_SHARDS),
    ] = None,
    shard_size: Annotated[
        int, typer.Option(min=1, help="Entries of the source a shard.", rich_help_panel=_SHARDS)
    ] = 2048,
    image_urls: Annotated[
        bool,
        typer.Option("--image-urls", help="Leave the images out and keep their URLs.", rich_help_panel=_SHARDS),
    ] = False,
    retry: Annotated[
        bool,
        typer.Option(
            "--retry",
            help="Make the shards anew that lack an image which could not be read.",
            rich_help_panel=_SHARDS,
        ),
    ] = False,
    address: Address = DEFAULT_ADDRESS,
    token: Token = None,
    tls: SystemTls = False,
    tls_ca: TlsCa = None,
    timeout: Timeout = 30.0,
    json: AsJson = False,
) -> None:
    """Enroll a class for every image of a folder or a manifest, or write all classes to shards.

    A killed or interrupted job goes on where it stopped when the same command is run again.
    """
    source = source.rstrip("/") or source  # `pictures/` is `pictures`, and the same job
    if shards is not None:
        _refuse(context, _FOR_A_GALLERY, "goes to a server, and with --shards none is asked; leave it out")
        if bundle is None:
            _fail("--shards needs the bundle that embeds: give --bundle", 2)
        if workers is not None and engine == "local":
            _fail("--workers are Ray's: give --engine ray too, or leave them out", 2)
        # Whole paths, for workers elsewhere, and so that the same job is the same from any folder.
        places = (_absolute(source), _absolute(shards), _absolute(str(bundle)))
        wanted = (*places, shard_size, image_urls, redo, retry, report, trust_manifest)
        _write_shards(source, wanted, (workers or 2) if engine == "ray" else None, json)
        return
    if gallery is None:
        _fail("give --gallery to enroll in one, or --shards to write shards", 2)
    _refuse(context, _FOR_SHARDS, "is for shards: give --shards too, or leave it out")
    folder = job or Path(f"exemplar-index-{gallery}-{_stem(source)}")
    delivery = Delivery(gallery, batch_size, in_flight, strict, patience)
    plan = Job(source, delivery, report or folder / "report.jsonl", create, redo, trust_manifest)
    server = Server(address, timeout, token, security(tls, tls_ca))
    try:
        open_source(source, plan.reach)  # a wrong name is refused before a job folder is made for it
        with terminated_as_interrupted():
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
    if not summary.total and Path(source).is_dir():
        _fail(no_images(source, summary.left_out), 1)
    if summary.failed or summary.problems:
        raise typer.Exit(1)


def _write_shards(
    source: str,
    wanted: tuple[str, str, str, int, bool, bool, bool, Path | None, bool],
    workers: int | None,
    as_json: bool,
) -> None:
    # Loaded only here: enrolling needs neither an encoder nor Parquet.
    try:
        from exemplar_encoder import BundleError
        from exemplar_indexer.embedding_job import EmbeddingJob
        from exemplar_indexer.shard_command import write_shards
        from exemplar_indexer.shard_folder import ShardError

        try:
            summary = write_shards(EmbeddingJob(*wanted), workers, as_json)
        except (SourceError, BundleError, ShardError) as error:
            _fail(str(error), 2)
        except KeyboardInterrupt:
            _fail("interrupted before anything was embedded", 128 + signal.SIGINT)
    except ModuleNotFoundError as error:
        extra = "ray" if error.name == "ray" else "shards"
        _fail(f"--shards needs more ({error.name} is not installed): pip install 'exemplar[{extra}]'", 2)
    if not summary.complete:
        _fail(f"interrupted with {summary.pending:,} to go; run the same command again to go on", 128 + signal.SIGINT)
    if not summary.total and Path(source).is_dir():
        _fail(no_images(source, summary.left_out), 1)
    if summary.failed or summary.problems:
        raise typer.Exit(1)


def _refuse(context: typer.Context, names: frozenset[str], why: str) -> None:
    """Refuse options that were given and mean nothing here."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name in names and source is not None and source.name == "COMMANDLINE":
            _fail(f"{parameter.opts[0]} {why}", 2)


def _run(plan: Job, folder: Path, server: Server, as_json: bool) -> Summary:
    bar = JobBar("Enrolling")
    with Journal(folder) as journal, bar.progress:
        summary = run_job(plan, server, journal, bar.start, bar.advance)
    if as_json:
        print_json(summary)
    else:
        moved = summary.done - summary.done_before
        before = f" ({summary.done_before:,} of them before this run)" if summary.done_before else ""
        rate = f", {summary.images_per_second:,.0f} images/s" if moved else ""
        print_line(
            f"{summary.done:,} of {summary.total:,} classes were enrolled in {summary.gallery} by this job{before}; "
            f"{summary.seconds:.1f} s{rate}."
        )
        failed = summary.failed + summary.problems
        if failed or summary.warnings:
            print_line(f"{failed:,} failed, {summary.warnings:,} warnings: see {summary.report}")
        for sentence in left_out_sentences(summary.source, summary.left_out):
            print_line(sentence)
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
        f"{summary.done:,} were enrolled before."
    )
    if summary.failed or summary.problems:
        print_line(f"{summary.failed + summary.problems:,} would fail:")
        for note in shown:
            print_line(f"  {note.place}: {note.message}")
    for sentence in left_out_sentences(summary.source, summary.left_out):
        print_line(sentence)
    return summary


def _fail(sentence: str, code: int) -> NoReturn:
    print_error(sentence)
    raise typer.Exit(code)


def _absolute(place: str) -> str:
    return place if "://" in place else str(Path(place).absolute())


def _stem(source: str) -> str:
    name = source.rstrip("/").rpartition("/")[2].partition("?")[0] or "source"
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)
