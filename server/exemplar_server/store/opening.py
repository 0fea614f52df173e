"""Opening a store by what it is called: the truth by `sqlite:FOLDER`, the index by its kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from exemplar_server.errors import FailedPreconditionError, NoStoreError, ServiceError, StartError
from exemplar_server.passwords import without_password
from exemplar_server.store.gallery_store import GalleryStore
from exemplar_server.store.index.approximate_kind import ApproximateKind
from exemplar_server.store.index.flat import ONE_THREAD_PRODUCTS
from exemplar_server.store.index.gpu_device import find_gpu, gpu_count
from exemplar_server.store.index.kinds import ExactKind, GpuKind, IndexKind
from exemplar_server.store.indexed_store import IndexedStore
from exemplar_server.store.truth.database import Database
from exemplar_server.store.truth.lock import DataDirectoryLock
from exemplar_server.store.truth.snapshot import Snapshot
from exemplar_server.store.truth.sql_truth import SqlTruth
from exemplar_server.store.truth.sqlite import SqliteDatabase
from exemplar_server.store.truth.sqlite import pinned as sqlite_pinned

_log = structlog.get_logger()

_INDEXES = "indexes"


@dataclass(frozen=True)
class IndexOptions:
    """What some kinds of index need besides their name.

    `milvus_token` and `milvus_tls_ca` are those of `MilvusServer`. `gpu_memory` is the most that vectors may take of
    a GPU, in bytes; `on_gpu_fallback` is called for each gallery that has to be searched without it.
    """

    milvus_token: str = ""
    milvus_tls_ca: Path | None = None
    gpu_memory: int | None = None
    on_gpu_fallback: Callable[[], None] = lambda: None


def open_store(
    store: str,
    index: str = "auto",
    folder: Path | None = None,
    max_bytes: int | None = None,
    options: IndexOptions | None = None,
    accept_loss: bool = False,
) -> GalleryStore:
    """Open a truth with its indexes.

    Args:
        store: `sqlite:FOLDER` or `postgresql://...`.
        index: `auto`, `flat`, `approximate`, `gpu` or `milvus:URL`.
        folder: where indexes are saved, and how much was acknowledged to a database elsewhere; None for beside the
            database, where that is a folder.
        max_bytes: the size that an SQLite database may grow to; no limit but the disk's when None.
        options: of the index.
        accept_loss: open it even where something that was acknowledged is lost.

    Raises:
        StartError: it cannot be opened; the message says why and what to do.
    """
    with ExitStack() as undo:
        database = _open_database(store, max_bytes, accept_loss, folder)
        undo.callback(database.close)
        kind = _kind(index, options or IndexOptions())
        undo.callback(kind.close)
        try:
            opened = IndexedStore(database, kind, folder or _beside(store))
        except ServiceError as error:
            raise StartError(f"{database.name} cannot be read: {error.message}; restore a copy of it") from error
        undo.pop_all()
    return opened


def open_truth(store: str) -> SqlTruth:
    """Open a truth by itself; see `open_store`."""
    return SqlTruth(_open_database(store, None))


@contextmanager
def open_snapshot(store: str) -> Iterator[Snapshot]:
    """Open one committed state of a truth, to be read; servers on it go on.

    Args:
        store: as for `open_store`. Nothing is made or changed there.

    Raises:
        StartError: it cannot be opened; the message says why and what to do.
    """
    kind, rest = _split(store)
    if kind == "sqlite":
        with sqlite_pinned(Path(rest)) as lend:
            yield Snapshot(lend, str(Path(rest)), "PRAGMA integrity_check(20)")
        return
    with _needing("postgresql"):
        from exemplar_server.store.truth.postgresql import PostgresDatabase
    with closing(PostgresDatabase(store, as_it_is=True)) as database, database.pinned() as lend:
        yield Snapshot(lend, database.name)


@contextmanager
def open_still(store: str) -> Iterator[Snapshot]:
    """Open a snapshot of a truth that nobody may change meanwhile; otherwise as `open_snapshot`.

    Raises:
        StartError: it cannot be opened, or another process has it.
        FailedPreconditionError: at the end, where it was changed after all.
    """
    with ExitStack() as stack:
        kind, rest = _split(store)
        if kind == "sqlite" and Path(rest).is_dir():
            lock = DataDirectoryLock(Path(rest))
            stack.callback(lock.release)
        snapshot = stack.enter_context(open_snapshot(store))
        yield snapshot
        if kind != "sqlite":
            with open_snapshot(store) as after:
                _compare_versions(snapshot, after)


def _compare_versions(before: Snapshot, after: Snapshot) -> None:
    versions = [{each.id: (each.revision, each.update_time) for each in of.all_galleries()} for of in (before, after)]
    changed = sorted(dict(versions[0].items() ^ versions[1].items()))
    if changed:
        raise FailedPreconditionError(
            "STORE_CHANGED",
            f"in {before.name} gallery {changed[0]!r} was changed meanwhile, and the copy is of before: stop the "
            "servers on it, delete the copy, and copy it again",
            {"gallery": changed[0]},
        )


def _split(store: str) -> tuple[str, str]:
    kind, _, rest = store.partition(":")
    if kind == "sqlite" and rest:
        return kind, rest
    if kind in ("postgresql", "postgres") and rest.startswith("//"):
        return "postgresql", rest
    shown = without_password(store)
    raise NoStoreError(f"there is no store {shown!r}: give sqlite:FOLDER or postgresql://USER@HOST/DATABASE")


def _open_database(
    store: str, max_bytes: int | None, accept_loss: bool = False, folder: Path | None = None
) -> Database:
    kind, rest = _split(store)
    if kind == "sqlite":
        return SqliteDatabase(Path(rest), max_bytes, accept_loss)
    with _needing("postgresql"):
        from exemplar_server.store.truth.postgresql import PostgresDatabase
    return PostgresDatabase(store, directory=folder, accept_loss=accept_loss)


def _beside(store: str) -> Path | None:
    return Path(store.removeprefix("sqlite:")) / _INDEXES if store.startswith("sqlite:") else None


def _kind(index: str, options: IndexOptions) -> IndexKind:
    if index == "gpu" or (index == "auto" and gpu_count()):
        try:
            return GpuKind(find_gpu(options.gpu_memory), options.on_gpu_fallback)
        except StartError as error:
            if index == "gpu":
                raise
            _log.warning("the gpu is not used", reason=str(error))
    if index.startswith("milvus:"):
        with _needing("milvus"):
            from exemplar_server.store.index.milvus_kind import MilvusKind
        return MilvusKind(index.removeprefix("milvus:"), options.milvus_token, options.milvus_tls_ca)
    if index == "flat":
        return ExactKind()
    return ApproximateKind(ONE_THREAD_PRODUCTS if index == "auto" else 0)


@contextmanager
def _needing(extra: str) -> Iterator[None]:
    """Import here what most have no use for."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise StartError(f"{extra} needs {error.name}, which is not installed: install exemplar[{extra}]") from error
