"""The database file at work: one connection that writes, and one that reads beside it.

Everything written inside one `transaction` is on disk when that ends, or nothing is. Writing is for one thread at a
time; the caller sees to that. The rows themselves are those of `gallery_rows`, `class_rows`, `exemplar_rows` and
`request_rows`, which never hand out one that does not match its checksum.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from exemplar_server.store.schema import open_database, transaction, typed_errors


class Database:
    """See the module."""

    def __init__(self, path: Path, max_bytes: int | None = None) -> None:
        """Open the file, see `open_database`."""
        self._writer, self._reader = open_database(path, max_bytes)
        self._reading = threading.Lock()

    def close(self) -> None:
        """Write back what the log holds and close the file."""
        self._reader.close()
        self._writer.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Give the connection that writes; see `schema.transaction`."""
        with transaction(self._writer):
            yield self._writer

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give the connection that reads, to one thread at a time; it sees what is committed."""
        with self._reading, typed_errors():
            yield self._reader
