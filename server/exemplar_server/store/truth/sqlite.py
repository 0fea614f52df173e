"""SQLite as the truth's database: one process to a data directory, one file in it.

Writing is for one thread at a time; whoever reads has a connection to himself.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from exemplar_server.errors import DataLossError, ResourceExhaustedError, StartError
from exemplar_server.store.truth.database import Connection, Lend, RowExists
from exemplar_server.store.truth.lock import DataDirectoryLock
from exemplar_server.store.truth.migrations import Migration, check_format, newest, pending

DATABASE = "exemplar.db"

# Of each connection that reads: the upper pages of the tables of a few million classes.
_CACHE_KIB = 16_384


class SqliteDatabase:
    """The `Database` of one process."""

    remote = False
    lock_row = ""  # a transaction keeps every other out

    def __init__(self, directory: Path, max_bytes: int | None = None) -> None:
        """Open the directory's database, creating both where they are missing.

        Args:
            directory: the folder.
            max_bytes: the size that the database may grow to; no limit but the disk's when None.

        Raises:
            StartError: another process has the directory, or its database is of another version's format or cannot be
                read at all.
        """
        self._path = directory / DATABASE
        self.name = str(self._path)
        self._writing = threading.Lock()
        self.commits: int | None = 0
        self._readers: list[sqlite3.Connection] = []
        with ExitStack() as undo:
            self._lock = DataDirectoryLock(directory)
            undo.callback(self._lock.release)
            try:
                self._writer = undo.enter_context(closing(_connect(self._path)))
                self._prepare(max_bytes)
            except sqlite3.Error as error:
                raise StartError(f"{self._path} cannot be opened: {error}") from error
            undo.pop_all()

    @contextmanager
    def transaction(self, *request_ids: str) -> Iterator[Connection]:
        """See `Database`."""
        with self._writing, _typed_errors():
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
                self.commits = (self.commits or 0) + 1
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

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
            self._lock.release()

    def _prepare(self, max_bytes: int | None) -> None:
        run = self._writer.execute
        version = run("PRAGMA user_version").fetchone()[0]
        steps = pending("sqlite", version)
        if steps is None:
            raise StartError(
                f"{self._path} was written by another version (its format is {version}, this program knows "
                f"{newest('sqlite')}); use that version, or another data directory"
            )
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        run("PRAGMA foreign_keys = ON")
        for step in steps:
            self._migrate(step)
        if max_bytes is not None:
            page_size = run("PRAGMA page_size").fetchone()[0]
            run(f"PRAGMA max_page_count = {max(1, max_bytes // page_size)}")

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
    with ExitStack() as stack:
        try:
            connection = stack.enter_context(closing(_connect(f"{path.resolve().as_uri()}?mode=ro")))
            connection.execute("BEGIN")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # the state is that of the first look
        except sqlite3.Error as error:
            raise StartError(f"{path} cannot be opened: {error}") from error
        check_format(str(path), "sqlite", version)

        @contextmanager
        def lend() -> Iterator[Connection]:
            with _typed_errors():
                yield connection

        yield lend


def _connect(path: Path | str) -> sqlite3.Connection:
    uri = isinstance(path, str)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10, uri=uri)
    # A damaged text is to be reported as damage, with its name, and not as an error of decoding.
    connection.text_factory = lambda content: content.decode("utf-8", "backslashreplace")
    return connection


@contextmanager
def _typed_errors() -> Iterator[None]:
    """Tell SQLite's errors apart where a caller can act on the difference."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0)
        if code & 0xFF == sqlite3.SQLITE_FULL:
            raise ResourceExhaustedError(
                "DISK_FULL", "the server's disk has no room for this change; nothing was changed"
            ) from error
        if code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise DataLossError("DATA_CORRUPT", f"the server's database is damaged: {error}") from error
        if code in (sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE):
            raise RowExists(str(error)) from error
        raise
