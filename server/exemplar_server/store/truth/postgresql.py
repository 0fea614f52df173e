"""PostgreSQL as the truth's database, for any number of server processes.

Changes of one gallery come one after the other because each locks the gallery's row first. A database that is away
costs the calls that need it an `UnavailableError`; once it is back all goes on, without a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import psycopg
from psycopg import errors
from psycopg.pq import TransactionStatus

from exemplar_server.errors import DataLossError, ResourceExhaustedError, StartError, UnavailableError
from exemplar_server.store.truth.database import Connection, Cursor, Lend, RowExists
from exemplar_server.store.truth.migrations import check_format, newest, pending
from exemplar_server.store.truth.postgresql_connections import RETRY_AFTER, Connections, RawConnection, busy
from exemplar_server.store.truth.postgresql_mark import AcknowledgedChanges
from exemplar_server.store.truth.postgresql_watch import CHANNEL, Watch

_MIGRATING = 0x6578656D706C6172  # an advisory lock of this program's
_START = 20.0


class PostgresDatabase:
    """The `Database` on a PostgreSQL server."""

    remote = True
    commits: int | None = None  # other servers commit too
    lock_row = " FOR UPDATE"

    def __init__(
        self, url: str, as_it_is: bool = False, directory: Path | None = None, accept_loss: bool = False
    ) -> None:
        """Connect, and make the tables where they are missing; servers may start together.

        Args:
            as_it_is: refuse a database without tables of this program's format, in place of making them.
            directory: the server's own, where it keeps how much it has acknowledged; None where nothing is changed.
            accept_loss: use it even where it lacks something of that.
            url: `postgresql://user:password@host:port/database`, with the parameters of libpq; a schema other than
                `public` is `?options=-csearch_path%3Dname`.

        Raises:
            StartError: it cannot be used, or a newer program made its tables, or it lacks what was acknowledged.
        """
        self._connections = Connections(url)
        self.name = self._connections.name
        self._watch = Watch(self._connections)
        self._acknowledged: AcknowledgedChanges | None = None
        with ExitStack() as undo:
            undo.callback(self.close)
            try:
                self._connections.wait_for_start(_START)
                with self._connections.borrow() as connection:
                    if as_it_is:
                        check_format(self.name, "postgresql", _version(connection))
                    else:
                        self._prepare(connection)
                    if directory is not None:
                        session = _Session(connection)
                        self._acknowledged = AcknowledgedChanges(directory, self.name, session, accept_loss)
            except psycopg.Error as error:
                raise StartError(f"{self.name} cannot be used: {str(error).strip()}") from error
            undo.pop_all()

    @contextmanager
    def pinned(self) -> Iterator[Lend]:
        """Lend a connection whose statements all see one committed state, with any time between them."""
        with self.snapshot() as session:
            # The state is that of the first SELECT, which this is.
            session.execute("SELECT set_config('idle_in_transaction_session_timeout', '0', true)")

            @contextmanager
            def lend() -> Iterator[Connection]:
                with _typed_errors():
                    yield session

            yield lend

    @contextmanager
    def transaction(self, *request_ids: str) -> Iterator[Connection]:
        """See `Database`."""
        with self._session("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", "COMMIT") as session:
            if request_ids:  # all of them before any row, and in order: else two groups could wait for each other
                session.execute(
                    "SELECT pg_advisory_xact_lock(key) FROM (SELECT DISTINCT hashtextextended(id, 0) AS key"
                    " FROM unnest(?::text[]) AS id ORDER BY key) AS keys",
                    (list(request_ids),),
                )
            yield session
            if self._acknowledged is not None:
                changes = self._acknowledged.count(session)
        if self._acknowledged is not None:
            self._acknowledged.acknowledge(changes)

    @contextmanager
    def savepoint(self, connection: Connection) -> Iterator[Connection]:
        """See `Database`."""
        with _typed_errors():
            connection.execute("SAVEPOINT change")
            try:
                yield connection
            except BaseException:
                with suppress(psycopg.Error):  # the connection is gone, and with it the transaction
                    connection.execute("ROLLBACK TO SAVEPOINT change")
                    connection.execute("RELEASE SAVEPOINT change")
                raise
            connection.execute("RELEASE SAVEPOINT change")

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """See `Database`."""
        with _typed_errors(), self._connections.borrow() as connection:
            yield _Session(connection)

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """See `Database`."""
        with self._session("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "ROLLBACK") as session:
            yield session

    def new_rows(self, connection: Connection, count: int) -> Sequence[int]:
        """See `Database`."""
        found = connection.execute("SELECT nextval('class_rows') FROM generate_series(1, ?)", (count,))
        return [row[0] for row in found]

    def announce(self, connection: Connection, gallery: str) -> None:
        """See `Database`."""
        connection.execute("SELECT pg_notify(?, ?)", (CHANNEL, gallery))

    def watch(self, changed: Callable[[str], None]) -> None:
        """See `Database`."""
        self._watch.on_change(changed)

    def release_reserve(self) -> bool:
        """See `Database`; its disk is another machine's."""
        return False

    def reclaim(self) -> bool:
        """See `Database`; PostgreSQL sees to it by itself."""
        return False

    def on_availability(self, tell: Callable[[bool], None]) -> None:
        """See `Database`."""
        self._watch.on_availability(tell)

    def unwatch(self) -> None:
        """See `Database`."""
        self._watch.close()

    def close(self) -> None:
        """See `Database`."""
        self.unwatch()
        self._connections.close()
        if self._acknowledged is not None:
            self._acknowledged.close()

    @contextmanager
    def _session(self, begin: str, end: str) -> Iterator[_Session]:
        with _typed_errors(), self._connections.borrow() as connection:
            connection.execute(begin)
            try:
                yield _Session(connection)
                if connection.execute(end).statusmessage != end:  # a failed transaction "commits" as a rollback
                    raise errors.InFailedSqlTransaction("an error of the transaction was not let through")
            except BaseException:
                if connection.pgconn.transaction_status != TransactionStatus.IDLE:
                    with suppress(psycopg.Error):  # then it is closed, which does the same
                        connection.execute("ROLLBACK")
                raise

    def _prepare(self, connection: RawConnection) -> None:
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise StartError(f"{self.name} has encoding {encoding}; create one with encoding UTF8")
        while self._migrated(connection):
            pass

    def _migrated(self, connection: RawConnection) -> bool:
        """Go the next step to this program's format; return False where there is none left."""
        with connection.transaction():
            connection.execute(
                "SET LOCAL lock_timeout = 0"
            )  # another server may be about it, for as long as it takes
            connection.execute(f"SELECT pg_advisory_xact_lock({_MIGRATING})")
            version = _version(connection)
            steps = pending("postgresql", version)
            if steps is None:
                raise StartError(
                    f"{self.name} was written by another version (its format is {version}, this program "
                    f"knows {newest('postgresql')}); use that version, or another database"
                )
            if not steps:
                return False
            connection.execute(steps[0].sql.encode())
            connection.execute("UPDATE schema_version SET version = %s", (steps[0].version,))
            return True


