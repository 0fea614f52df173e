"""Which store an SQLite database is, whether all that it acknowledged is there, and whose it is at present.

| found | is |
|---|---|
| no database, or an empty one, and no mark or one of no changes | a new store |
| no database, or an empty one, and a mark of changes | lost |
| a log without a database | lost |
| a database of other tables | another program's |
| a database without a mark, or with that of another store | a copy of which it cannot be told whether it is whole |
| fewer changes than the mark says | a part of it is lost |
"""

from __future__ import annotations

import sqlite3
import uuid
from pathlib import Path

import structlog

from exemplar_server.errors import StartError
from exemplar_server.store.truth.high_water_mark import HighWaterMark, Mark

_log = structlog.get_logger()

UNKNOWN = range(1, 5)
"""Formats of databases that do not tell which store they are."""

_WAYS_OUT = "Restore a copy of the store (exemplar store restore), or serve what is there with --accept-loss"


def check_files(database: Path, mark: HighWaterMark, accept_loss: bool) -> Mark | None:
    """Look at a data directory before anything in it is opened, and return its mark; a new store gets one here.

    Args:
        database: the database's file, which need not exist.
        mark: the directory's.
        accept_loss: go on where something is lost; it is logged.

    Raises:
        StartError: something that was acknowledged is lost.
    """
    try:
        found = mark.read()
    except StartError as error:
        if not accept_loss:
            raise
        _log.warning("loss accepted", reason=str(error))
        found = None
    log = database.with_name(database.name + "-wal")
    if database.exists() and database.stat().st_size:
        return found
    if found is not None and found.changes:
        refuse_loss(
            f"{database} is {'empty' if database.exists() else 'gone'}, to which {found.changes:,} changes were "
            f"acknowledged by {mark.path}",
            accept_loss,
        )
        found = None
    if log.exists() and log.stat().st_size:
        refuse_loss(f"{log} is the log of a database that is gone", accept_loss)
        log.unlink()
    if found is None:
        found = Mark(uuid.uuid4().hex, 0)
        mark.replace(found)
    return found


def check_tables(connection: sqlite3.Connection, path: Path, version: int) -> None:
    """Refuse a database that another program made. Raises `StartError`."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if version and not {"galleries", "classes", "exemplars"} <= tables:
        raise StartError(f"{path} is no store: it lacks the tables of one; choose another data directory")
    if not version and tables:
        named = ", ".join(sorted(tables)[:3])
        raise StartError(f"{path} is another program's (it has tables {named}); choose another data directory")


def check_whole(connection: sqlite3.Connection, path: Path, mark: Mark | None, accept_loss: bool = False) -> None:
    """Compare a database with the mark that was read before it was opened.

    Args:
        connection: to the database, which has a row in `store`.
        path: its file.
        mark: what was acknowledged; None where there is no mark.
        accept_loss: go on where something is lost; it is logged.

    Raises:
        StartError: it is not what was acknowledged.
    """
    tables = connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'store'").fetchone()[0]
    row = connection.execute("SELECT id, changes FROM store").fetchone() if tables else None
    if row is None and mark is not None and not mark.changes:
        return  # whoever made it came no further
    store_id, changes = row or (mark.store_id if mark else "", 0)
    if mark is None and not changes and tables:
        return  # whoever brought it to this format came no further
    if mark is None:
        refuse_loss(
            f"{path} has no mark of what was acknowledged beside it, as where not all files of a store were copied: "
            "whether it is whole cannot be told",
            accept_loss,
        )
    elif mark.store_id != store_id:
        refuse_loss(f"{path} is another store than the one that the mark beside it belongs to", accept_loss)
    elif changes < mark.changes:
        refuse_loss(
            f"{path} holds {changes:,} changes of the {mark.changes:,} that were acknowledged: the last "
            f"{mark.changes - changes:,} are lost, as where its log {path.name}-wal is damaged or gone, or an older "
            "copy was put in its place",
            accept_loss,
        )


def open_epoch(connection: sqlite3.Connection, mark: HighWaterMark, found: Mark | None) -> tuple[str, int, int]:
    """Make a database this process's: return the store's id, its changes and its epoch; whoever had it may not write.

    Args:
        connection: to write with, outside of a transaction.
        mark: is brought up to the database.
        found: the mark as it was.
    """
    row = connection.execute("SELECT id, changes, epoch FROM store").fetchone()
    if row is None:
        row = (found.store_id if found else uuid.uuid4().hex), 0, 0
        connection.execute("INSERT INTO store VALUES (?, ?, ?)", row)
    store_id, changes, epoch = row
    connection.execute("UPDATE store SET epoch = ?", (epoch + 1,))
    mark.replace(Mark(store_id, changes))
    return store_id, changes, epoch + 1


def refuse_loss(problem: str, accept_loss: bool) -> None:
    """Refuse a start, or log that it goes on all the same. Raises `StartError`."""
    if not accept_loss:
        raise StartError(f"{problem}. {_WAYS_OUT}")
    _log.warning("loss accepted", reason=problem)
