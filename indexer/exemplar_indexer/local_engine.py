"""The plain engine: one bundle in this process makes one shard after the other, on all processors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

from exemplar_indexer.embedding import Embedder, Finished, Work
from exemplar_indexer.shard_plan import Slice


def embed_here(work: Work, parts: Sequence[Slice]) -> Iterator[Finished]:
    """Make shards, and yield each once it is there.

    Raises:
        BundleError: The bundle cannot be used.
        ShardError: It is another one than the job's.
        OSError: A shard cannot be written.
    """
    with closing(Embedder(work)) as embedder:
        for part in parts:
            yield embedder.embed(part)