def _version(connection: RawConnection) -> int:
    """Return the format of the tables, 0 where there are none."""
    made = connection.execute("SELECT to_regclass('schema_version') IS NOT NULL").fetchone() == (True,)
    found = connection.execute("SELECT version FROM schema_version").fetchone() if made else None
    return int(found[0]) if found else 0


class _Session:
    """A connection as the rows know it."""

    def __init__(self, connection: RawConnection) -> None:
        self._cursor = connection.cursor
        self._execute = connection.execute

    def execute(self, query: str, parameters: Sequence[Any] = ()) -> Cursor:
        """See `Connection`."""
        with _row_exists():
            return self._execute(_placeholders(query), parameters, binary=True)

    def executemany(self, query: str, rows: Iterable[Sequence[Any]]) -> None:
        """See `Connection`."""
        with _row_exists(), self._cursor() as cursor:
            cursor.executemany(_placeholders(query), rows)


@lru_cache(1024)
def _placeholders(query: str) -> bytes:
    return query.replace("%", "%%").replace("?", "%s").encode()


@contextmanager
def _row_exists() -> Iterator[None]:
    try:
        yield
    except errors.UniqueViolation as error:
        raise RowExists(str(error)) from error


@contextmanager
def _typed_errors() -> Iterator[None]:
    """Tell PostgreSQL's errors apart where a caller can act on the difference."""
    try:
        yield
    except errors.DiskFull as error:
        raise ResourceExhaustedError(
            "DISK_FULL", "the server's database has no room for this change; nothing was changed"
        ) from error
    except errors.ReadOnlySqlTransaction as error:  # as of a standby
        raise UnavailableError(
            "STORE_READ_ONLY",
            "the server's database lets nothing be written at present; nothing was changed",
            retry_after=RETRY_AFTER,
        ) from error
    except (errors.DataCorrupted, errors.IndexCorrupted) as error:
        raise DataLossError("DATA_CORRUPT", f"the server's database is damaged: {error}") from error
    except (errors.LockNotAvailable, errors.DeadlockDetected) as error:
        raise busy() from error
    except (psycopg.OperationalError, psycopg.InterfaceError, errors.IdleInTransactionSessionTimeout) as error:
        raise UnavailableError(
            "STORE_UNAVAILABLE",
            "the server's database does not answer at present; try again",
            retry_after=RETRY_AFTER,
        ) from error
