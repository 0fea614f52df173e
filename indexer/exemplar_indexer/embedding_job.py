"""A job that writes shards: plan, see what is finished, have an engine embed the rest, and leave a report.

The folder of shards is all its memory. Killed at any point, it goes on from there when it is run again, on either
engine: a finished shard is not made anew while its part of the source is as it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeAlias

from exemplar_encoder import Bundle
from exemplar_indexer.embedding import UNREADABLE, Finished, Work
from exemplar_indexer.folder import LeftOut
from exemplar_indexer.outcomes import Counts, Note
from exemplar_indexer.reach import Reach
from exemplar_indexer.report import summary_text, write_report
from exemplar_indexer.shard_folder import ShardError, ShardFolder
from exemplar_indexer.shard_plan import PLAN, Slice, read_plan, write_plan
from exemplar_indexer.shards import (
    Header,
    parse_receipt,
    read_header,
    receipt_name,
    shard_name,
    write_header,
)
from exemplar_indexer.sources import open_source

REPORT = "report.jsonl"
SUMMARY = "summary.json"

Engine: TypeAlias = Callable[[Work, Sequence[Slice]], Iterator[Finished]]


@dataclass(frozen=True)
class EmbeddingJob:
    """The source to embed, and how.

    Attributes:
        source: Folder or manifest.
        shards: Where to; a path or URL.
        bundle: Folder of the bundle.
        shard_size: Entries of the source a shard.
        image_urls: Leave images out of the shards and keep their URLs.
        redo: Make every shard anew.
        retry: Make those shards anew that lack an image which could not be read.
        report: File for the errors; in the folder of shards when None.
        trusted: Let a manifest behind a URL name local files and addresses that are not public.
    """

    source: str
    shards: str
    bundle: str
    shard_size: int
    image_urls: bool = False
    redo: bool = False
    retry: bool = False
    report: Path | None = None
    trusted: bool = False

    @property
    def reach(self) -> Reach:
        """What its images may be read from."""
        return Reach.of(self.source, self.trusted)


@dataclass(frozen=True)
class ShardSummary:
    """How a job ended.

    Attributes:
        source: The folder or manifest that was read.
        shards: The folder of shards.
        model: Id of the bundle.
        complete: Whether every shard is there.
        total: Entries of the source.
        done: Classes in shards that are there.
        failed: Items that could not be read or embedded.
        problems: Source entries that could not become items.
        pending: Items whose shard is not there yet.
        shard_count: Shards of the source.
        shards_before: Those of them that were there before this run.
        seconds: How long this run took.
        images_per_second: Rate of this run.
        report: The file with the errors.
        left_out: What of a folder was no part of the source.
    """

    source: str
    shards: str
    model: str
    complete: bool
    total: int
    done: int
    failed: int
    problems: int
    pending: int
    shard_count: int
    shards_before: int
    seconds: float
    images_per_second: float
    report: str
    left_out: LeftOut


def run_embedding_job(
    job: EmbeddingJob,
    engine: Engine,
    on_start: Callable[[Counts], None],
    on_progress: Callable[[Finished], None],
) -> ShardSummary:
    """Run a job until it is done, fails as a whole, or is interrupted (`KeyboardInterrupt`).

    Args:
        job: What to do.
        engine: Who does it.
        on_start: Called once with the counts after the source was read.
        on_progress: Called with each shard once it is there.

    Returns:
        The summary, which is also in the folder's `summary.json`; not `complete` after an interruption.

    Raises:
        BundleError: The bundle cannot be used.
        ShardError: The folder holds shards of another job.
        SourceError: The source cannot be read.
        OSError: The folder cannot be written.
    """
    started = time.monotonic()
    folder = ShardFolder(job.shards)
    bundle = Bundle.load(job.bundle)
    wanted = Header(job.source, bundle.id, bundle.manifest.dimension, job.shard_size, job.image_urls, shards=0)
    _check(folder, read_header(folder), wanted)
    folder.prepare()
    left_out = LeftOut()
    parts = _plan(job, folder, left_out)
    header = replace(wanted, shards=len(parts))
    finished = {} if job.redo else _finished(folder, parts, job.retry)
    pending = [part for part in parts if part.number not in finished]
    # Until all are there nobody may take them for the whole, and no shard is left of a longer source.
    write_header(folder, header)
    _remove_others(folder, len(parts))
    before = list(finished.values())
    on_start(_counts(parts, before))
    work = Work(job.shards, job.bundle, bundle.id, job.image_urls, job.reach)
    try:
        for each in engine(work, pending) if pending else ():
            finished[each.number] = each
            on_progress(each)
    except KeyboardInterrupt:
        pass  # the summary says what is left
    finally:
        summary = _summary(job, header, parts, finished, before, left_out, time.monotonic() - started)
        _leave_report(folder, job, parts, finished)
        folder.write(SUMMARY, summary_text(summary).encode())
    if summary.complete:
        write_header(folder, replace(header, complete=True))
    return summary


def _check(folder: ShardFolder, found: Header | None, wanted: Header) -> None:
    """Refuse a folder that holds something else than this job's shards."""
    if found is None:
        return
    theirs, ours = asdict(found), asdict(wanted)
    for name in ("source", "model", "shard_size", "image_urls"):
        if theirs[name] != ours[name]:
            raise ShardError(
                f"{folder.location} holds shards of another job: its {name.replace('_', ' ')} is {theirs[name]}, "
                f"not {ours[name]}; name another folder with --shards"
            )


