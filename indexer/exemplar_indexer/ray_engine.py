"""The engine for many machines: Ray Data hands the parts of the plan to workers, each with one loaded bundle.

A worker that dies is started again, and begins again with the shard that it had. With `RAY_ADDRESS` in the
environment the workers are that cluster's, else of a Ray that is started here, listens to this machine only, and ends
with the job.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from exemplar_encoder import BundleError
from exemplar_encoder.engines.native_notes import without_native_notes
from exemplar_indexer.embedding import Embedder, Finished, Work
from exemplar_indexer.shard_folder import ShardError
from exemplar_indexer.shard_plan import Slice

# Ray reads these when it is imported. Below "fatal" it warns of what Ray Data itself does.
_SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
# Without clusters Ray takes the loopback for this machine's address, on Linux too.
_ON_ITS_OWN = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}

# What passes between the processes is parts of plans, some bytes each.
_OBJECT_STORE_BYTES = 128 * 1024 * 1024


class EmbeddingWorker:
    """One of Ray Data's actors; it loads the bundle once."""

    def __init__(self, work: Work) -> None:
        self._embedder = Embedder(work, threads=1)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Make the shards of a batch of slices; returns how each ended."""
        columns = [batch[name].tolist() for name in Slice.__dataclass_fields__]
        finished = [self._embedder.embed(Slice(*values)) for values in zip(*columns, strict=True)]
        return {name: [getattr(each, name) for each in finished] for name in Finished.__dataclass_fields__}


def embed_on_ray(work: Work, parts: Sequence[Slice], workers: int) -> Iterator[Finished]:
    """Make shards on `workers` workers of a processor each, and yield each once it is there, in any order.

    Raises:
        BundleError: The bundle cannot be used.
        ShardError: It is another one on another machine, or Ray gave up.
        OSError: A shard cannot be written.
    """
    elsewhere = bool(os.environ.get("RAY_ADDRESS"))
    for name, value in (_SETTINGS if elsewhere else _SETTINGS | _ON_ITS_OWN).items():
        os.environ.setdefault(name, value)
    import pyarrow as pa
    import ray
    import ray.data

    own: dict[str, Any] = {
        "address": "local",
        "num_cpus": workers,
        "object_store_memory": _OBJECT_STORE_BYTES,
        "include_dashboard": False,
    }
    with without_native_notes(b"RAY_BACKEND_LOG_LEVEL"):
        ray.init(logging_level=logging.ERROR, log_to_driver=False, **({} if elsewhere else own))
    try:
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        # A block is one slice, so that each is a task of its own.
        slices = ray.data.from_arrow([pa.Table.from_pylist([asdict(part)]) for part in parts])
        done = slices.map_batches(
            EmbeddingWorker, fn_constructor_args=(work,), batch_size=1, concurrency=workers, num_cpus=1
        )
        for row in done.iter_rows():
            yield Finished(**row)
    except ray.exceptions.RayError as error:
        raise _cause(error) from error
    finally:
        ray.shutdown()


def _cause(error: BaseException) -> Exception:
    """Return what went wrong in a worker, if it is an error of ours; else Ray's word for it."""
    seen: BaseException | None = error
    while seen is not None:
        for found in (seen, getattr(seen, "cause", None)):
            if isinstance(found, BundleError | ShardError | OSError):
                return found
        seen = seen.__cause__
    return ShardError(f"Ray gave up: {str(error).strip().splitlines()[-1]}")
