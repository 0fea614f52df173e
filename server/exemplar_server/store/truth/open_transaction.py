"""A transaction as a database: what is read within it is as its changes left it, and each block is a savepoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from exemplar_server.store.truth.database import Connection, Database


class OpenTransaction:
    """The `Database` within a transaction; for the thread that began it, and until that ends."""

    commits: int | None = None  # what is read here is not committed, and may never be

    def __init__(self, database: Database, connection: Connection) -> None:
        self._database = database
        self._connection = connection
        self.name = database.name
        self.remote = database.remote
        self.lock_row = database.lock_row

    def transaction(self, *request_ids: str) -> AbstractContextManager[Connection]:
        """See `Database`; blocks of one request id keep apart by what the transaction was begun with."""
        return self._database.savepoint(self._connection)

    def savepoint(self, connection: Connection) -> AbstractContextManager[Connection]:
        """See `Database`."""
        return self._database.savepoint(connection)

    def reading(self) -> AbstractContextManager[Connection]:
        """See `Database`."""
        return self._database.savepoint(self._connection)

    def snapshot(self) -> AbstractContextManager[Connection]:
        """See `Database`."""
        return self._database.savepoint(self._connection)

    def new_rows(self, connection: Connection, count: int) -> Sequence[int]:
        """See `Database`."""
        return self._database.new_rows(connection, count)

    def announce(self, connection: Connection, gallery: str) -> None:
        """See `Database`."""
        self._database.announce(connection, gallery)

    def watch(self, changed: Callable[[str], None]) -> None:
        """See `Database`; nobody watches what is not committed."""

    def release_reserve(self) -> bool:
        """See `Database`; it is let go of outside."""
        return False

    def reclaim(self) -> bool:
        """See `Database`; not within a transaction."""
        return False

    def on_availability(self, tell: Callable[[bool], None]) -> None:
        """See `Database`; the database itself tells."""

    def unwatch(self) -> None:
        """See `Database`; nobody watches."""

    def close(self) -> None:
        """See `Database`; whoever began the transaction ends it."""