def _plan(job: EmbeddingJob, folder: ShardFolder, left_out: LeftOut) -> list[Slice]:
    with folder.writing(PLAN) as path, path.open("wb") as file:
        return list(write_plan(open_source(job.source, job.reach, left_out), job.shard_size, file))


def _finished(folder: ShardFolder, parts: Sequence[Slice], retry: bool) -> dict[int, Finished]:
    """Return the shards that are there and made of what the plan says now."""
    there = folder.names()
    by_name = {receipt_name(part.number): part for part in parts}
    wanted = [name for name, part in by_name.items() if {name, shard_name(part.number)} <= there]
    found = {}
    for name, content in folder.read_all(wanted):
        part, receipt = by_name[name], parse_receipt(content, f"{folder.location}/{name}")
        lacking = retry and any(note.reason == UNREADABLE for note in receipt.failures)
        if receipt.plan == part.sha256 and not lacking:
            found[part.number] = Finished(part.number, receipt.rows, len(receipt.failures))
    return found


def _remove_others(folder: ShardFolder, count: int) -> None:
    kept = {name for number in range(count) for name in (shard_name(number), receipt_name(number))}
    folder.remove(name for name in folder.names() - kept if name.startswith("shard-"))


def _counts(parts: Sequence[Slice], finished: Sequence[Finished]) -> Counts:
    done, failed = sum(each.rows for each in finished), sum(each.failed for each in finished)
    items, problems = sum(part.items for part in parts), sum(part.problems for part in parts)
    return Counts(done, failed, items - done - failed, problems, warnings=0)


def _summary(
    job: EmbeddingJob,
    header: Header,
    parts: Sequence[Slice],
    finished: dict[int, Finished],
    before: Sequence[Finished],
    left_out: LeftOut,
    seconds: float,
) -> ShardSummary:
    counts = _counts(parts, list(finished.values()))
    embedded = counts.done - sum(each.rows for each in before)
    return ShardSummary(
        source=job.source,
        shards=job.shards,
        model=header.model,
        complete=len(finished) == len(parts),
        total=counts.total,
        done=counts.done,
        failed=counts.failed,
        problems=counts.problems,
        pending=counts.pending,
        shard_count=len(parts),
        shards_before=len(before),
        seconds=round(seconds, 3),
        images_per_second=round(embedded / seconds, 1) if seconds else 0.0,
        report=str(job.report or f"{job.shards.rstrip('/')}/{REPORT}"),
        left_out=left_out,
    )


def _leave_report(
    folder: ShardFolder, job: EmbeddingJob, parts: Sequence[Slice], finished: dict[int, Finished]
) -> None:
    notes = _notes(folder, parts, finished)
    if job.report:
        write_report(job.report, notes)
    else:
        with folder.writing(REPORT) as path:
            write_report(path, notes)


def _notes(folder: ShardFolder, parts: Sequence[Slice], finished: dict[int, Finished]) -> Iterator[Note]:
    """Yield what is wrong, in the order of the source: from the plan, and from the receipts."""
    for part in parts:
        if part.problems:
            yield from read_plan(folder.read_part(PLAN, part.start, part.length)).problems
        if part.number in finished and finished[part.number].failed:
            name = receipt_name(part.number)
            yield from parse_receipt(folder.read(name) or b"", name).failures
