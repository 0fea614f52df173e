"""`exemplar index SOURCE --shards DIR`: a job that writes shards, its progress bar and its outcome."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout

from exemplar.commands.output import print_json, print_line
from exemplar_indexer.embedding import Finished
from exemplar_indexer.embedding_job import EmbeddingJob, Engine, ShardSummary, run_embedding_job
from exemplar_indexer.interruption import terminated_as_interrupted
from exemplar_indexer.job_bar import JobBar
from exemplar_indexer.local_engine import embed_here
from exemplar_indexer.ray_engine import embed_on_ray
from exemplar_indexer.report import left_out_sentences


def write_shards(job: EmbeddingJob, workers: int | None, as_json: bool) -> ShardSummary:
    """Run a job and print its outcome.

    Args:
        job: What to do.
        workers: How many of Ray's workers embed; None for this process alone, without Ray.
        as_json: Print the summary as JSON.

    Raises:
        ModuleNotFoundError: Ray was asked for and is not installed.
    """
    bar = JobBar("Embedding")
    # Ray prints what it has to say of its workers; standard output is the outcome's.
    with bar.progress, terminated_as_interrupted(), redirect_stdout(sys.stderr):
        summary = run_embedding_job(job, _engine(workers), bar.start, _shown(bar))
    if as_json:
        print_json(summary)
        return summary
    before = f" ({summary.shards_before:,} shards of them before this run)" if summary.shards_before else ""
    rate = f", {summary.images_per_second:,.0f} images/s" if summary.shard_count > summary.shards_before else ""
    done = f"{summary.done:,} of {summary.total:,} classes are in {summary.shards}{before}"
    print_line(f"{done}; {summary.seconds:.1f} s{rate}.")
    if failed := summary.failed + summary.problems:
        print_line(f"{failed:,} failed: see {summary.report}")
    for sentence in left_out_sentences(summary.source, summary.left_out):
        print_line(sentence)
    return summary


def _engine(workers: int | None) -> Engine:
    return embed_here if workers is None else lambda work, parts: embed_on_ray(work, parts, workers)


def _shown(bar: JobBar) -> Callable[[Finished], None]:
    return lambda finished: bar.add(finished.rows + finished.failed, finished.failed)
