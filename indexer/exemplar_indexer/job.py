"""One run of a job: meet the gallery, scan the source, move what is pending, and leave a report whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from exemplar import AlreadyExistsError, AsyncClient, Client, Tls
from exemplar_indexer.folder import LeftOut
from exemplar_indexer.images import ImageUnreadableError, looks_like_image, read_image
from exemplar_indexer.interruption import terminated_as_interrupted
from exemplar_indexer.items import Item
from exemplar_indexer.journal import Journal
from exemplar_indexer.outcomes import Counts, Outcome
from exemplar_indexer.pipeline import Delivery, Pipeline
from exemplar_indexer.reach import Reach
from exemplar_indexer.report import Summary, write_report, write_summary
from exemplar_indexer.sources import open_source

_SIGNATURE_BYTES = 16
_PAGE = 500


@dataclass(frozen=True)
class Server:
    """Where the server is and how to talk to it; arguments of `exemplar.Client`."""

    address: str
    timeout: float = 30.0
    token: str | None = field(default=None, repr=False)
    tls: Tls | bool = False


@dataclass(frozen=True)
class Job:
    """The source to enroll, and the gallery to enroll it in.

    Attributes:
        source: Folder or manifest.
        delivery: How it is sent.
        report: File for the errors and warnings; a name ending in `.csv` makes it CSV, else it is JSON lines.
        create: Create the gallery when it is not there.
        redo: Enroll everything again, also what is in.
        trusted: Let a manifest behind a URL name local files and addresses that are not public.
    """

    source: str
    delivery: Delivery
    report: Path
    create: bool = False
    redo: bool = False
    trusted: bool = False

    @property
    def reach(self) -> Reach:
        """What its images may be read from."""
        return Reach.of(self.source, self.trusted)


def run_job(
    job: Job,
    server: Server,
    journal: Journal,
    on_start: Callable[[Counts], None],
    on_progress: Callable[[Sequence[Outcome]], None],
) -> Summary:
    """Run a job until it is done, fails as a whole, or is interrupted by SIGINT or SIGTERM.

    Args:
        job: The source and the gallery.
        server: Where to.
        journal: The job's journal; it is tied to the job's source and gallery.
        on_start: Called once with the counts after the scan.
        on_progress: Called with each batch's outcomes after they are committed.

    Returns:
        The summary, which is also in the job folder's `summary.json`; not `complete` after an interruption.

    Raises:
        JournalError: The journal belongs to another source or gallery.
        SourceError: The source cannot be read.
        ExemplarError: The server refused as a whole or did not answer. Once the source has been read, report and
            summary are written all the same.
    """
    started = time.monotonic()
    journal.claim(job.source, job.delivery.gallery)
    # Fewer attempts than while the job runs: that there is no server at all should be said at once.
    with Client(server.address, timeout=server.timeout, token=server.token, tls=server.tls, attempts=3) as client:
        _meet_gallery(job, client, journal)
    left_out = LeftOut()
    before = journal.scan(open_source(job.source, job.reach, left_out), redo=job.redo)
    on_start(before)
    try:
        asyncio.run(_move(job, server, journal, on_progress))
    finally:
        with terminated_as_interrupted():  # asyncio has undone it
            summary = _summary(job, journal, before, left_out, time.monotonic() - started)
            write_report(job.report, journal.notes())
            write_summary(journal.folder / "summary.json", summary)
    return summary


def dry_run(job: Job, journal: Journal) -> Summary:
    """Find out what a job would do: reads the source and the start of each image, and asks no server.

    Args:
        job: The source and the gallery.
        journal: A journal to be thrown away; a copy of the job's own where it has one.

    Returns:
        The summary; `pending` is what would be enrolled. The entries are in the journal.

    Raises:
        JournalError: The journal belongs to another source or gallery.
        SourceError: The source cannot be read.
    """
    started = time.monotonic()
    journal.claim(job.source, job.delivery.gallery)
    left_out = LeftOut()
    before = journal.scan(open_source(job.source, job.reach, left_out), redo=job.redo)
    after = 0
    while page := journal.pending(after, _PAGE):
        after = page[-1][0]
        journal.acknowledge(outcome for _, item in page if (outcome := _fault(item, job.reach)))
    return _summary(job, journal, before, left_out, time.monotonic() - started)


def _meet_gallery(job: Job, client: Client, journal: Journal) -> None:
    name = job.delivery.gallery
    if job.create:
        with contextlib.suppress(AlreadyExistsError):
            client.create_gallery(name)
    # A gallery that was deleted and made again holds nothing of what this job was told is in.
    journal.meet_gallery(client.get_gallery(name).create_time.isoformat())


async def _move(job: Job, server: Server, journal: Journal, on_progress: Callable[[Sequence[Outcome]], None]) -> None:
    async with AsyncClient(server.address, timeout=server.timeout, token=server.token, tls=server.tls) as client:
        task = asyncio.create_task(Pipeline(client, journal, job.delivery, on_progress, job.reach).run())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        # An interruption is no error: what was acknowledged is in the journal, and the summary says what is left.
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


def _fault(item: Item, reach: Reach) -> Outcome | None:
    try:
        start = read_image(item.image, _SIGNATURE_BYTES, reach)
    except ImageUnreadableError as error:
        return Outcome.failed(item, "IMAGE_UNREADABLE", str(error))
    if not start:
        return Outcome.failed(item, "IMAGE_EMPTY", f"{item.image} is empty")
    if not looks_like_image(start):
        return Outcome.failed(item, "IMAGE_UNSUPPORTED_FORMAT", f"{item.image} is not an image of a known format")
    return None


def _summary(job: Job, journal: Journal, before: Counts, left_out: LeftOut, seconds: float) -> Summary:
    counts = journal.counts()
    moved = counts.done - before.done
    return Summary(
        source=job.source,
        gallery=job.delivery.gallery,
        complete=counts.pending == 0,
        total=counts.total,
        done=counts.done,
        done_before=before.done,
        failed=counts.failed,
        problems=counts.problems,
        pending=counts.pending,
        warnings=counts.warnings,
        seconds=round(seconds, 3),
        images_per_second=round(moved / seconds, 1) if seconds else 0.0,
        report=str(job.report),
        left_out=left_out,
    )
