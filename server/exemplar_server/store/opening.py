"""Opening a store by what it is called: the truth by `sqlite:FOLDER`, the index by its kind."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from exemplar_server.errors import ServiceError, StartError
from exemplar_server.store.gallery_store import GalleryStore
from exemplar_server.store.index.gpu_device import find_gpu, gpu_count
from exemplar_server.store.index.kinds import ExactKind, GpuKind, IndexKind
from exemplar_server.store.indexed_store import IndexedStore
from exemplar_server.store.truth.database import Database
from exemplar_server.store.truth.sql_truth import SqlTruth
from exemplar_server.store.truth.sqlite import SqliteDatabase
from exemplar_server.store.truth.truth import Truth

_INDEXES = "indexes"


@dataclass(frozen=True)
class IndexOptions:
    """What some kinds of index need besides their name.

    `gpu_memory` is the most that vectors may take of a GPU, in bytes; `on_gpu_fallback` is called for each gallery
    that has to be searched without it.
    """

    gpu_memory: int | None = None
    on_gpu_fallback: Callable[[], None] = lambda: None


def open_store(
    store: str,
    index: str = "auto",
    folder: Path | None = None,
    max_bytes: int | None = None,
    options: IndexOptions | None = None,
) -> GalleryStore:
    """Open a truth with its indexes.

    Args:
        store: `sqlite:FOLDER` or `postgresql://...`.
        index: `auto`, `flat`, `approximate`, `gpu` or `milvus:URL`.
        folder: where indexes are saved; None for beside the database, where that is a folder.
        max_bytes: the size that an SQLite database may grow to; no limit but the disk's when None.
        options: of the index.

    Raises:
        StartError: it cannot be opened; the message says why and what to do.
    """
    with ExitStack() as undo:
        database = _open_database(store, max_bytes)
        undo.callback(database.close)
        kind = _kind(index, options or IndexOptions())
        undo.callback(kind.close)
        try:
            opened = IndexedStore(database, kind, folder or _beside(store))
        except ServiceError as error:
            raise StartError(f"{database.name} cannot be read: {error.message}; restore a copy of it") from error
        undo.pop_all()
    return opened


def open_truth(store: str) -> Truth:
    """Open a truth by itself; see `open_store`."""
    return SqlTruth(_open_database(store, None))


def _open_database(store: str, max_bytes: int | None) -> Database:
    kind, separator, rest = store.partition(":")
    if kind == "sqlite" and separator and rest:
        return SqliteDatabase(Path(rest), max_bytes)
    if kind in ("postgresql", "postgres") and rest.startswith("//"):
        # Loaded where it is asked for only: most have no use for it.
        from exemplar_server.store.truth.postgresql import PostgresDatabase

        return PostgresDatabase(store)
    raise StartError(f"there is no store {store!r}: give sqlite:FOLDER or postgresql://USER@HOST/DATABASE")


def _beside(store: str) -> Path | None:
    return Path(store.removeprefix("sqlite:")) / _INDEXES if store.startswith("sqlite:") else None


def _kind(index: str, options: IndexOptions) -> IndexKind:
    if index == "gpu" or (index == "auto" and gpu_count()):
        return GpuKind(find_gpu(options.gpu_memory), options.on_gpu_fallback)
    return ExactKind()
