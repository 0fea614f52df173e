"""SQLite as the truth's database: one process to a data directory, one file in it.

Writing is for one thread at a time; whoever reads has a connection to himself.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import structlog

from exemplar_server.errors import DataLossError, ResourceExhaustedError, StartError, UnavailableError
from exemplar_server.store.truth.database import Connection, Lend, RowExists
from exemplar_server.store.truth.high_water_mark import HighWaterMark, Mark
from exemplar_server.store.truth.identity import UNKNOWN, check_files, check_tables, check_whole, open_epoch
from exemplar_server.store.truth.lock import DataDirectoryLock, lock_database
from exemplar_server.store.truth.migrations import Migration, check_format, newest, pending
from exemplar_server.store.truth.reserve import Reserve

DATABASE = "exemplar.db"

# Of each connection that reads: the upper pages of the tables of a few million classes.
_CACHE_KIB = 16_384

# Space that deletions left free is kept for what comes next: so many pages, or one in so many. More is given back in
# steps, and a log beyond so many bytes is written back.
_KEPT_PAGES = 256
_KEPT_SHARE = 8
_PAGES_AT_ONCE = 256
_LOG_BYTES = 8 * 1024 * 1024
_BUSY_SECONDS = 10

# Bytes of a database that is looked at whole at the start: a larger one would keep callers waiting.
_CHECKED = 64 * 1024 * 1024

_log = structlog.get_logger()


class SqliteDatabase:
    """The `Database` of one process."""

    remote = False
    lock_row = ""  # a transaction keeps every other out

    def __init__(self, directory: Path, max_bytes: int | None = None, accept_loss: bool = False) -> None:
        """Open the directory's database, creating both where they are missing.

        Args:
            directory: the folder.
            max_bytes: the size that the database may grow to; no limit but the disk's when None.
            accept_loss: open it even where something that was acknowledged is lost.

        Raises:
            StartError: another process has the directory; its database is another program's or of another version's
                format, cannot be read or written at all, or is not all that was acknowledged.
        """
        self._path = directory / DATABASE
        self._log = directory / f"{DATABASE}-wal"
        self.name = str(self._path)
        self._writing = threading.Lock()
        self.commits: int | None = 0
        self._readers: list[sqlite3.Connection] = []
        with ExitStack() as undo:
            self._lock = DataDirectoryLock(directory)
            undo.callback(self._lock.release)
            self._mark = HighWaterMark(directory)
            undo.callback(self._mark.close)
            found = check_files(self._path, self._mark, accept_loss)
            self._file_lock = lock_database(self._path)
            undo.callback(self._file_lock.close)
            try:
                self._finish_journal()
                steps = self._check(found, accept_loss)
                self._writer = undo.enter_context(closing(_connect(self._path)))
                self._prepare(max_bytes, steps)
                self._mend_indexes(accept_loss)
                self._store_id, self._changes, self._epoch = open_epoch(self._writer, self._mark, found)
            except (sqlite3.Error, UnicodeDecodeError) as error:  # an error that quotes what is damaged is no text
                raise StartError(f"{self._path} cannot be opened: {error}") from error
            self._reserve = Reserve(directory)
            undo.pop_all()

    @contextmanager
    def transaction(self, *request_ids: str) -> Iterator[Connection]:
        """See `Database`."""
        with self._writing, _typed_errors():
            self._check_file()
            before = self._writer.total_changes
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                changed = self._writer.total_changes != before
                if changed:
                    self._count_change()
                self._writer.execute("COMMIT")
                self.commits = (self.commits or 0) + 1
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
            if changed:
                self._changes += 1
                self._mark.write(Mark(self._store_id, self._changes))

    @contextmanager
    def savepoint(self, connection: Connection) -> Iterator[Connection]:
        """See `Database`."""
        with _typed_errors():
            if not self._writer.in_transaction:  # a savepoint would begin another, and its release commit that
                raise sqlite3.OperationalError("SQLite has rolled the transaction back")
            connection.execute("SAVEPOINT change")
            try:
                yield connection
            except BaseException:
                if self._writer.in_transaction:
                    connection.execute("ROLLBACK TO change")
                    connection.execute("RELEASE change")
                raise
            connection.execute("RELEASE change")

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """See `Database`."""
        with _typed_errors():
            try:
                reader = self._readers.pop()
            except IndexError:
                reader = _connect(self._path)
                reader.execute("PRAGMA query_only = ON")
                reader.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            try:
                yield reader
            finally:
                self._readers.append(reader)

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """See `Database`."""
        with self.reading() as reader:
            reader.execute("BEGIN")
            try:
                yield reader
            finally:
                reader.execute("ROLLBACK")

    def new_rows(self, connection: Connection, count: int) -> range:
        """See `Database`."""
        found = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'classes'").fetchone()
        first = 1 if found is None else found[0] + 1
        return range(first, first + count)

    def announce(self, connection: Connection, gallery: str) -> None:
        """See `Database`; there is no other process."""

    def watch(self, changed: Callable[[str], None]) -> None:
        """See `Database`; there is no other process."""

    def release_reserve(self) -> bool:
        """See `Database`."""
        return self._reserve.release()

    def reclaim(self) -> bool:
        """See `Database`; a database that was made before format 5 keeps its size."""
        with self._writing, _typed_errors():
            run = self._writer.execute
            free, pages = (run(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_count"))
            if free > max(_KEPT_PAGES, pages // _KEPT_SHARE) and run("PRAGMA auto_vacuum").fetchone()[0] == 2:
                run(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})").fetchall()
                return True
            if self._log.exists() and self._log.stat().st_size > _LOG_BYTES:
                run("PRAGMA busy_timeout = 0")  # who reads an older state is not waited for
                run("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                run(f"PRAGMA busy_timeout = {1000 * _BUSY_SECONDS}")
            self._reserve.keep()
            return False

    def on_availability(self, tell: Callable[[bool], None]) -> None:
        """See `Database`; there is no other machine."""

    def unwatch(self) -> None:
        """See `Database`; nobody is ever called."""

    def close(self) -> None:
        """Write back what the log holds and let go of the directory."""
        with self._writing:
            for reader in self._readers:
                reader.close()
            self._writer.close()
            self._mark.close()
            self._file_lock.close()  # only now: closing it lets go of SQLite's own locks on the file
            self._lock.release()

    def _check_file(self) -> None:
        """See that the file is still the one that was opened: what is written to a file without a name is lost."""
        try:
            there = self._path.stat()
        except OSError:
            there = None
        if there is None or not os.path.samestat(there, os.fstat(self._file_lock.fileno())):
            raise UnavailableError(
                "STORE_REPLACED",
                f"{self._path} was replaced or deleted while the server runs; nothing is written any more. "
                "Restart the server on the store that it is to have",
            )

    def _count_change(self) -> None:
        """Count a transaction as one of this process's."""
        counted = self._writer.execute(
            "UPDATE store SET changes = ? WHERE epoch = ?", (self._changes + 1, self._epoch)
        )
        if not counted.rowcount:
            raise UnavailableError(
                "STORE_REPLACED",
                f"another process has opened {self._path} meanwhile; this one writes nothing any more. "
                "Stop one of them, and give each a data directory of its own",
            )

    def _finish_journal(self) -> None:
        """Take back what was begun when a database was made, before it had a log; readers cannot do that."""
        journal = self._path.with_name(self._path.name + "-journal")
        if journal.exists() and not self._log.exists():
            with closing(_connect(self._path)) as writer:
                writer.execute("PRAGMA user_version").fetchone()

    def _check(self, mark: Mark | None, accept_loss: bool) -> list[Migration]:
        """Refuse a database that is not to be opened, without changing it; return the steps that it lacks."""
        # A connection that may write would bring into the database what is left of a log, and delete that.
        with closing(_connect(f"{self._path.resolve().as_uri()}?mode=ro")) as reader:
            version = reader.execute("PRAGMA user_version").fetchone()[0]
            check_tables(reader, self._path, version)
            steps = pending("sqlite", version)
            if steps is None:
                raise StartError(
                    f"{self._path} was written by another version (its format is {version}, this program knows "
                    f"{newest('sqlite')}); use that version, or another data directory"
                )
            marked = mark is not None and mark.changes > 0
            if (marked or version not in UNKNOWN) and self._path.stat().st_size:
                check_whole(reader, self._path, mark, accept_loss)
        return steps

    def _prepare(self, max_bytes: int | None, steps: Sequence[Migration]) -> None:
        run = self._writer.execute
        run("PRAGMA auto_vacuum = INCREMENTAL")  # of a database without tables
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        run("PRAGMA foreign_keys = ON")
        for step in steps:
            self._migrate(step)
        if max_bytes is not None:
            page_size = run("PRAGMA page_size").fetchone()[0]
            run(f"PRAGMA max_page_count = {max(1, max_bytes // page_size)}")

    def _mend_indexes(self, accept_loss: bool) -> None:
        """Build the database's own indexes anew where they do not lead to its rows, which have checksums.

        Rows that are damaged are told by who needs them; one that an index hides would be answered as not there.
        """
        if self._path.stat().st_size > _CHECKED:
            return
        try:
            problems = [row[0] for row in self._writer.execute("PRAGMA integrity_check(3)")]
            if problems == ["ok"]:
                return
            _log.error("the database is damaged", problems=problems)
            self._writer.execute("REINDEX")
        except sqlite3.Error as error:
            problem = f"{self._path} is damaged ({error}), and what is there may not be found"
            if not accept_loss:
                raise StartError(
                    f"{problem}. Restore a copy of the store (exemplar store restore), or serve what is found with "
                    "--accept-loss"
                ) from error
            _log.warning("loss accepted", reason=problem)

    def _migrate(self, step: Migration) -> None:
        try:
            self._writer.executescript(f"BEGIN IMMEDIATE; {step.sql} PRAGMA user_version = {step.version}; COMMIT;")
        except sqlite3.Error:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise


