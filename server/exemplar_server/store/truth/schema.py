"""The SQLite file: its tables, its version, its checksums, and how its errors are told.

Every row carries a checksum over all that it says, so that a flipped bit is noticed and never served. An exemplar's
image is checked by the SHA-256 that names it.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from exemplar_server.errors import DataLossError, ResourceExhaustedError, StartError

VERSION = 3  # 1 and 2 were formats of before the first release

_TABLES = """
CREATE TABLE galleries (
    id TEXT PRIMARY KEY,
    display_name TEXT NOT NULL,
    model TEXT NOT NULL,
    dimension INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    class_count INTEGER NOT NULL,
    false_accept_rate REAL,
    max_exemplars_per_class INTEGER,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    calibration TEXT,
    checksum BLOB NOT NULL
);
CREATE TABLE classes (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    gallery TEXT NOT NULL REFERENCES galleries (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    display_name TEXT NOT NULL,
    attributes TEXT NOT NULL,
    embedding BLOB NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    checksum BLOB NOT NULL,
    UNIQUE (gallery, id)
);
CREATE TABLE exemplars (
    class INTEGER NOT NULL REFERENCES classes (row) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    format TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    region TEXT,
    embedding BLOB NOT NULL,
    checksum BLOB NOT NULL,
    image BLOB NOT NULL,
    PRIMARY KEY (class, position),
    UNIQUE (sha256, class)
);
CREATE TABLE requests (
    id TEXT PRIMARY KEY,
    method TEXT NOT NULL,
    digest BLOB NOT NULL,
    response BLOB NOT NULL,
    time INTEGER NOT NULL,
    checksum BLOB NOT NULL
);
CREATE INDEX requests_by_time ON requests (time);
"""


def checksum(*values: object) -> bytes:
    """Return 16 bytes over some column values; each is framed, so that no two lists of values look alike."""
    digest = hashlib.blake2b(digest_size=16)
    for value in values:
        content = value if isinstance(value, bytes) else repr(value).encode("utf-8", "surrogatepass")
        digest.update(b"%s:%d:" % (type(value).__name__.encode(), len(content)))
        digest.update(content)
    return digest.digest()


def damaged(gallery: str, class_ids: Sequence[str], what: str = "what is stored") -> DataLossError:
    """Return the error for stored data that must not be served, with how to mend it."""
    named = ", ".join(repr(class_id) for class_id in class_ids[:20])
    more = f" and {len(class_ids) - 20} more" if len(class_ids) > 20 else ""
    return DataLossError(
        "DATA_CORRUPT",
        f"{what} for class {named}{more} of gallery {gallery!r} does not match its checksum; "
        "enroll the class again or delete it",
        {"gallery": gallery, "classes": json.dumps(list(class_ids[:20]))},
    )


def open_database(path: Path, max_bytes: int | None = None) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    """Open the file, creating its tables where it is new.

    Args:
        path: the file.
        max_bytes: the size that the database may grow to; no limit but the disk's when None.

    Returns:
        The connection that writes and one that only reads; each is for one thread at a time.

    Raises:
        StartError: the file is of another version's format, or cannot be read at all.
    """
    with ExitStack() as undo:
        try:
            writer = undo.enter_context(closing(_connect(path)))
            version = writer.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, VERSION):  # 0: nothing was ever written
                raise StartError(
                    f"{path} was written by another version (its format is {version}, this program knows {VERSION}); "
                    "use that version, or another data directory"
                )
            writer.execute("PRAGMA journal_mode = WAL")
            writer.execute("PRAGMA synchronous = FULL")
            writer.execute("PRAGMA foreign_keys = ON")
            if version == 0:
                writer.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {VERSION}; COMMIT;")
            if max_bytes is not None:
                page_size = writer.execute("PRAGMA page_size").fetchone()[0]
                writer.execute(f"PRAGMA max_page_count = {max(1, max_bytes // page_size)}")
            reader = undo.enter_context(closing(_connect(path)))
            reader.execute("PRAGMA query_only = ON")
        except sqlite3.Error as error:
            raise StartError(f"{path} cannot be opened: {error}") from error
        undo.pop_all()
    return writer, reader


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    # A damaged text is to be reported as damage, with its name, and not as an error of decoding.
    connection.text_factory = lambda content: content.decode("utf-8", "backslashreplace")
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Make the changes of the block all or none, and have them on disk when it ends without an error.

    Raises:
        ResourceExhaustedError: the disk, or the limit on the database's size, has no room; nothing was changed.
        DataLossError: the file is damaged.
    """
    with typed_errors():
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


@contextmanager
def typed_errors() -> Iterator[None]:
    """Tell SQLite's errors apart where a caller can act on the difference."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            raise ResourceExhaustedError(
                "DISK_FULL", "the server's disk has no room for this change; nothing was changed"
            ) from error
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise DataLossError("DATA_CORRUPT", f"the server's database is damaged: {error}") from error
        raise
