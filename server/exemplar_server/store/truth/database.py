"""A database under the truth: what the rows ask of it, so that one text of SQL serves every database.

Parameters are `?`; text, integers, floats, bytes and None go in and come back as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol


class RowExists(Exception):  # noqa: N818 - what it means is the caller's to say
    """A row that was to be new is there already."""


class Cursor(Protocol):
    """The rows that a statement gave."""

    @property
    def rowcount(self) -> int:
        """How many rows the statement changed."""
        ...

    def fetchone(self) -> Any:
        """Return the next row, None after the last."""
        ...

    def fetchall(self) -> list[Any]:
        """Return the rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """Runs statements. One that makes a row twice raises `RowExists`."""

    def execute(self, query: str, parameters: Sequence[Any] = ()) -> Cursor:
        """Run one statement."""
        ...

    def executemany(self, query: str, rows: Iterable[Sequence[Any]]) -> object:
        """Run one statement for each of `rows`."""
        ...


# Gives one and the same connection each time, for the errors of `exemplar_server.errors`.
Lend = Callable[[], AbstractContextManager[Connection]]


class Readable(Protocol):
    """Gives connections to read with; its errors are those of `exemplar_server.errors`."""

    name: str
    """What people call it by: a file's path, or an address without its password."""

    remote: bool
    """Whether a statement may have to wait for another machine."""

    commits: int | None
    """How many transactions were committed, told before any is acknowledged; None where others may commit too.

    While it stays the same, all that was read is still so.
    """

    def reading(self) -> AbstractContextManager[Connection]:
        """Give a connection for single statements, each of which sees what is committed."""
        ...

    def snapshot(self) -> AbstractContextManager[Connection]:
        """Give a connection whose statements all see one committed state."""
        ...


class Database(Readable, Protocol):
    """Gives connections to change things with, too."""

    lock_row: str
    """What follows a SELECT in a transaction so that nobody else changes its row until the end."""

    def transaction(self, *request_ids: str) -> AbstractContextManager[Connection]:
        """Make the changes of the block all or none, and have them on disk when it ends without an error.

        Blocks that have a request id in common run one after the other.

        Raises:
            ResourceExhaustedError: there is no room; nothing was changed.
            UnavailableError: the database does not answer. Where that happens at the end of the block, the changes
                may have been made.
        """
        ...

    def savepoint(self, connection: Connection) -> AbstractContextManager[Connection]:
        """Make the changes of the block all or none within a transaction, which goes on whatever the block raises.

        Where the database itself gave the whole transaction up, this and each one after it raises.
        """
        ...

    def new_rows(self, connection: Connection, count: int) -> Sequence[int]:
        """Return numbers for `count` new rows of classes, in a transaction; no number is ever given twice."""
        ...

    def announce(self, connection: Connection, gallery: str) -> None:
        """Tell whoever watches, in another process, once this transaction is committed."""
        ...

    def watch(self, changed: Callable[[str], None]) -> None:
        """Call `changed` soon after another process changed a gallery; with an empty id where it may be any gallery.

        It is called from a thread of the database's own. A database of one process never calls it.
        """
        ...

    def release_reserve(self) -> bool:
        """Let go of space that is held for deletions on a full disk; whether there was any."""
        ...

    def reclaim(self) -> bool:
        """Give a little of what deletions left free back to the disk; whether there is more.

        It takes some milliseconds, and keeps writers waiting for as long.
        """
        ...

    def on_availability(self, tell: Callable[[bool], None]) -> None:
        """Call `tell` when the database stops answering, and when it answers again; never for a local one.

        It is called from a thread of the database's own.
        """
        ...

    def unwatch(self) -> None:
        """Call nobody any more; once this returns, nobody is being called."""
        ...

    def close(self) -> None:
        """Finish what is being written and let go of the data."""
        ...