@contextmanager
def pinned(directory: Path) -> Iterator[Lend]:
    """Lend a connection whose statements all see one committed state, while another process goes on writing.

    Raises:
        StartError: there is no database in the directory, or none of this program's format.
    """
    path = directory / DATABASE
    if not path.is_file():
        raise StartError(f"there is no store in {directory}: it holds no {DATABASE}")
    mark = HighWaterMark(directory).read()  # before the state is taken, which then has all that it tells of
    with ExitStack() as stack:
        try:
            connection = stack.enter_context(closing(_connect(f"{path.resolve().as_uri()}?mode=ro")))
            connection.execute("BEGIN")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # the state is that of the first look
        except sqlite3.Error as error:
            raise StartError(f"{path} cannot be opened: {error}") from error
        check_format(str(path), "sqlite", version)
        check_whole(connection, path, mark)

        @contextmanager
        def lend() -> Iterator[Connection]:
            with _typed_errors():
                yield connection

        yield lend


def _connect(path: Path | str) -> sqlite3.Connection:
    uri = isinstance(path, str)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=_BUSY_SECONDS, uri=uri)
    # A damaged text is to be reported as damage, with its name, and not as an error of decoding.
    connection.text_factory = lambda content: content.decode("utf-8", "backslashreplace")
    return connection


@contextmanager
def _typed_errors() -> Iterator[None]:
    """Tell SQLite's errors apart where a caller can act on the difference."""
    try:
        yield
    except UnicodeDecodeError as error:  # SQLite quotes what is damaged
        raise DataLossError("DATA_CORRUPT", "the server's database is damaged: its schema is no text") from error
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0)
        if code & 0xFF == sqlite3.SQLITE_FULL:
            raise ResourceExhaustedError(
                "DISK_FULL", "the server's disk has no room for this change; nothing was changed"
            ) from error
        if code & 0xFF == sqlite3.SQLITE_READONLY:
            raise UnavailableError(
                "STORE_READ_ONLY", "the server's disk lets nothing be written any more; nothing was changed"
            ) from error
        if code & 0xFF in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
            raise UnavailableError(
                "DISK_FAILING", f"the server's disk fails: {error}; nothing was changed"
            ) from error
        of_schema = code & 0xFF == sqlite3.SQLITE_ERROR and str(error).startswith("no such ")
        if of_schema or code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise DataLossError("DATA_CORRUPT", f"the server's database is damaged: {error}") from error
        if code in (sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE):
            raise RowExists(str(error)) from error
        raise
